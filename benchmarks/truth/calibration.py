"""The timing of a board's sensors as calibration finds it, against the timing that the board has."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from statistics import median
from typing import NamedTuple

from llem_sweep.clock import SimulatedClock
from llem_sweep.device.sensors import GENERATIONS
from llem_sweep.device.simulated import SensorView, SimulatedGpu
from llem_sweep.results.sensors import BoardSensors, SensorTiming
from llem_sweep.sampling.calibration import READINGS
from llem_sweep.sampling.steps import PhasesAlone, calibrate_board
from truth.section import Given, Section, table

BOARDS = 10
"""Of each generation."""
MOST_ERROR = 0.1
GAINS = (0.94, 1.11)
MOST_JITTER_S = 0.002
HEAD = ("sensors", "reading", "n", "of", "published", "found, median", "worst error")


class Case(NamedTuple):
    """A board to be calibrated."""

    generation: str
    seed: int


def measured(given: Given, boards: int = BOARDS) -> Section:
    """Boards of every generation, each with phases, gain and jitter of its own; seeds are ``seed`` and up."""
    cases = [Case(generation, given.seed + number) for generation in GENERATIONS for number in range(boards)]
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        found = list(pool.map(recovered, cases))
    rows, short = [], []
    for generation, published in GENERATIONS.items():
        own = [sensors for case, sensors in zip(cases, found, strict=True) if case.generation == generation]
        for reading in READINGS:
            timing: SensorTiming | None = getattr(published, reading)
            if timing is None:
                continue
            for cells, problem in compared(timing, [getattr(sensors, reading) for sensors in own]):
                rows.append([generation, reading, str(boards), *cells])
                short += [f"{generation}, {reading}: {problem}"] if problem else []
    text = [
        f"{boards} simulated boards of each generation (seeds {given.seed} to {given.seed + boards - 1}), each"
        " with updates at random phases and early or late by up to"
        f" {1000 * MOST_JITTER_S:g} ms, and a gain from {GAINS[0]:g} to {GAINS[1]:g}; calibrated in simulated time"
        " with nothing known beforehand.",
        "",
        f"Limits: periods and windows within {MOST_ERROR:.0%} of what is published, lags within {MOST_ERROR:.0%}"
        " of the update period.",
        "",
        *table(HEAD, rows),
    ]
    return Section("Calibration", tuple(text), tuple(short))


def recovered(case: Case) -> BoardSensors:
    """What calibration finds on one board."""
    dice = random.Random(f"{case.generation} {case.seed}")
    clock = SimulatedClock(1000 + dice.uniform(0, 10))
    view = SensorView(
        GENERATIONS[case.generation],
        counter_offset_s=dice.uniform(0, 1),
        power_offset_s=dice.uniform(0, 1),
        instant_offset_s=dice.uniform(0, 1),
        gain=dice.uniform(*GAINS),
        jitter_s=dice.uniform(0, MOST_JITTER_S),
    )
    gpu = SimulatedGpu(0, clock, sensor=view)
    return calibrate_board(gpu, clock, PhasesAlone(), BoardSensors()).sensors


def compared(
    published: SensorTiming, found: Sequence[SensorTiming | None]
) -> list[tuple[list[str], str | None]]:
    """Cells and what falls short, for every field that the reading has; lags are relative to the period."""
    period_s = published.update_period_s
    fields = [("update period", "update_period_s", period_s)]
    if published.window_s is not None:
        fields += [("window", "window_s", published.window_s), ("lag", "lag_s", period_s)]
    rows = []
    for name, field, scale_s in fields:
        true_s: float = getattr(published, field)
        values_s = [value for timing in found if (value := getattr(timing, field, None)) is not None]
        missing = len(found) - len(values_s)
        worst = max((abs(value_s - true_s) / scale_s for value_s in values_s), default=0.0)
        middle = f"{1000 * median(values_s):.1f} ms" if values_s else "-"
        said = f"{worst:.1%}" + (f", {missing} not found" if missing else "")
        short = f"{name} {said}" if missing or worst > MOST_ERROR else None
        rows.append(([name, f"{1000 * true_s:g} ms", middle, said], short))
    return rows
