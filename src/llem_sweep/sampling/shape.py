"""Power as steps in time, from readings that are means over a window; and the counter between slow ticks by it.

A reading is the mean of its window, taken once an update: between two readings power may have stepped at any time
that neither window saw. Each step therefore comes with the room that it may move in, and where a counter's ticks
enclose it, their difference says where it was.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise, takewhile
from statistics import median
from typing import NamedTuple

from llem_sweep.results.sensors import SensorTiming
from llem_sweep.sampling.ticks import Edge, Side, counter_at
from llem_sweep.sampling.updates import Point, Updates, find_updates

_STEADY = 0.05
"""Readings count as equal when they differ by less of the step between them than this."""
_TOO_FAST = 2.0
"""Updates of less than this many sampling periods can't be told apart in the samples."""
_BEFORE_ALL_S = 1000.0
_UNSEEN, _SHARED, _RESIDUAL = 0.006, 1.9, 9.0
"""How uncertain an edge is for what could not be seen within its tick, for the steps that share the tick's energy,
and for energy that no step explains; fitted on simulated boards."""
_OFFSETS = 0.5
_ENOUGH = 8
_SLOP_S = 0.003
"""Timing error allowed when a step is taken to be at an edge."""


class Step(NamedTuple):
    """Power from one moment on."""

    at_s: float
    power_mw: float
    room_s: float
    """How far the moment may really lie to either side."""


def has_no_gaps(timing: SensorTiming) -> bool:
    """Whether the windows of a reading follow each other without a gap."""
    return timing.window_s is not None and 0.9 <= timing.window_s / timing.update_period_s <= 1.1


def power_steps(points: Sequence[Point], sampling_s: float, timing: SensorTiming) -> list[Step]:
    """The steps that ``points`` tell of, the first of them holding ever since; empty without readings."""
    readings, spacing_s = window_means(points, sampling_s, timing)
    stale_s = timing.update_period_s / 2 if timing.update_period_s <= _TOO_FAST * sampling_s else 0.0
    if not readings:
        return []
    window_s = timing.window_s or spacing_s
    steps = [Step(readings[0].at_s - _BEFORE_ALL_S, readings[0].value, 0.0)]
    index = 1
    while index < len(readings):
        end_s, power_mw = readings[index]
        if _saw_one_step(readings, index):
            before, after = readings[index - 1].value, readings[index + 1].value
            at_s = end_s - window_s * (power_mw - before) / (after - before)
            steps.append(Step(at_s, after, 0.05 * window_s + stale_s))
            index += 2
            continue
        if power_mw != readings[index - 1].value:
            step = _between(end_s, power_mw, window_s, spacing_s)
            steps.append(step._replace(room_s=step.room_s + stale_s))
        index += 1
    return steps


def window_means(
    points: Sequence[Point], sampling_s: float, timing: SensorTiming
) -> tuple[list[Point], float]:
    """Every update of a power reading, as the end of the window that it is the mean of; and the time between them.

    Updates that changed nothing are filled in, and some before and after.
    """
    if not points:
        return [], sampling_s
    period_s, lag_s = timing.update_period_s, timing.lag_s
    updates = find_updates(points, sampling_s, period_s) if period_s > _TOO_FAST * sampling_s else None
    if updates is None:
        # Updates faster than samples: what a sample shows is half a period old on average.
        return [Point(point.at_s - period_s / 2 - lag_s, point.value) for point in points], sampling_s
    period_s = updates.period_s
    first_s = updates.times_s[0] - lag_s
    earlier = max(1, math.floor((first_s - points[0].at_s) / period_s) + 1)
    means = [Point(first_s - number * period_s, updates.before) for number in range(earlier, 0, -1)]
    for at_s, value in zip(updates.times_s, updates.values, strict=True):
        while at_s - lag_s - means[-1].at_s > 1.5 * period_s:
            means.append(Point(means[-1].at_s + period_s, means[-1].value))
        means.append(Point(at_s - lag_s, value))
    while means[-1].at_s + period_s < points[-1].at_s - lag_s:
        means.append(Point(means[-1].at_s + period_s, means[-1].value))
    return means, period_s


def counter_by_cells(
    ticks: Updates,
    edge_s: float,
    side: Side,
    points: Sequence[Point],
    sampling_s: float,
    timing: SensorTiming,
) -> Edge | None:
    """The counter at ``edge_s``, from readings whose windows follow each other without a gap: their sums are a
    counter of their own, with quicker ticks, brought to the board's at its ticks; None where either lacks."""
    means, period_s = window_means(points, sampling_s, timing)
    if len(means) < _ENOUGH:
        return None
    energies = [0.0]
    for before, mean in pairwise(means):
        energies.append(energies[-1] + mean.value * (mean.at_s - before.at_s))
    at = bisect_right(ticks.times_s, edge_s)
    cells = Updates(tuple(mean.at_s for mean in means), tuple(energies), 0.0, period_s, ticks.timing)
    own = counter_at(cells, edge_s, side)
    if own is None or not 0 < at < len(ticks.times_s):
        return None
    sides = []
    for near in (range(max(0, at - 3), at), range(at, min(at + 3, len(ticks.times_s)))):
        offsets = [
            (ticks.times_s[index], ticks.values[index] - there.value_mj)
            for index in near
            if (there := counter_at(cells, ticks.times_s[index], side)) is not None
        ]
        if not offsets:
            return None
        sides.append((median(at_s for at_s, _ in offsets), median(offset for _, offset in offsets)))
    (before_s, before_mj), (after_s, after_mj) = sides
    share = (edge_s - before_s) / (after_s - before_s)
    offset_mj = before_mj + (after_mj - before_mj) * share
    return Edge(
        own.value_mj + offset_mj, math.hypot(own.sd_mj, _OFFSETS * abs(after_mj - before_mj)), own.slope_mw
    )


def shaped_counter_at(
    ticks: Updates, edge_s: float, side: Side, steps: Sequence[Step], near_s: float
) -> Edge | None:
    """The counter at ``edge_s``, shared within its tick as ``steps`` say; None where it lies beyond the ticks.

    A step within ``near_s`` of the edge may be the edge's own.
    """
    at = bisect_right(ticks.times_s, edge_s) - 1
    if at < 0 or at >= len(ticks.times_s) - 1:
        return None
    begin_s, end_s = ticks.times_s[at], ticks.times_s[at + 1]
    if not steps or steps[0].at_s > begin_s:
        return counter_at(ticks, edge_s, side)
    energy_mj = ticks.values[at + 1] - ticks.values[at]
    own = _stepping_at(edge_s, side, steps, begin_s, end_s, energy_mj, near_s)
    moved, variances = _fitted(own, begin_s, end_s, energy_mj)
    residual_mj = energy_mj - energy_between(moved, begin_s, end_s)
    length_s = end_s - begin_s
    before, behind = _variances_around(own, variances, edge_s)
    several = sum(variance > 0 for variance in variances) > 1
    # A tick that is later takes power before it, and its energy, from the steps or from the residual.
    share = before / (before + behind) if before + behind else (edge_s - begin_s) / length_s
    left_mj = energy_between(moved, begin_s, edge_s) + residual_mj * (edge_s - begin_s) / length_s
    unseen = (edge_s - begin_s) * (end_s - edge_s) / length_s**2
    sd_mj = math.hypot(
        ticks.timing.own_s * max(step.power_mw for step in own),
        _UNSEEN * unseen * energy_mj,
        _SHARED * math.sqrt(before * behind / (before + behind)) if several else 0.0,
        _RESIDUAL * unseen * residual_mj,
    )
    slope_mw = moved[0].power_mw * (1 - share) + moved[-1].power_mw * share
    shaped = Edge(ticks.values[at] + left_mj, sd_mj, slope_mw)
    by_ticks = counter_at(ticks, edge_s, side) if _stepped_once(ticks, at, steps) else None
    return by_ticks if by_ticks is not None and by_ticks.sd_mj < sd_mj else shaped


def _stepped_once(ticks: Updates, at: int, steps: Sequence[Step]) -> bool:
    """Whether the readings over a tick and its neighbours know two powers alone, those of the neighbours: then the
    tick's energy tells the time of the step better than readings that saw a part of the time."""
    if not 0 < at < len(ticks.times_s) - 2:
        return False
    before_mw, _, after_mw = (
        (ticks.values[index + 1] - ticks.values[index]) / (ticks.times_s[index + 1] - ticks.times_s[index])
        for index in (at - 1, at, at + 1)
    )
    near_mw = _STEADY * abs(after_mw - before_mw)
    powers_mw = [step.power_mw for step in _within(steps, ticks.times_s[at - 1], ticks.times_s[at + 2])]
    early = list(takewhile(lambda power_mw: abs(power_mw - before_mw) <= near_mw, powers_mw))
    late = list(takewhile(lambda power_mw: abs(power_mw - after_mw) <= near_mw, reversed(powers_mw)))
    return bool(early and late) and len(early) + len(late) >= len(powers_mw) - 1


def energy_between(steps: Sequence[Step], begin_s: float, end_s: float) -> float:
    """Integral of the steps, in mJ."""
    ends_s = [step.at_s for step in steps[1:]] + [max(end_s, steps[-1].at_s)]
    return math.fsum(
        step.power_mw * max(0.0, min(until_s, end_s) - max(step.at_s, begin_s))
        for step, until_s in zip(steps, ends_s, strict=True)
    )


def _saw_one_step(readings: Sequence[Point], index: int) -> bool:
    """Whether a reading lies between two steady powers, so that power stepped once, inside its window."""
    if not 2 <= index < len(readings) - 2:
        return False
    earliest, before, own, after, latest = (reading.value for reading in readings[index - 2 : index + 3])
    jump = abs(after - before)
    between = min(before, after) < own < max(before, after)
    return between and abs(earliest - before) <= _STEADY * jump and abs(latest - after) <= _STEADY * jump


def _between(end_s: float, power_mw: float, window_s: float, spacing_s: float) -> Step:
    """The step to a reading from the one before it: somewhere in the time that neither window saw."""
    if window_s >= 0.9 * spacing_s:
        return Step(end_s - window_s, power_mw, 0.3 * window_s)
    return Step(end_s - window_s / 2 - spacing_s / 2, power_mw, max(spacing_s - window_s, 0.3 * window_s) / 2)


def _within(steps: Sequence[Step], begin_s: float, end_s: float) -> list[Step]:
    """The steps from ``begin_s`` to ``end_s``, the first of them at or before the beginning."""
    first = bisect_right(steps, begin_s, key=lambda step: step.at_s) - 1
    return list(steps[first : bisect_right(steps, end_s, key=lambda step: step.at_s)])


def _stepping_at(
    edge_s: float,
    side: Side,
    steps: Sequence[Step],
    begin_s: float,
    end_s: float,
    energy_mj: float,
    near_s: float,
) -> list[Step]:
    """The tick's steps, those near the edge made one step at the edge, where power outside the window was steady
    and the tick's energy doesn't speak against it: work begins and ends at the window's edges."""
    own = _within(steps, begin_s, end_s)
    near = [step for step in steps if abs(step.at_s - edge_s) <= near_s]
    if not near or near[0] is steps[0] or len(own) < 2:
        return own
    before = steps[steps.index(near[0]) - 1].power_mw
    after = near[-1].power_mw
    jump = abs(after - before)
    outer = before if side < 0 else after
    around = [
        step.power_mw
        for step in steps
        if (0 < (edge_s - step.at_s) * -side <= 3 * near_s and step not in near)
    ]
    if side < 0 and around:
        around = [*around[:-1], steps[max(0, steps.index(near[0]) - 1 - len(around))].power_mw]
    if not jump or any(abs(power_mw - outer) > _STEADY * jump for power_mw in around):
        return own
    rest = [step for step in steps if step not in near]
    at_edge = _within(sorted([*rest, Step(edge_s, after, 0.0)]), begin_s, end_s)
    missing_mj = abs(energy_mj - energy_between(at_edge, begin_s, end_s))
    return at_edge if missing_mj <= 0.05 * jump * near_s + 2 * math.hypot(*_sds_mj(at_edge)) else own


def _sds_mj(own: Sequence[Step]) -> list[float]:
    """Standard uncertainty of the energy at each step but the first, which may lie anywhere in its room."""
    return [
        abs(after.power_mw - before.power_mw) * after.room_s / math.sqrt(3) for before, after in pairwise(own)
    ]


def _fitted(
    own: list[Step], begin_s: float, end_s: float, energy_mj: float
) -> tuple[list[Step], list[float]]:
    """The steps moved within their room until they make the tick's energy, the most uncertain the most."""
    variances = [sd_mj**2 for sd_mj in _sds_mj(own)]
    missing_mj = energy_mj - energy_between(own, begin_s, end_s)
    whole = math.fsum(variances)
    if not whole:
        return own, variances
    moved = [own[0]]
    for before, step, variance in zip(own, own[1:], variances, strict=False):
        jump = step.power_mw - before.power_mw
        shift_s = missing_mj * variance / whole / jump if jump and variance else 0.0
        shift_s = min(max(shift_s, -step.room_s), step.room_s)
        moved.append(step._replace(at_s=min(max(step.at_s - shift_s, begin_s), end_s)))
    return moved, variances


def _variances_around(own: Sequence[Step], variances: Sequence[float], edge_s: float) -> tuple[float, float]:
    """Variances of the energy before the edge and behind it. When that of the whole tick is known, what remains
    uncertain of independent parts with variances a and b is ``√(a·b / (a + b))``."""
    before = behind = 0.0
    for step, variance in zip(own[1:], variances, strict=True):
        room_s = step.room_s or _SLOP_S
        part = min(max((edge_s - step.at_s + room_s) / (2 * room_s), 0.0), 1.0)
        before += variance * part
        behind += variance * (1 - part)
    return before, behind
