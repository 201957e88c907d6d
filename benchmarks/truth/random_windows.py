"""Random windows over random power, and what a sampler reads of them through a board's sensors."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from llem_sweep.device.protocol import Reading
from llem_sweep.device.sensors import GENERATIONS, shown_counter_mj, shown_power_mw
from llem_sweep.device.traces import Constant, Cycle, Exponential, Ramp, Trace, Within, square
from llem_sweep.phases import Phase
from llem_sweep.results.sensors import BoardSensors, SensorTiming
from llem_sweep.sampling.energy import RUN_ON_LIMIT_S
from llem_sweep.sampling.recording import Sample

TICKS_S = (0.02, 0.1, 0.5)
BEFORE_S = 4.0
"""Sampled before the window; in a measurement the warm-up is."""
READ_JITTER_S = 0.0002
"""Standard deviation of the moment of a reading about its schedule."""


class Board(NamedTuple):
    """Sensors that a window is seen through."""

    generation: str
    tick_s: float | None
    """None for a board without a counter."""

    @property
    def sensors(self) -> BoardSensors:
        counter = SensorTiming(update_period_s=self.tick_s) if self.tick_s else None
        published = GENERATIONS[self.generation]
        if counter is None:
            # Only a window found on the board is as exact as the simulated one.
            found = {"counter": None, "instant": None, "measured": ("power.window_s",)}
            return published.model_copy(update=found)
        return published.model_copy(update={"counter": counter})

    @property
    def tick(self) -> str:
        """``tick_s`` in words."""
        return f"{1000 * self.tick_s:.0f} ms" if self.tick_s else "none"


class Drawn(NamedTuple):
    """One window and what the board truly draws around it."""

    trace: Trace
    kind: str
    follows: bool
    start_s: float
    end_s: float


BOARDS = (
    *(
        Board(generation, tick_s)
        for generation in ("volta", "turing", "ga100", "ada", "hopper")
        for tick_s in TICKS_S
    ),
    Board("hopper", None),
)


def draw(dice: random.Random) -> Drawn:
    """A random window over a random trace."""
    length_s = math.exp(dice.uniform(math.log(0.5), math.log(60.0)))
    start_s = 1000 + dice.uniform(0, 10)
    end_s = start_s + length_s
    kind = dice.choice(("constant", "square", "ramp", "exponential", "phases"))
    low_w, high_w = dice.uniform(60, 250), dice.uniform(300, 650)
    traces: dict[str, Callable[[], Trace]] = {
        "constant": lambda: Constant(high_w),
        "square": lambda: square(
            low_w,
            high_w,
            math.exp(dice.uniform(math.log(0.15), math.log(3.0))),
            dice.uniform(0, 3),
            dice.uniform(0.3, 0.7),
        ),
        "ramp": lambda: Ramp(
            low_w,
            high_w,
            start_s - dice.uniform(0, 0.3) * length_s,
            end_s + dice.uniform(-0.3, 0.2) * length_s,
        ),
        "exponential": lambda: Exponential(
            low_w, high_w, dice.uniform(0.3, 20), start_s - dice.uniform(0, 2)
        ),
        "phases": lambda: Cycle(
            tuple(
                step
                for _ in range(dice.randint(1, 4))
                for step in (
                    (dice.uniform(0.03, 0.4), high_w),
                    (dice.uniform(0.3, 2.5), dice.uniform(low_w, high_w)),
                )
            ),
            dice.uniform(0, 3),
        ),
    }
    trace = traces[kind]()
    follows = dice.random() < 0.5
    if follows:
        trace = Within(trace, dice.uniform(50, 130), start_s, end_s)
    return Drawn(trace, kind, follows, start_s, end_s)


def samples_of(drawn: Drawn, sensors: BoardSensors, dice: random.Random, period_s: float) -> list[Sample]:
    """What a sampler would record of the window, from before it to the end of the run-on."""
    begin_s = drawn.start_s - BEFORE_S - dice.uniform(0, 0.1)
    offsets_s = [dice.uniform(0, 1) for _ in range(3)]
    since_j = drawn.trace.energy_j(begin_s - 10)

    @cache
    def energy_j(at_s: float) -> float:
        return drawn.trace.energy_j(at_s) - since_j

    samples = []
    for number in range(int((drawn.end_s + RUN_ON_LIMIT_S - begin_s) / period_s)):
        at_s = begin_s + number * period_s + dice.gauss(0, READ_JITTER_S)
        samples.append(Sample(at_s, 0, Phase.DECODE, _reading(energy_j, sensors, offsets_s, at_s)))
    return samples


def _reading(
    energy_j: Callable[[float], float], sensors: BoardSensors, offsets_s: Sequence[float], at_s: float
) -> Reading:
    counter, power, instant = sensors.counter, sensors.power, sensors.instant
    return Reading(
        shown_counter_mj(energy_j, counter, offsets_s[0], at_s) if counter else None,
        shown_power_mw(energy_j, power, offsets_s[1], at_s) if power else None,
        None,
        None,
        None,
        None,
        shown_power_mw(energy_j, instant, offsets_s[2], at_s) if instant else None,
    )
