"""When a reading took its values: periodic updates, found in samples that are taken at other times.

A sample shows the value of the latest update, so each change of value brackets one update between two samples. A
board's updates are periodic: the brackets of many of them together leave far less room for the grid that they lie
on than one sampling period, as long as the sampling doesn't keep step with the updates.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import fmean, median
from typing import NamedTuple

REACH_S = 6.5
"""How far around a moment updates are looked at: enough of the slowest, and no time for a slow drift to matter."""
_MISSED = 1.6
"""A bracket of more sampling periods than this may hold several updates."""
_SPAN = 16
_SEARCH_STEPS = 40
_PERIODS = 24
"""So many stand for all that suit."""
_LEAST_TO_FIT = 3
_IRREGULAR = 0.5
"""Updates uneven by more of a sampling period than this aren't taken for periodic."""


class Point(NamedTuple):
    """A value read at a moment."""

    at_s: float
    value: float


class Timing(NamedTuple):
    """Standard uncertainties of the times of updates that lie on a grid."""

    best_s: float
    """Where the grid is known best."""
    shared_s: float
    """Of every time alike."""
    drift: float
    """More with each second from ``best_s``, later before it where it is earlier behind."""
    own_s: float
    """Of each time for itself: uneven updates."""

    def sd_s(self, at_s: float) -> float:
        """Standard uncertainty of the time of an update."""
        return math.sqrt(self.grid_s2(at_s, at_s) + self.own_s**2)

    def grid_s2(self, at_s: float, other_s: float) -> float:
        """Covariance of two times on the grid, or a time's variance."""
        return self.shared_s**2 + self.drift**2 * (at_s - self.best_s) * (other_s - self.best_s)


class Updates(NamedTuple):
    """The updates of one reading around a moment that changed its value, in order of time."""

    times_s: tuple[float, ...]
    values: tuple[float, ...]
    """Each holds from its time on."""
    before: float
    """The value that held before the first of them."""
    period_s: float
    timing: Timing


class _Bracket(NamedTuple):
    early_s: float
    late_s: float
    value: float

    @property
    def middle_s(self) -> float:
        return (self.early_s + self.late_s) / 2


class _Limits(NamedTuple):
    """What the brackets leave for a grid: ``offset + n · period`` is at most each ``latest`` and no less than each
    ``earliest``, which is kept negated."""

    latest: list[tuple[int, float]]
    earliest: list[tuple[int, float]]

    def offsets_s(self, period_s: float) -> tuple[float, float]:
        """Least and greatest offset with this period; the least is the greater where none suits every bracket."""
        return (
            -min(limit + n * period_s for n, limit in self.earliest),
            min(limit - n * period_s for n, limit in self.latest),
        )

    def widened(self, by_s: float) -> _Limits:
        """The same with every bracket so much wider on either side."""
        return _Limits(
            [(n, limit + by_s) for n, limit in self.latest], [(n, limit + by_s) for n, limit in self.earliest]
        )

    def room_s(self, period_s: float) -> float:
        least_s, greatest_s = self.offsets_s(period_s)
        return greatest_s - least_s

    def end_of_room_s(self, inside_s: float, outside_s: float) -> float:
        """The period between these two from which on no offset suits."""
        for _ in range(_SEARCH_STEPS):
            middle_s = (inside_s + outside_s) / 2
            if self.room_s(middle_s) > 0:
                inside_s = middle_s
            else:
                outside_s = middle_s
        return inside_s


class _Grid(NamedTuple):
    """Grids of updates that suit the brackets: periods, evenly spread, with the least and greatest offset of each.

    Every grid within these limits is as likely as the other; a time on it has the mean of all of them.
    """

    choices: tuple[tuple[float, float, float], ...]
    uneven_s: float
    """Updates come at most so much early or late."""

    def mean(self, values: Iterable[float]) -> float:
        """Mean of one value of each choice."""
        weights = [greatest_s - least_s for _, least_s, greatest_s in self.choices]
        return fmean(values, weights) if math.fsum(weights) > 0 else fmean(values)

    def timing(self) -> tuple[float, float, Timing]:
        """Offset, period, and how well they are known."""
        middles_s = [(least_s + greatest_s) / 2 for _, least_s, greatest_s in self.choices]
        period_s = self.mean(period_s for period_s, _, _ in self.choices)
        offset_s = self.mean(middles_s)
        off = [
            (period - period_s, middle - offset_s)
            for (period, _, _), middle in zip(self.choices, middles_s, strict=True)
        ]
        rooms_s2 = self.mean((greatest_s - least_s) ** 2 / 12 for _, least_s, greatest_s in self.choices)
        offsets_s2 = rooms_s2 + self.mean(offset**2 for _, offset in off)
        periods_s2 = self.mean(period**2 for period, _ in off)
        both_s2 = self.mean(period * offset for period, offset in off)
        # The number of the update whose time depends on the period least.
        best = -both_s2 / periods_s2 if periods_s2 else 0.0
        shared_s = math.sqrt(max(0.0, offsets_s2 + best * both_s2))
        drift = math.sqrt(periods_s2) / period_s
        return (
            offset_s,
            period_s,
            Timing(offset_s + best * period_s, shared_s, drift, self.uneven_s / math.sqrt(3)),
        )


def points_near(points: Sequence[Point], first_s: float, last_s: float) -> Sequence[Point]:
    """The points at most :data:`REACH_S` from what lies between two moments, and one more on either side."""
    first = max(0, bisect_left(points, first_s - REACH_S, key=_time) - 1)
    return points[first : bisect_right(points, last_s + REACH_S, key=_time) + 1]


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
    grid = _fit(brackets, counts, spacing_s, sampling_s)
    offset_s, fitted_s, timing = grid.timing()
    if grid.uneven_s > _IRREGULAR * sampling_s:
        times_s = [bracket.middle_s for bracket in brackets]
        timing = Timing(times_s[0], 0.0, 0.0, sampling_s / math.sqrt(12))
    else:
        times_s = [
            min(max(offset_s + count * fitted_s, bracket.early_s), bracket.late_s)
            for bracket, count in zip(brackets, counts, strict=True)
        ]
    values = tuple(bracket.value for bracket in brackets)
    return Updates(tuple(times_s), values, points[0].value, fitted_s, timing)


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


def _fit(brackets: Sequence[_Bracket], counts: Sequence[int], spacing_s: float, sampling_s: float) -> _Grid:
    """The grids that lie within all brackets, or as close to them as updates are uneven.

    For a given period the offsets that suit every bracket form an interval, whose length is a concave function
    of the period: a search by thirds finds its greatest, and halving where it ends on either side.
    """
    limits = _Limits(
        _outermost([(n, bracket.late_s) for bracket, n in zip(brackets, counts, strict=True)]),
        _outermost([(n, -bracket.early_s) for bracket, n in zip(brackets, counts, strict=True)]),
    )
    widths_s = brackets[0].late_s - brackets[0].early_s + brackets[-1].late_s - brackets[-1].early_s
    reach_s = 0.1 * spacing_s + 2 * widths_s / counts[-1] if counts[-1] >= _LEAST_TO_FIT else 0.0
    low_s, high_s = spacing_s - reach_s, spacing_s + reach_s
    for _ in range(_SEARCH_STEPS):
        third_s = (high_s - low_s) / 3
        if limits.room_s(low_s + third_s) < limits.room_s(high_s - third_s):
            low_s += third_s
        else:
            high_s -= third_s
    best_s = (low_s + high_s) / 2
    uneven_s = _unevenness_s(limits.room_s(best_s), sampling_s / len(brackets))
    limits = limits.widened(uneven_s)
    shortest_s, longest_s = (limits.end_of_room_s(best_s, best_s + way * reach_s) for way in (-1, 1))
    step_s = (longest_s - shortest_s) / _PERIODS
    periods_s = [shortest_s + (number + 0.5) * step_s for number in range(_PERIODS)]
    return _Grid(tuple((period_s, *limits.offsets_s(period_s)) for period_s in periods_s), uneven_s)


def _unevenness_s(room_s: float, spacing_s: float) -> float:
    """By how much updates come early or late, at most, when the brackets leave ``room_s`` for an even grid.

    Brackets end ``spacing_s`` apart on average, seen from the grid. Of updates uneven by up to J about
    ``(J − x)² / (4 · J · spacing)`` have a bracket that ends x on the wrong side of it, and the room is −2x where
    that is one. Even updates leave about two spacings, which are taken off, so that those count as even.
    """
    lacking_s = spacing_s - room_s / 2
    return lacking_s + 2 * math.sqrt(spacing_s * lacking_s) if lacking_s > 0 else 0.0


def _outermost(limits: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """The limits that are the least, ``limit − n · period``, for some period: their lower convex hull."""
    hull: list[tuple[int, float]] = []
    for n, limit in limits:
        while len(hull) > 1:
            (first, first_limit), (second, second_limit) = hull[-2:]
            if (second_limit - first_limit) * (n - first) < (limit - first_limit) * (second - first):
                break
            hull.pop()
        hull.append((n, limit))
    return hull
