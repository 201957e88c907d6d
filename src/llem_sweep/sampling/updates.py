"""When a reading took its values: periodic updates, found in samples that are taken at other times.

A sample shows the value of the latest update, so each change of value brackets one update between two samples. A
board's updates are periodic: the brackets of many of them together leave far less room for the grid that they lie
on than one sampling period, as long as the sampling doesn't keep step with the updates.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from llem_sweep.sampling.grids import Bracket, Timing, fit_grids

REACH_S = 6.5
"""How far around a moment updates are looked at: enough of the slowest, and no time for a slow drift to matter."""
_MISSED = 1.6
"""A bracket of more sampling periods than this may hold several updates."""
_SPAN = 16
_IRREGULAR = 0.5
"""Updates uneven by more of a sampling period than this aren't taken for periodic."""


class Point(NamedTuple):
    """A value read at a moment."""

    at_s: float
    value: float


class Updates(NamedTuple):
    """The updates of one reading around a moment that changed its value, in order of time."""

    times_s: tuple[float, ...]
    values: tuple[float, ...]
    """Each holds from its time on."""
    before: float
    """The value that held before the first of them."""
    period_s: float
    timing: Timing


def points_near(points: Sequence[Point], first_s: float, last_s: float) -> Sequence[Point]:
    """The points at most :data:`REACH_S` from what lies between two moments, and one more on either side."""
    first = max(0, bisect_left(points, first_s - REACH_S, key=_time) - 1)
    return points[first : bisect_right(points, last_s + REACH_S, key=_time) + 1]


def find_updates(points: Sequence[Point], sampling_s: float, period_s: float | None = None) -> Updates | None:
    """The updates between ``points``, which were sampled every ``sampling_s``.

    Without ``period_s`` every update is taken to change the value, as a counter's ticks do, and None is returned
    for fewer than three; with it, updates may leave the value as it was; None is returned when nothing changed.
    """
    changes = [(before, after) for before, after in pairwise(points) if after.value != before.value]
    brackets = [Bracket(before.at_s, after.at_s) for before, after in changes]
    if len(brackets) < (3 if period_s is None else 1):
        return None
    counts, spacing_s = _numbered(brackets, sampling_s, period_s)
    grids = fit_grids(brackets, counts, spacing_s, sampling_s)
    offset_s, fitted_s, timing = grids.mean()
    if grids.uneven_s > _IRREGULAR * sampling_s:
        times_s = [bracket.middle_s for bracket in brackets]
        timing = Timing(times_s[0], 0.0, 0.0, sampling_s / math.sqrt(12))
    else:
        times_s = [
            min(max(offset_s + count * fitted_s, bracket.early_s), bracket.late_s)
            for bracket, count in zip(brackets, counts, strict=True)
        ]
    values = tuple(after.value for _, after in changes)
    return Updates(tuple(times_s), values, points[0].value, fitted_s, timing)


def _time(point: Point) -> float:
    return point.at_s


def _numbered(
    brackets: Sequence[Bracket], sampling_s: float, period_s: float | None
) -> tuple[list[int], float]:
    """The number of each update, counted from the first, and the period."""
    spacing_s = period_s or _spacing_s([bracket.middle_s for bracket in brackets])
    counts = [0]
    for before, after in pairwise(brackets):
        if after.late_s - after.early_s > _MISSED * sampling_s:
            # Of all the updates that the sampler missed, the value shown is the newest one's.
            apart = int((after.late_s - before.middle_s) / spacing_s)
        elif period_s is None:
            apart = 1
        else:
            apart = round((after.middle_s - before.middle_s) / spacing_s)
        counts.append(counts[-1] + max(1, apart))
    return counts, spacing_s


def _spacing_s(middles_s: Sequence[float]) -> float:
    """Typical time between neighbours: over many at once, since one bracket tells it to a sampling period only."""
    span = min(_SPAN, len(middles_s) - 1)
    return median(
        (middles_s[index + span] - middles_s[index]) / span for index in range(len(middles_s) - span)
    )
