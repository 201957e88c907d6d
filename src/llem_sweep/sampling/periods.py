"""How often a reading is updated, found in samples of it, with nothing known beforehand.

A change of value between two samples brackets one update. Updates that left the value as it was aren't seen, so
what lies between two changes is some whole number of periods: the period is the longest that divides them all.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, median
from typing import NamedTuple

from llem_sweep.sampling.updates import Point

LEAST_CHANGES = 8
"""Fewer changes tell no period."""
_MOST_GAPS = 200
_LONGEST_GAP_S = 1.5
"""Longer gaps hold so many periods that they tell nothing until the period is known well."""
_SHORT_GAP_S = 0.4
_UNRESOLVED = 0.9
"""Where more of the samples than this differ from the one before, updates come as fast as the samples."""
_LEAST_BRACKETS = 2.5
"""A period of fewer brackets than this can't be told from its neighbours."""
_FIT = 0.7
"""Least mean cosine of the gaps' phases; 1 for gaps that are multiples to the last bit."""
_OF_BEST = 0.93
_STEPS_PER_TURN = 8
_SLACK = 1.1
_SETTLED = 0.85
"""Share of a period after which a sample may show the next update already."""


class Change(NamedTuple):
    """An update that changed the value, between two samples."""

    early_s: float
    late_s: float

    @property
    def middle_s(self) -> float:
        return (self.early_s + self.late_s) / 2


class Grid(NamedTuple):
    """Periodic updates."""

    period_s: float
    offset_s: float
    """Time of one of them."""
    spread_s: float
    """Rms distance of the changes from the grid; the brackets' own width is in it."""
    changes: tuple[Change, ...]


class Update(NamedTuple):
    """One update: when it was made, and the value that it set."""

    at_s: float
    value: float


def find_grid(points: Sequence[Point]) -> Grid | None:
    """The grid that the updates between ``points`` lie on; None when they are too few, or too fast to be seen."""
    pairs = list(pairwise(points))
    changes = [Change(a.at_s, b.at_s) for a, b in pairs if b.value != a.value]
    if len(changes) < LEAST_CHANGES or len(changes) > _UNRESOLVED * len(pairs):
        return None
    bracket_s = median(change.late_s - change.early_s for change in changes)
    gaps_s = [after.middle_s - before.middle_s for before, after in pairwise(changes)]
    coarse_s = _longest_divisor_s(gaps_s, _LEAST_BRACKETS * bracket_s)
    return _fitted(changes, gaps_s, coarse_s) if coarse_s is not None else None


def updates_of(points: Sequence[Point], grid: Grid) -> tuple[Update, ...]:
    """Every update of ``grid`` that the points show; those that changed the value are held to where it changed."""
    middles_s = [change.middle_s for change in grid.changes]
    times_s = [point.at_s for point in points]
    first = math.ceil((times_s[0] - grid.offset_s) / grid.period_s)
    last = math.floor((times_s[-1] - grid.offset_s) / grid.period_s) - 1
    found = []
    for number in range(first, last + 1):
        due_s = grid.offset_s + number * grid.period_s
        # Halfway to the next update the value is settled, wherever the update itself was a little early or late.
        held = bisect_left(times_s, due_s + grid.period_s / 2)
        if points[held].at_s < due_s + _SETTLED * grid.period_s:
            found.append(Update(_held_to(grid, middles_s, due_s), points[held].value))
    return tuple(found)


def _held_to(grid: Grid, middles_s: Sequence[float], due_s: float) -> float:
    near = bisect_left(middles_s, due_s)
    for index in (near - 1, near):
        if 0 <= index < len(middles_s) and abs(middles_s[index] - due_s) < grid.period_s / 2:
            change = grid.changes[index]
            return min(max(due_s, change.early_s), change.late_s)
    return due_s


def _longest_divisor_s(gaps_s: Sequence[float], least_s: float) -> float | None:
    """The longest period of which the gaps are multiples, to within the search's step.

    Scored by the mean cosine of the gaps' phases (a Rayleigh statistic of the gaps rather than the times, so that
    a grid whose phase wanders slowly is found as well).
    """
    usable_s = sorted(gap_s for gap_s in gaps_s if gap_s <= _LONGEST_GAP_S)
    if len(usable_s) < LEAST_CHANGES - 1:
        return None
    # No period is longer than the time between two updates; one gap in twenty may be a glitch.
    most_s = _SLACK * usable_s[len(usable_s) // 20] + least_s / _LEAST_BRACKETS
    if most_s <= least_s:
        return None
    thinned_s = usable_s[:: max(1, len(usable_s) // _MOST_GAPS)]
    step_hz = 1 / (_STEPS_PER_TURN * thinned_s[-1])
    count = int((1 / least_s - 1 / most_s) / step_hz) + 2
    rates_hz = [1 / most_s + number * step_hz for number in range(count)]
    scores = [fmean(math.cos(math.tau * gap_s * rate_hz) for gap_s in thinned_s) for rate_hz in rates_hz]
    enough = max(_FIT, _OF_BEST * max(scores))
    for number, score in enumerate(scores):
        neighbours = scores[max(0, number - 1) : number + 2]
        if score >= enough and score == max(neighbours):
            return 1 / rates_hz[number]
    return None


def _fitted(changes: Sequence[Change], gaps_s: Sequence[float], coarse_s: float) -> Grid:
    """The grid through all changes by least squares, the periods between them counted gap by gap."""
    period_s = coarse_s
    for reach_s in (_SHORT_GAP_S, _LONGEST_GAP_S):
        counted = [(gap_s, round(gap_s / period_s)) for gap_s in gaps_s if gap_s <= reach_s]
        squares = sum(count * count for _, count in counted)
        if squares:
            period_s = sum(gap_s * count for gap_s, count in counted) / squares
    middles_s = [change.middle_s for change in changes]
    numbers = _numbered(middles_s, period_s)
    middle_s, middle_number = fmean(middles_s), fmean(numbers)
    period_s = sum(
        (n - middle_number) * (t - middle_s) for n, t in zip(numbers, middles_s, strict=True)
    ) / sum((n - middle_number) ** 2 for n in numbers)
    offset_s = middle_s - middle_number * period_s
    off_s = [t - offset_s - n * period_s for n, t in zip(numbers, middles_s, strict=True)]
    return Grid(period_s, offset_s, math.sqrt(fmean(each * each for each in off_s)), tuple(changes))


def _numbered(middles_s: Sequence[float], period_s: float) -> list[int]:
    """The number of each change's update. One too soon after the last is no update of its own but a glitch."""
    numbers, latest_s = [0], middles_s[0]
    for middle_s in middles_s[1:]:
        passed = round((middle_s - latest_s) / period_s)
        numbers.append(numbers[-1] + passed)
        if passed:
            latest_s = middle_s
    return numbers
