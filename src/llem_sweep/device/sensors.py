"""How boards show their power: what is published for each generation, and the same as a function of the truth.

Windows and update periods are those of "Part-time Power Measurements" (Yang, Adámek, Armour; SC'24, arXiv
2312.02741) and its repository's table; ticks of the counter are those of NVIDIA's open kernel module.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from llem_sweep.results.sensors import BoardSensors, SensorTiming

_64_BITS = 2**64 - 1
_TICK = SensorTiming(update_period_s=0.1)
_MEAN_OF_A_SECOND = SensorTiming(update_period_s=0.1, window_s=1.0)
_QUARTER = SensorTiming(update_period_s=0.1, window_s=0.025)
_WHOLE = SensorTiming(update_period_s=0.1, window_s=0.1)

GENERATIONS: dict[str, BoardSensors] = {
    generation: BoardSensors(
        counter=_TICK, power=power, instant=instant, source="prior", generation=generation
    )
    for generation, power, instant in (
        ("volta", SensorTiming(update_period_s=0.02, window_s=0.01), None),
        ("turing", _WHOLE, None),
        ("ga100", _QUARTER, _QUARTER),
        ("ampere", _MEAN_OF_A_SECOND, _WHOLE),
        ("ada", _MEAN_OF_A_SECOND, _WHOLE),
        ("hopper", _MEAN_OF_A_SECOND, _QUARTER),
    )
}
"""Published timing by generation; ``ampere`` are the boards of that architecture other than the GA100's."""


def prior(generation: str | None) -> BoardSensors:
    """What is published for ``generation``; of an unknown one nothing is assumed."""
    return GENERATIONS.get(generation or "", BoardSensors(generation=generation))


def shown_update_s(timing: SensorTiming, offset_s: float, at_s: float, jitter_s: float = 0.0) -> float:
    """Time of the latest update at ``at_s``, when one is due at ``offset_s``.

    With ``jitter_s`` each update is early or late by up to so much, the same one always by the same amount. Raises
    ValueError from half a period on, where updates would overtake each other.
    """
    if not jitter_s:
        return at_s - (at_s - offset_s) % timing.update_period_s
    if not 0 < jitter_s < timing.update_period_s / 2:
        raise ValueError(f"a jitter of {jitter_s} s needs updates more than twice as far apart")
    latest = math.floor((at_s - offset_s) / timing.update_period_s)
    due = (
        offset_s + number * timing.update_period_s + jitter_s * _unevenness(number)
        for number in range(latest - 1, latest + 2)
    )
    return max(update_s for update_s in due if update_s <= at_s)


def shown_counter_mj(
    energy_j: Callable[[float], float],
    timing: SensorTiming,
    offset_s: float,
    at_s: float,
    jitter_s: float = 0.0,
) -> int:
    """What the counter shows of ``energy_j``, an energy as a function of time."""
    return math.floor(1000 * energy_j(shown_update_s(timing, offset_s, at_s, jitter_s) - timing.lag_s))


def shown_power_mw(
    energy_j: Callable[[float], float],
    timing: SensorTiming,
    offset_s: float,
    at_s: float,
    jitter_s: float = 0.0,
) -> int:
    """What a power reading shows: the mean over its window before the latest update."""
    if timing.window_s is None:
        raise ValueError("a power reading has a window")
    end_s = shown_update_s(timing, offset_s, at_s, jitter_s) - timing.lag_s
    return round(1000 * (energy_j(end_s) - energy_j(end_s - timing.window_s)) / timing.window_s)


def _unevenness(number: int) -> float:
    """A fixed value in [-1, 1) for each number, without pattern (the finaliser of SplitMix64)."""
    mixed = (number + 1) * 0x9E3779B97F4A7C15 & _64_BITS
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & _64_BITS
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & _64_BITS
    mixed ^= mixed >> 31
    return (mixed >> 11) / 2**52 - 1
