"""Over which window a power reading averages, and how late it is, found from its response to known power.

A reading taken at ``t`` is modelled as ``low + span · (Φ(t - lag) - Φ(t - lag - window)) / window``, where Φ is
the integral of something that power follows: the time loaded, or the energy counter. Window and lag are those that
leave the least squares; ``low`` and ``span`` follow from them in closed form, so neither the board's power nor its
gain need be known.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from statistics import fmean
from typing import NamedTuple

from llem_sweep.sampling.periods import Update

SHORTEST_WINDOW_S = 0.003
LONGEST_WINDOW_S = 2.0
_LAGS_S = (-0.01, 0.3)
"""Lags looked at. Below 0 only so that one of 0 isn't pressed upwards by what the fit is uncertain of."""
_WINDOW_RATIO = 1.5
_LAG_STEP_S = 0.01
_COARSE_UPDATES = 150
_FINE_UPDATES = 600
_STARTS = 2
_ROUNDS = 20


class Cumulative:
    """A function of time given at knots: straight between them, level outside."""

    def __init__(self, times_s: Sequence[float], values: Sequence[float]) -> None:
        """``times_s`` ascend; two knots or more."""
        self.times_s = tuple(times_s)
        self._values = tuple(values)

    def at(self, at_s: float) -> float:
        """Value at a moment."""
        right = bisect_right(self.times_s, at_s)
        if right == 0:
            return self._values[0]
        if right == len(self.times_s):
            return self._values[-1]
        begin_s, end_s = self.times_s[right - 1], self.times_s[right]
        share = (at_s - begin_s) / (end_s - begin_s)
        return self._values[right - 1] + share * (self._values[right] - self._values[right - 1])


class Edge(NamedTuple):
    """Load that was switched at a known moment."""

    at_s: float
    on: bool


class Averaging(NamedTuple):
    """What the response says of a reading."""

    window_s: float
    lag_s: float
    """From the load's switching, so a load's own delay is in it."""
    span: float
    """Reading under load less reading without it, or the slope against the reference."""
    explained: float
    """Share of the reading's variance that the model accounts for."""
    residual: float
    """Rms of what it doesn't account for, as a share of ``span``."""


def time_loaded(edges: Sequence[Edge], until_s: float) -> Cumulative:
    """Seconds under load since the first edge, which switches the load on."""
    times_s = [*(edge.at_s for edge in edges), until_s]
    loaded_s = [
        after_s - edge.at_s if edge.on else 0.0 for edge, after_s in zip(edges, times_s[1:], strict=True)
    ]
    return Cumulative(times_s, [0.0, *accumulate(loaded_s)])


def find_averaging(updates: Sequence[Update], reference: Cumulative) -> Averaging | None:
    """The window and lag that fit best; None where the reading never follows the reference."""
    begin_s, end_s = reference.times_s[0], reference.times_s[-1]
    inside = [each for each in updates if begin_s - 1.0 <= each.at_s <= end_s]
    if len({each.value for each in inside}) < 3:
        return None
    chosen = _telling(inside, reference, _COARSE_UPDATES)
    steps = int(math.log(LONGEST_WINDOW_S / SHORTEST_WINDOW_S) / math.log(_WINDOW_RATIO)) + 1
    lags = int((_LAGS_S[1] - _LAGS_S[0]) / _LAG_STEP_S) + 1
    coarse = sorted(
        (_unexplained(chosen, reference, window_s, lag_s), window_s, lag_s)
        for window_s in (SHORTEST_WINDOW_S * _WINDOW_RATIO**step for step in range(steps))
        for lag_s in (_LAGS_S[0] + _LAG_STEP_S * step for step in range(lags))
    )
    chosen = _telling(inside, reference, _FINE_UPDATES)
    _, window_s, lag_s = min(_refined(chosen, reference, *start[1:]) for start in coarse[:_STARTS])
    return _averaging(inside, reference, window_s, lag_s)


def _telling(updates: Sequence[Update], reference: Cumulative, most: int) -> list[Update]:
    """At most ``most`` updates: half soonest after a knot, which tell short windows, and half spread evenly."""
    if len(updates) <= most:
        return list(updates)
    spread = updates[:: 2 * len(updates) // most + 1]

    def since_knot_s(update: Update) -> float:
        knot = bisect_right(reference.times_s, update.at_s)
        return update.at_s - reference.times_s[knot - 1] if knot else math.inf

    soonest = sorted(updates, key=since_knot_s)[: most - len(spread)]
    return sorted({*spread, *soonest})


def _refined(
    updates: Sequence[Update], reference: Cumulative, window_s: float, lag_s: float
) -> tuple[float, float, float]:
    """The best place near a start, by a grid of nine that shrinks around its best point.

    The window grows about its middle: a wider window that begins earlier and ends later fits nearly as well, so
    that along window and lag the search would creep up a narrow valley.
    """
    ratio, reach_s = math.sqrt(_WINDOW_RATIO), _LAG_STEP_S
    best = (_unexplained(updates, reference, window_s, lag_s), window_s, lag_s)
    for _ in range(_ROUNDS):
        _, window_s, lag_s = best
        around = [
            (wider_s, lag_s + (window_s - wider_s) / 2 + reach_s * later)
            for wider_s in (window_s / ratio, window_s, window_s * ratio)
            for later in (-1, 0, 1)
        ]
        found = min((_unexplained(updates, reference, *each), *each) for each in around)
        if found < best:
            best = found
        else:
            ratio, reach_s = math.sqrt(ratio), reach_s / 2
    return best


def _regressors(
    updates: Sequence[Update], reference: Cumulative, window_s: float, lag_s: float
) -> list[float]:
    return [
        (reference.at(each.at_s - lag_s) - reference.at(each.at_s - lag_s - window_s)) / window_s
        for each in updates
    ]


class _Line(NamedTuple):
    slope: float
    unexplained: float
    """Share of the variance."""
    rms: float


def _line(xs: Sequence[float], ys: Sequence[float]) -> _Line:
    mean_x, mean_y = fmean(xs), fmean(ys)
    xx = math.fsum((x - mean_x) ** 2 for x in xs)
    yy = math.fsum((y - mean_y) ** 2 for y in ys)
    xy = math.fsum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    if not xx or not yy or xy <= 0:
        return _Line(0.0, 1.0, math.sqrt(yy / len(ys)))
    left = max(0.0, yy - xy * xy / xx)
    return _Line(xy / xx, left / yy, math.sqrt(left / len(ys)))


def _unexplained(updates: Sequence[Update], reference: Cumulative, window_s: float, lag_s: float) -> float:
    xs = _regressors(updates, reference, window_s, lag_s)
    return _line(xs, [each.value for each in updates]).unexplained


def _averaging(
    updates: Sequence[Update], reference: Cumulative, window_s: float, lag_s: float
) -> Averaging | None:
    line = _line(_regressors(updates, reference, window_s, lag_s), [each.value for each in updates])
    if not line.slope:
        return None
    return Averaging(window_s, lag_s, line.slope, 1 - line.unexplained, line.rms / line.slope)
