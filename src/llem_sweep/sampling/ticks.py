"""The energy counter at a window's edge, from its ticks alone.

At a tick the counter is exact; between two ticks only their difference is known. Where the edge lies within a
tick, the power before and after that tick says how its energy is shared: power that changed once within the tick
must have changed where the tick's energy demands it, power that moves steadily from tick to tick does so within
one, and power that was steady outside the window and changed by
the edge is taken to have changed at the edge, which is where work begins and ends.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from statistics import fmean
from typing import NamedTuple

from llem_sweep.sampling.updates import Updates

Side = int
"""-1 where the window begins at the edge, +1 where it ends there."""

_STEADY = 0.03
"""Power outside the window counts as steady when it moved by less of the change at the edge than this."""
_ONE_STEP = 0.05
_EVEN = 0.3
"""Power counts as moving steadily when its changes from tick to tick differ by less of their mean than this."""
_LEAST, _MOST = 0.5, 1.7
"""Power inside a tick that a steady outside leaves for the window, against the least and most around it."""
_AROUND = 4
_LONGEST_BEYOND = 2.5
_BEYOND = 0.05
"""How far power beyond the ticks may differ from that of the outermost tick."""
_AT_EDGE = 3.0
"""A step is the edge's own when it is found within so many standard uncertainties of the tick's time: it then
tells the edge's place in the tick better than the tick's time does."""
_A_STEP = 0.1
"""Less of a change than this share of power may be a drift as well."""
_ROUNDING_MJ = 0.3
"""Standard uncertainty of a counter in whole mJ."""
_SLOW_TICK_S = 0.1
"""Within less than this power has less time to change unseen."""


class _Weights(NamedTuple):
    """How uncertain an edge is for each mW of what it is uncertain about; fitted on simulated boards."""

    power: float
    first: float
    second: float


_BY_TREND = _Weights(0.01, 0.5, 0.0)
_BY_EDGE = _Weights(0.01, 0.8, 3.9)
_BY_STEP = _Weights(0.01, 0.04, 1.0)
_BY_CHORD = _Weights(0.01, 0.9, 0.35)


class Edge(NamedTuple):
    """The counter at a moment."""

    value_mj: float
    sd_mj: float
    """Standard uncertainty but for that of the grid of ticks."""
    slope_mw: float
    """How much less it is for each second that the grid is later."""


class _Tick(NamedTuple):
    """The tick that an edge lies in. Power is in mW and named by distance in ticks: 0 is the tick itself."""

    start_mj: float
    energy_mj: float
    length_s: float
    into_s: float
    """From the tick's beginning to the edge."""
    power: dict[int, float]
    timing_s: float
    """Standard uncertainty of the tick's time."""
    own_s: float
    """Of that, what neighbouring ticks don't share."""

    @property
    def share_s(self) -> float:
        """How far the edge lies from both ends of the tick: 0 at an end, a quarter of its length in the middle."""
        return self.into_s * (self.length_s - self.into_s) / self.length_s


def counter_at(ticks: Updates, edge_s: float, side: Side) -> Edge | None:
    """The counter at ``edge_s``; None where it lies beyond the ticks."""
    tick = _tick_at(ticks, edge_s)
    if tick is None:
        return _beyond(ticks, edge_s)
    before, after, power = tick.power[-1], tick.power[1], tick.power[0]
    outer, outermost = tick.power[side], tick.power[2 * side]
    inner, innermost = tick.power[-side], tick.power[-2 * side]
    unsteady = abs(outer - outermost)
    moving = unsteady + abs(inner - innermost)
    jump = abs(after - before)
    between = min(before, after) < power < max(before, after)
    # Work that speeds up or a board that warms: no step, but a slope.
    changes = [tick.power[at + 1] - tick.power[at] for at in range(-2, 2)]
    trend = fmean(changes)
    uneven = max(abs(change - trend) for change in changes)
    if uneven <= _EVEN * abs(trend):
        left_mj = power * tick.into_s - trend * tick.share_s / 2
        return _edge(tick, left_mj, power, _BY_TREND, (uneven, 0.0))
    once = (between or not jump) and moving <= _ONE_STEP * jump
    outside_s = tick.into_s if side < 0 else tick.length_s - tick.into_s
    if not once and unsteady <= _STEADY * max(abs(power - outer), abs(inner - outer)):
        inside_mj = tick.energy_mj - outer * outside_s
        if _is_plausible(tick, inside_mj, tick.length_s - outside_s):
            left_mj = outer * outside_s if side < 0 else inside_mj
            drift = unsteady * outside_s / tick.share_s if tick.share_s else 0.0
            return _edge(tick, left_mj, outer, _BY_EDGE, (abs(inner - outer), drift))
    if between:
        step_s = (after - power) * tick.length_s / (after - before)
        if once and jump > _A_STEP * power and abs(tick.into_s - step_s) <= _AT_EDGE * tick.timing_s:
            return _edge(tick, before * step_s, outer, _BY_STEP, (jump, moving))
        left_mj = before * min(tick.into_s, step_s) + after * max(0.0, tick.into_s - step_s)
        return _edge(tick, left_mj, before if tick.into_s < step_s else after, _BY_STEP, (jump, moving))
    beyond = max(0.0, min(before, after) - power, power - max(before, after))
    return _edge(tick, power * tick.into_s, power, _BY_CHORD, (beyond, moving + jump))


def _edge(
    tick: _Tick, left_mj: float, slope_mw: float, weights: _Weights, doubts: tuple[float, float]
) -> Edge:
    terms = (weights.power * tick.power[0], weights.first * doubts[0], weights.second * doubts[1])
    unseen_s = tick.share_s * min(1.0, tick.length_s / _SLOW_TICK_S)
    own_mj = tick.own_s * max(tick.power[at] for at in (-1, 0, 1))
    sd_mj = math.hypot(_ROUNDING_MJ, own_mj, *(unseen_s * term for term in terms))
    return Edge(tick.start_mj + left_mj, sd_mj, slope_mw)


def _tick_at(ticks: Updates, edge_s: float) -> _Tick | None:
    times_s, values = ticks.times_s, ticks.values
    at = bisect_right(times_s, edge_s) - 1
    if at < 0 or at >= len(times_s) - 1:
        return None

    def power(distance: int) -> float:
        first = min(max(at + distance, 0), len(times_s) - 2)
        return (values[first + 1] - values[first]) / (times_s[first + 1] - times_s[first])

    return _Tick(
        values[at],
        values[at + 1] - values[at],
        times_s[at + 1] - times_s[at],
        edge_s - times_s[at],
        {distance: power(distance) for distance in range(-_AROUND, _AROUND + 1)},
        ticks.timing.sd_s(edge_s),
        ticks.timing.own_s,
    )


def _beyond(ticks: Updates, edge_s: float) -> Edge | None:
    """The counter a little before the first or after the last tick, by the power of the tick next to it."""
    times_s, values = ticks.times_s, ticks.values
    nearest, step = (0, 1) if edge_s < times_s[0] else (len(times_s) - 1, -1)
    away_s = edge_s - times_s[nearest]
    if abs(away_s) > _LONGEST_BEYOND * ticks.period_s:
        return None
    slopes = [
        (values[at + step] - values[at]) / (times_s[at + step] - times_s[at])
        for at in (nearest, nearest + step)
    ]
    doubt = _BEYOND * abs(slopes[0]) + abs(slopes[0] - slopes[1])
    sd_mj = math.hypot(_ROUNDING_MJ, ticks.timing.own_s * slopes[0], away_s * doubt)
    return Edge(values[nearest] + slopes[0] * away_s, sd_mj, slopes[0])


def _is_plausible(tick: _Tick, inside_mj: float, inside_s: float) -> bool:
    slack_mj = 0.02 * tick.energy_mj
    least_mj = _LEAST * min(tick.power.values()) * inside_s - slack_mj
    return least_mj <= inside_mj <= _MOST * max(tick.power.values()) * inside_s + slack_mj
