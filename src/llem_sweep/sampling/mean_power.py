"""Energy from power alone, where a board has no counter.

A reading that is the mean of the last ``W`` seconds (a *running mean*), taken every ``u``, tells the energy of
each update period up to a pattern that repeats every ``W``: the difference of two readings is that of the newest
period and of the one ``W`` before. The sum of any ``W`` is the reading itself, so whole windows are exact. The
pattern is the one that makes power change least, in the median over all repetitions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from llem_sweep.results.sensors import SensorTiming
from llem_sweep.sampling.grids import Timing
from llem_sweep.sampling.shape import energy_between, has_no_gaps, power_steps, window_means
from llem_sweep.sampling.ticks import Edge, counter_at
from llem_sweep.sampling.updates import Point, Updates

_LONGEST_WINDOW_S = 1.0
"""The longest averaging window published, for a reading of which none is known."""
_WINDOW_FOUND, _WINDOW_PUBLISHED = 0.01, 0.04
"""Standard uncertainty of an averaging window, as a share of it, where calibration found it on the board and where
it is published for the generation."""
_ROUNDING_MW = 0.3
"""Standard uncertainty of a reading in whole mW, which steady power rounds the same way every time."""
_PATTERN, _MEDIANS = 1.0, 0.3
"""How uncertain the pattern is for each mW of a typical change, and of the spread of changes at one place; fitted
on simulated boards."""
_HELD, _HELD_UNSEEN = 1.0, 0.002
"""How uncertain energy is for the steps between readings, and for power that no reading saw; likewise."""

_IN_GAPS = 0.1
"""Standard uncertainty of power between windows with gaps, as a share of it, for each share of time unseen: work
that keeps step with such readings spread by 19 to 29 % on boards that see a quarter of the time (SC'24)."""


class PowerEnergy(NamedTuple):
    """Energy from power readings."""

    energy_mj: float
    sd_mj: float


def is_running_mean(timing: SensorTiming) -> bool:
    """Whether neighbouring windows of a reading overlap so that they have to be taken apart."""
    return timing.window_s is not None and timing.window_s >= 1.9 * timing.update_period_s


def by_inversion(
    points: Sequence[Point],
    start_s: float,
    end_s: float,
    sampling_s: float,
    timing: SensorTiming,
    *,
    calibrated: bool = False,
) -> PowerEnergy | None:
    """Energy between two moments from a running mean; None when it wasn't read from a window before the start to a
    window after the end.

    ``calibrated`` says that the averaging window was found on the board itself. The energy depends on it, about
    evenly between a window one update shorter and one longer; it is taken for a whole number of updates.
    """
    means, period_s = window_means(points, sampling_s, timing)
    if timing.window_s is None or len(means) < 3:
        return None
    whole = round(timing.window_s / period_s)
    if len(means) < 2 * whole:
        return None
    found = _unfolded_energy(means, whole, start_s, end_s)
    if found is None:
        return None
    begin, end, powers = found
    pattern_mj = _pattern_sd(powers, whole) * period_s * math.sqrt(2)
    rounding_mj = _ROUNDING_MW * (end_s - start_s + timing.window_s)
    nearby = [_unfolded_energy(means, other, start_s, end_s) for other in (whole - 1, whole + 1)]
    apart = [other[1].value_mj - other[0].value_mj for other in nearby if other is not None]
    known = _WINDOW_FOUND if calibrated else _WINDOW_PUBLISHED
    rounded = timing.window_s / period_s / whole - 1
    window_mj = math.hypot(known, rounded) * whole * (max(apart) - min(apart)) / 2 if apart else 0.0
    return PowerEnergy(
        end.value_mj - begin.value_mj, math.hypot(begin.sd_mj, end.sd_mj, pattern_mj, rounding_mj, window_mj)
    )


def _unfolded_energy(
    means: Sequence[Point], whole: int, start_s: float, end_s: float
) -> tuple[Edge, Edge, list[float]] | None:
    """The counter at both ends and the power of each update period, from means over ``whole`` of them."""
    powers = _unfolded([mean.value for mean in means], whole)
    ends_s = [mean.at_s for mean in means]
    # Energy at the ends of the update periods: a counter whose ticks are the updates.
    energies = [0.0]
    for power, (before_s, after_s) in zip(powers[1:], pairwise(ends_s), strict=True):
        energies.append(energies[-1] + power * (after_s - before_s))
    virtual = Updates(tuple(ends_s), tuple(energies), 0.0, ends_s[1] - ends_s[0], Timing(0.0, 0.0, 0.0, 0.0))
    begin, end = counter_at(virtual, start_s, -1), counter_at(virtual, end_s, 1)
    return (begin, end, powers) if begin and end else None


def by_holding(
    points: Sequence[Point], start_s: float, end_s: float, sampling_s: float, timing: SensorTiming
) -> PowerEnergy:
    """Energy between two moments from readings whose windows don't overlap, each held to halfway to the next."""
    steps = power_steps(points, sampling_s, timing)
    energy_mj = energy_between(steps, start_s, end_s)
    unplaced = [
        (after.power_mw - before.power_mw) * after.room_s
        for before, after in pairwise(steps)
        if start_s <= after.at_s <= end_s
    ]
    if has_no_gaps(timing):
        steps_mj = math.hypot(*unplaced)
    else:
        # Work that keeps step with the reading has all its rises, and all its falls, in the same part of the gaps.
        rises_mj = math.fsum(each for each in unplaced if each > 0)
        steps_mj = math.hypot(rises_mj, math.fsum(unplaced) - rises_mj)
    # Bursts that fall between the windows leave no trace in the readings.
    seen = 1.0 if timing.window_s is None else min(1.0, timing.window_s / timing.update_period_s)
    gaps_mj = _IN_GAPS * (1 - seen) * energy_mj if not has_no_gaps(timing) else 0.0
    unknown_mj = 0.0
    if timing.window_s is None:
        powers = [point.value for point in points if start_s <= point.at_s <= end_s]
        unknown_mj = _LONGEST_WINDOW_S * (max(powers) - min(powers)) / 2
    return PowerEnergy(
        energy_mj,
        math.hypot(_HELD * steps_mj / math.sqrt(3), _HELD_UNSEEN * energy_mj, gaps_mj, unknown_mj),
    )


def _unfolded(means: Sequence[float], whole: int) -> list[float]:
    """Mean power of each update period, from means over ``whole`` of them."""
    powers = [means[whole - 1]] * whole
    for at in range(whole, len(means)):
        powers.append(powers[at - whole] + whole * (means[at] - means[at - 1]))
    changes = [median(own) for own in _changes_by_place(powers, whole)]
    closing = math.fsum(changes) / whole
    pattern = [0.0]
    for change in changes[1:]:
        pattern.append(pattern[-1] + change - closing)
    level = math.fsum(pattern) / whole
    return [power - pattern[at % whole] + level for at, power in enumerate(powers)]


def _changes_by_place(powers: Sequence[float], whole: int) -> list[list[float]]:
    """Changes of power from one period to the next, by place in the pattern: once for every repetition."""
    return [
        [powers[at] - powers[at - 1] for at in range(place or whole, len(powers), whole)]
        for place in range(whole)
    ]


def _pattern_sd(powers: Sequence[float], whole: int) -> float:
    """Standard uncertainty of the repeating pattern: of the medians of changes that it comes from.

    Each is known to the spread of the middle half of its changes, over the root of their number. Where most are
    alike that says nothing of the others; so the typical change of any place counts in too.
    """
    by_place = _changes_by_place(powers, whole)
    typical = median(abs(change) for own in by_place for change in own)
    spreads = []
    for own in by_place:
        ordered = sorted(own)
        spreads.append((ordered[3 * len(own) // 4] - ordered[len(own) // 4]) / math.sqrt(len(own)))
    return math.hypot(_PATTERN * typical / math.sqrt(len(powers) / whole), _MEDIANS * math.hypot(*spreads))
