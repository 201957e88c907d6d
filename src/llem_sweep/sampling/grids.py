"""The even grids that updates may lie on, when each is known to lie between two samples.

All grids that suit the brackets are taken for equally likely: their mean gives the times of updates, and their
spread how well those are known, including how the errors of two times go together. Updates that are uneven leave
less room than even ones would; what the brackets cannot exclude counts as uncertainty of each update.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import NamedTuple

_SEARCH_STEPS = 40
_PERIODS = 24
"""So many stand for all that suit."""
_EVEN_ROOM = 0.75
"""Updates count as even where the brackets leave a room of at least twice so many of their spacings."""
_BENT = 1.3
"""By how much more updates are uneven than the room says, since the grid that fits best bends towards them."""
_LEAST_TO_FIT = 3
"""Over fewer periods the brackets tell nothing about the period."""


class Bracket(NamedTuple):
    """An update came after ``early_s`` and not after ``late_s``."""

    early_s: float
    late_s: float

    @property
    def middle_s(self) -> float:
        return (self.early_s + self.late_s) / 2


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
        """Length of the interval of offsets that suit every bracket; negative where none does."""
        least_s, greatest_s = self.offsets_s(period_s)
        return greatest_s - least_s

    def roomiest_s(self, low_s: float, high_s: float) -> float:
        """The period between these two that leaves the most room, which is a concave function of the period."""
        for _ in range(_SEARCH_STEPS):
            third_s = (high_s - low_s) / 3
            if self.room_s(low_s + third_s) < self.room_s(high_s - third_s):
                low_s += third_s
            else:
                high_s -= third_s
        return (low_s + high_s) / 2

    def end_of_room_s(self, inside_s: float, outside_s: float) -> float:
        """The period between these two from which on no offset suits."""
        for _ in range(_SEARCH_STEPS):
            middle_s = (inside_s + outside_s) / 2
            if self.room_s(middle_s) > 0:
                inside_s = middle_s
            else:
                outside_s = middle_s
        return inside_s


class Grids(NamedTuple):
    """Grids of updates that suit the brackets: periods, evenly spread, with the least and greatest offset of each.

    Every grid within these limits is as likely as the other; a time on it has the mean of all of them.
    """

    choices: tuple[tuple[float, float, float], ...]
    uneven_s: float
    """Updates come at most so much early or late."""

    def mean(self) -> tuple[float, float, Timing]:
        """Offset and period, and how well the times of updates are known."""
        middles_s = [(least_s + greatest_s) / 2 for _, least_s, greatest_s in self.choices]
        period_s = self._mean(period_s for period_s, _, _ in self.choices)
        offset_s = self._mean(middles_s)
        off = [
            (period - period_s, middle - offset_s)
            for (period, _, _), middle in zip(self.choices, middles_s, strict=True)
        ]
        rooms_s2 = self._mean((greatest_s - least_s) ** 2 / 12 for _, least_s, greatest_s in self.choices)
        offsets_s2 = rooms_s2 + self._mean(offset**2 for _, offset in off)
        periods_s2 = self._mean(period**2 for period, _ in off)
        both_s2 = self._mean(period * offset for period, offset in off)
        # The number of the update whose time depends on the period least.
        best = -both_s2 / periods_s2 if periods_s2 else 0.0
        shared_s = math.sqrt(max(0.0, offsets_s2 + best * both_s2))
        drift = math.sqrt(periods_s2) / period_s
        return (
            offset_s,
            period_s,
            Timing(offset_s + best * period_s, shared_s, drift, self.uneven_s / math.sqrt(3)),
        )

    def _mean(self, values: Iterable[float]) -> float:
        weights = [greatest_s - least_s for _, least_s, greatest_s in self.choices]
        return fmean(values, weights) if math.fsum(weights) > 0 else fmean(values)


def fit_grids(
    brackets: Sequence[Bracket], counts: Sequence[int], spacing_s: float, sampling_s: float
) -> Grids:
    """The grids that lie within all brackets, or as close to them as updates are uneven.

    ``counts`` number the brackets' updates, and ``spacing_s`` is about the period.
    """
    limits = _Limits(
        _outermost([(n, bracket.late_s) for bracket, n in zip(brackets, counts, strict=True)]),
        _outermost([(n, -bracket.early_s) for bracket, n in zip(brackets, counts, strict=True)]),
    )
    widths_s = brackets[0].late_s - brackets[0].early_s + brackets[-1].late_s - brackets[-1].early_s
    reach_s = 0.1 * spacing_s + 2 * widths_s / counts[-1] if counts[-1] >= _LEAST_TO_FIT else 0.0
    best_s = limits.roomiest_s(spacing_s - reach_s, spacing_s + reach_s)
    uneven_s = _unevenness_s(limits.room_s(best_s), sampling_s / len(brackets))
    limits = limits.widened(uneven_s)
    shortest_s, longest_s = (limits.end_of_room_s(best_s, best_s + way * reach_s) for way in (-1, 1))
    step_s = (longest_s - shortest_s) / _PERIODS
    periods_s = [shortest_s + (number + 0.5) * step_s for number in range(_PERIODS)]
    return Grids(tuple((period_s, *limits.offsets_s(period_s)) for period_s in periods_s), uneven_s)


def _unevenness_s(room_s: float, spacing_s: float) -> float:
    """By how much updates come early or late, at most, when the brackets leave ``room_s`` for an even grid.

    Brackets end ``spacing_s`` apart on average, seen from the grid. Of updates uneven by up to J about
    ``(J − x)² / (4 · J · spacing)`` have a bracket that ends x on the wrong side of it; the room is −2x where that
    is one, and J follows from the room. Unevenness much below the spacing can't be told from none.
    """
    lacking_s = _EVEN_ROOM * spacing_s - room_s / 2
    return _BENT * (lacking_s + 2 * math.sqrt(spacing_s * lacking_s)) if lacking_s > 0 else 0.0


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
