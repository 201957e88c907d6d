"""Faults put into whole measurements, and whole measurements without any: what is caught, and what is made up."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

from llem_sweep.backends.protocol import LoadedModel
from llem_sweep.clock import SimulatedClock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.device.faults import Faults, ForeignProcess
from llem_sweep.device.sensors import GENERATIONS
from llem_sweep.device.simulated import Limits, PowerProfile, SensorView, SimulatedGpu
from llem_sweep.errors import BoardLostError, IdentityError
from llem_sweep.harness.measure import measure
from llem_sweep.harness.rig import Rig
from llem_sweep.plan.types import PlannedExperiment
from llem_sweep.results.warnings import WarningCode
from truth.section import Given, Section, table

EXPERIMENTS = 30
"""Of each fault."""
CLEAN = 200
LENGTHS_S = (10.0, 40.0)
LONGEST_JITTER_S = 0.002
_BEGUN_S = 1000.0
_EXPECTED = {WarningCode.SIMULATED, WarningCode.SYNTHETIC_BACKEND}
HEAD = ("fault", "n", "caught as", "caught", "experiments flagged with something else")


class Fault(NamedTuple):
    """Something that goes wrong on a board."""

    caught_as: str
    """Code of the warning, or the name of the error that fails the experiment."""
    faults: Callable[[random.Random, float, float], Faults] = lambda dice, begin_s, end_s: Faults()
    """Made for a window between two times."""
    limits: Callable[[random.Random], Limits] = lambda dice: Limits()
    settles: bool = True
    elsewhere: bool = False
    """Whether the model computes on another board than the one metered."""


def _foreign(dice: random.Random, begin_s: float, end_s: float) -> Faults:
    seconds = dice.uniform(1.2, 5.0)
    at_s = dice.uniform(begin_s, end_s - seconds)
    return Faults(foreign=(ForeignProcess(4711, at_s, at_s + seconds, extra_w=dice.choice((0.0, 80.0))),))


def _foreign_before(dice: random.Random, begin_s: float, end_s: float) -> Faults:
    # The idle power with the model resident is taken in the first seconds after loading.
    return Faults(foreign=(ForeignProcess(4711, _BEGUN_S, _BEGUN_S + 25.0),))


FAULTS: dict[str, Fault] = {
    "another process in the window, 1.2 s or longer": Fault(WarningCode.FOREIGN_PROCESS, _foreign),
    "another process during the baselines": Fault(WarningCode.BASELINE_NOT_IDLE, _foreign_before),
    "power limit": Fault(
        WarningCode.POWER_THROTTLE, limits=lambda dice: Limits(power_cap_w=dice.uniform(150.0, 250.0))
    ),
    "overheating": Fault(
        WarningCode.THERMAL_THROTTLE, limits=lambda dice: Limits(thermal_c=dice.uniform(36.0, 42.0))
    ),
    "still warming up": Fault(WarningCode.THERMAL_DRIFT, settles=False),
    "uncorrected memory error": Fault(
        WarningCode.ECC_ERRORS,
        lambda dice, begin_s, end_s: Faults(ecc_errors_at_s=(dice.uniform(begin_s, end_s),)),
    ),
    "MIG mode": Fault(WarningCode.MIG, lambda dice, begin_s, end_s: Faults(mig=True)),
    "stalled sampler, 0.3 s or longer": Fault(
        WarningCode.SAMPLER_GAP,
        lambda dice, begin_s, end_s: Faults(
            stalls=((dice.uniform(begin_s, end_s - 2.0), dice.uniform(0.3, 2.0)),)
        ),
    ),
    "board lost in the window": Fault(
        BoardLostError.__name__,
        lambda dice, begin_s, end_s: Faults(lost_at_s=dice.uniform(begin_s, end_s)),
    ),
    "permuted index: computes on another board": Fault(IdentityError.__name__, elsewhere=True),
}


class Case(NamedTuple):
    """One experiment; ``fault`` names one of :data:`FAULTS`, or nothing goes wrong."""

    fault: str | None
    seed: int


class Flagged(NamedTuple):
    """What an experiment was flagged with."""

    fault: str | None
    codes: frozenset[str]
    """Warnings beyond those of every rehearsal, or the error that failed it."""


def measured(given: Given, experiments: int = EXPERIMENTS, clean: int = CLEAN) -> Section:
    """Experiments with each fault, and without any; seeds are ``seed`` and up."""
    cases = [Case(fault, given.seed + n) for fault in FAULTS for n in range(experiments)]
    cases += [Case(None, given.seed + n) for n in range(clean)]
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        found = list(pool.map(flagged, cases, chunksize=4))
    rows, short = [], []
    for name, fault in FAULTS.items():
        own = [each for each in found if each.fault == name]
        caught = sum(fault.caught_as in each.codes for each in own)
        rows.append([name, str(len(own)), fault.caught_as, f"{caught}", _others(own, fault.caught_as)])
        if caught < len(own):
            short.append(f"{name} was caught in {caught} of {len(own)}")
    quiet = [each for each in found if each.fault is None]
    made_up = sum(bool(each.codes) for each in quiet)
    rows.append(["none", str(len(quiet)), "–", "–", _others(quiet, "")])
    if made_up:
        short.append(f"{made_up} of {len(quiet)} clean experiments were flagged: {_others(quiet, '')}")
    text = [
        f"Whole measurements in simulated time on boards of every generation, windows of {LENGTHS_S[0]:g} to"
        f" {LENGTHS_S[1]:g} s, each update early or late by up to {1000 * LONGEST_JITTER_S:g} ms; seeds from"
        f" {given.seed}. A fault comes at a random moment of the window.",
        "",
        "Limits: every fault caught every time, and no clean experiment flagged.",
        "",
        *table(HEAD, rows),
    ]
    return Section("Faults", tuple(text), tuple(short))


def flagged(case: Case) -> Flagged:
    """One experiment, with what it was flagged with."""
    dice = random.Random(f"{case.fault} {case.seed}")
    fault = FAULTS[case.fault] if case.fault is not None else Fault("")
    length_s = dice.uniform(*LENGTHS_S)
    seed = dice.random()
    begin_s = _window_begins_s(length_s, seed, fault)
    rig = _rig(
        seed, fault.faults(dice, begin_s, begin_s + length_s), fault.limits(dice), elsewhere=fault.elsewhere
    )
    try:
        result = measure(_experiment(length_s, settles=fault.settles), rig).result
    except (BoardLostError, IdentityError) as error:
        return Flagged(case.fault, frozenset({type(error).__name__}))
    codes = {warning.code for warning in result.measurement_warnings} - _EXPECTED
    return Flagged(case.fault, frozenset(map(str, codes)))


def _window_begins_s(length_s: float, seed: float, fault: Fault) -> float:
    """When the window of the same experiment begins if nothing goes wrong."""
    rig = _rig(seed, Faults(), Limits(), elsewhere=False)
    start_time = measure(_experiment(length_s, settles=fault.settles), rig).result.start_time
    wall = rig.clock.now()
    return rig.clock.monotonic() - (wall - start_time).total_seconds()


class _ElsewhereRig(Rig):
    """A rig whose models compute on a board that isn't metered."""

    def load(self, config: ExperimentConfig, attempt: int) -> LoadedModel:
        model = super().load(config, attempt)
        other = property(lambda self: ("GPU-51000000-0000-4000-8000-000000000001",))
        model.__class__ = type("Elsewhere", (type(model),), {"device_uuids": other})
        return model


def _rig(seed: float, faults: Faults, limits: Limits, *, elsewhere: bool) -> Rig:
    dice = random.Random(seed)
    clock = SimulatedClock(_BEGUN_S)
    power = PowerProfile(
        idle_w=dice.uniform(50.0, 90.0),
        context_w=dice.uniform(100.0, 130.0),
        prefill_w=dice.uniform(400.0, 650.0),
        decode_w=dice.uniform(260.0, 390.0),
    )
    view = SensorView(
        GENERATIONS[dice.choice(sorted(GENERATIONS))],
        counter_offset_s=dice.uniform(0, 1),
        power_offset_s=dice.uniform(0, 1),
        instant_offset_s=dice.uniform(0, 1),
        gain=dice.uniform(0.94, 1.11),
        jitter_s=dice.uniform(0.0, LONGEST_JITTER_S),
    )
    gpu = SimulatedGpu(0, clock, power, view, limits=limits, faults=faults)
    return (_ElsewhereRig if elsewhere else Rig)((gpu,), clock, node="here")


def _experiment(length_s: float, *, settles: bool) -> PlannedExperiment:
    config = ExperimentConfig.model_validate(
        {
            "model": "acme/made-up-7b",
            "backend": "synthetic",
            "n": 16,
            "synthetic": {"run_seconds": length_s, "load_seconds": 1.0},
            "baseline": {"duration_seconds": 10.0},
            "warmup": {"n_warmup": 2, "thermal_floor_seconds": 30.0 if settles else 0.0},
        }
    )
    return PlannedExperiment("0" * 16, "0" * 16, config, 1, {})


def _others(found: list[Flagged], caught_as: str) -> str:
    numbers = Counter(code for each in found for code in each.codes if code != caught_as)
    return ", ".join(f"{code} {number}" for code, number in sorted(numbers.items())) or "none"
