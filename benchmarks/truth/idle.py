"""Energy above idle, on boards where a context draws power although nothing runs."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from statistics import median
from typing import NamedTuple

from llem_sweep.clock import SimulatedClock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.device.sensors import GENERATIONS
from llem_sweep.device.simulated import PowerProfile, SensorView, SimulatedGpu
from llem_sweep.harness.measure import measure
from llem_sweep.harness.rig import Rig
from llem_sweep.phases import Phase, PhaseMark
from llem_sweep.plan.types import PlannedExperiment
from truth.section import Given, Section, rms, table

EXPERIMENTS = 40
"""Of each generation."""
COLD_W, CONTEXT_W = 70.0, 120.0
LENGTHS_S = (3.0, 30.0)
LEAST_INSIDE = 0.95
HEAD = (
    "sensors",
    "n",
    "rms error",
    "worst error",
    "median bound",
    "inside the bound",
    "with the cold baseline, rms",
    "with the cold baseline, worst",
)


class Case(NamedTuple):
    """One experiment to be measured."""

    generation: str
    seed: int


class Net(NamedTuple):
    """One experiment's energy above idle. Errors and bound are relative to the true one."""

    generation: str
    error: float
    bound: float
    cold_error: float
    """When the idle power without a context is subtracted in its place."""


def measured(given: Given, experiments: int = EXPERIMENTS) -> Section:
    """Experiments on boards of every generation; seeds are ``seed`` and up."""
    cases = [Case(generation, given.seed + n) for generation in GENERATIONS for n in range(experiments)]
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        found = list(pool.map(net_energy, cases))
    rows = [
        [generation, *_figures([net for net in found if net.generation == generation])]
        for generation in GENERATIONS
    ]
    inside = _inside(found)
    text = [
        f"{experiments} experiments on each generation's sensors (seeds {given.seed} to"
        f" {given.seed + experiments - 1}), whole measurements in simulated time with windows of"
        f" {LENGTHS_S[0]:g} to {LENGTHS_S[1]:g} s, on boards that draw {COLD_W:g} W cold and {CONTEXT_W:g} W with"
        " a context. The adjusted energy is held against the window's true energy less what the context draws;"
        " beside it, the error made when the cold baseline of the same result is subtracted.",
        "",
        f"Limit: the truth inside the stated bound in at least {LEAST_INSIDE:.0%} of all experiments.",
        "",
        *table(HEAD, [*rows, ["over all", *_figures(found)]]),
    ]
    short = () if inside >= LEAST_INSIDE else (f"the truth is inside the bound in {inside:.1%}",)
    return Section("Energy above idle", tuple(text), short)


def net_energy(case: Case) -> Net:
    """One experiment with a random load."""
    dice = random.Random(f"{case.generation} {case.seed}")
    clock = SimulatedClock(1000 + dice.uniform(0, 10))
    power = PowerProfile(COLD_W, CONTEXT_W, prefill_w=dice.uniform(300, 650), decode_w=dice.uniform(150, 400))
    view = SensorView(GENERATIONS[case.generation], *(dice.uniform(0, 1) for _ in range(3)))
    gpu = SimulatedGpu(0, clock, power, view)
    rig = Rig((gpu,), clock, node="here")
    marks: list[PhaseMark] = []
    rig.phases.subscribe(marks.append)
    length_s = math.exp(dice.uniform(*map(math.log, LENGTHS_S)))
    result = measure(_experiment(length_s, dice.randint(1, 8)), rig).result
    start_s = next(mark.at_s for mark in marks if mark.phase is Phase.PREFILL)
    end_s = next(mark.at_s for mark in marks if mark.phase is Phase.COOL)
    true_j = gpu.true_energy_j(start_s, end_s) - CONTEXT_W * (end_s - start_s)
    breakdown = result.energy_breakdown
    assert breakdown is not None
    cold_w = next(idle.power_w for idle in breakdown.idle if idle.kind == "cold")
    values = (result.energy_adjusted_j, result.energy_adjusted_uncertainty_j, result.total_energy_j, cold_w)
    adjusted_j, bound_j, total_j, cold_w = (math.nan if value is None else value for value in values)
    cold_j = total_j - cold_w * (end_s - start_s)
    return Net(case.generation, adjusted_j / true_j - 1, bound_j / true_j, cold_j / true_j - 1)


def _experiment(length_s: float, requests: int) -> PlannedExperiment:
    config = ExperimentConfig.model_validate(
        {
            "model": "acme/made-up-7b",
            "backend": "synthetic",
            "n": requests,
            "synthetic": {"run_seconds": length_s, "load_seconds": 1.0},
            "baseline": {"duration_seconds": 10.0, "subtract": "context"},
            "warmup": {"n_warmup": 1, "thermal_floor_seconds": 0.0},
        }
    )
    return PlannedExperiment("0" * 16, "0" * 16, config, 1, {})


def _inside(found: Sequence[Net]) -> float:
    return sum(abs(net.error) <= net.bound for net in found) / len(found)


def _figures(found: Sequence[Net]) -> list[str]:
    return [
        str(len(found)),
        f"{rms([net.error for net in found]):.3%}",
        f"{max(abs(net.error) for net in found):.3%}",
        f"{median(net.bound for net in found):.3%}",
        f"{_inside(found):.1%}",
        f"{rms([net.cold_error for net in found]):.1%}",
        f"{max(abs(net.cold_error) for net in found):.1%}",
    ]
