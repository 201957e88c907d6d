"""When a reading took its values: periodic updates, found in samples that are taken at other times.

A sample shows the value of the latest update, so each change of value brackets one update between two samples. A
board's updates are periodic: the brackets of many of them together leave far less room for the grid that they lie
on than one sampling period, as long as the sampling doesn't keep step with the updates.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

REACH_S = 6.5
"""How far around a moment updates are looked at: enough of the slowest, and no time for a slow drift to matter."""
_MISSED = 1.6
"""A bracket of more sampling periods than this may hold several updates."""
_SPAN = 16
_SEARCH_STEPS = 48
_IRREGULAR = 0.5
"""Where the best grid misses brackets by more of a sampling period than this, the updates aren't periodic."""


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
    timing_s: float
    """Standard uncertainty of the times."""


class _Bracket(NamedTuple):
    early_s: float
    late_s: float
    value: float

    @property
    def middle_s(self) -> float:
        return (self.early_s + self.late_s) / 2


def points_near(points: Sequence[Point], at_s: float, reach_s: float = REACH_S) -> Sequence[Point]:
    """The points at most ``reach_s`` from a moment, and one more on either side."""
    first = max(0, bisect_left(points, at_s - reach_s, key=_time) - 1)
    return points[first : bisect_right(points, at_s + reach_s, key=_time) + 1]


def find_updates(points: Sequence[Point], sampling_s: float, period_s: float | None = None) -> Updates | None:
    """The updates between ``points``, which were sampled every ``sampling_s``.

    Without ``period_s`` every update is taken to change the value, as a counter's ticks do, and None is returned
    for fewer than three; with it, updates may leave the value as it was; None is returned when nothing changed.
    """
    brackets = [
        _Bracket(before.at_s, after.at_s, after.value)
        for before, after in pairwise(points)
        if after.value != before.value
    ]
    if len(brackets) < (3 if period_s is None else 1):
        return None
    counts, spacing_s = _numbered(brackets, sampling_s, period_s)
    if counts[-1] < 3:
        fitted_s = spacing_s
        offset_s, room_s = _room(brackets, counts, spacing_s)
    else:
        offset_s, fitted_s, room_s = _fit(brackets, counts, spacing_s)
    if room_s < -_IRREGULAR * sampling_s:
        times_s = [bracket.middle_s for bracket in brackets]
        timing_s = sampling_s / 12**0.5
    else:
        times_s = [
            min(max(offset_s + count * fitted_s, bracket.early_s), bracket.late_s)
            for bracket, count in zip(brackets, counts, strict=True)
        ]
        timing_s = abs(room_s) / 12**0.5
    values = tuple(bracket.value for bracket in brackets)
    return Updates(tuple(times_s), values, points[0].value, fitted_s, timing_s)


def _time(point: Point) -> float:
    return point.at_s


def _numbered(
    brackets: Sequence[_Bracket], sampling_s: float, period_s: float | None
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


def _fit(brackets: Sequence[_Bracket], counts: Sequence[int], spacing_s: float) -> tuple[float, float, float]:
    """Offset and period of the grid that lies most comfortably within all brackets, and the room it has there.

    For a given period the offsets that suit every bracket form an interval, whose length is a concave function
    of the period: a search by thirds finds its greatest. With negative room none suits all; this misses least.
    """
    widths_s = brackets[0].late_s - brackets[0].early_s + brackets[-1].late_s - brackets[-1].early_s
    reach_s = 0.1 * spacing_s + 2 * widths_s / counts[-1]
    low_s, high_s = spacing_s - reach_s, spacing_s + reach_s
    for _ in range(_SEARCH_STEPS):
        third_s = (high_s - low_s) / 3
        if _room(brackets, counts, low_s + third_s)[1] < _room(brackets, counts, high_s - third_s)[1]:
            low_s += third_s
        else:
            high_s -= third_s
    period_s = (low_s + high_s) / 2
    offset_s, room_s = _room(brackets, counts, period_s)
    return offset_s, period_s, room_s


def _room(brackets: Sequence[_Bracket], counts: Sequence[int], period_s: float) -> tuple[float, float]:
    """Middle and length of the interval of offsets that suit every bracket."""
    latest_s = min(bracket.late_s - n * period_s for bracket, n in zip(brackets, counts, strict=True))
    earliest_s = max(bracket.early_s - n * period_s for bracket, n in zip(brackets, counts, strict=True))
    return (latest_s + earliest_s) / 2, latest_s - earliest_s
