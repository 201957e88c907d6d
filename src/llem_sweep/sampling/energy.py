"""From samples to energy: pure arithmetic, with an uncertainty for every number.

Three methods, each used where the board's readings allow it, the first of them being the result:

``counter``
    The energy counter, which is exact at its ticks. What lies between a tick and the window's edge comes from the
    ticks around it (``ticks``) or, where power is read several times a tick, from power (``shape``).
``mean_power``
    A power reading that is a running mean, taken apart (``mean_power.by_inversion``).
``power``
    A power reading over short windows, each held to halfway to the next (``mean_power.by_holding``).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from statistics import median
from typing import Literal, NamedTuple

from llem_sweep.results.sensors import BoardSensors, SensorTiming
from llem_sweep.sampling.mean_power import PowerEnergy, by_holding, by_inversion, is_running_mean
from llem_sweep.sampling.recording import Recording, Sample
from llem_sweep.sampling.shape import counter_by_cells, has_no_gaps, power_steps, shaped_counter_at
from llem_sweep.sampling.ticks import Edge, Side, counter_at
from llem_sweep.sampling.updates import REACH_S, Point, Updates, find_updates, points_near

EnergyMethod = Literal["counter", "mean_power", "power"]

ESTIMATOR_VERSION = "1"
"""Raised with every change that can alter a number computed from the same samples."""
COVERAGE = 0.95
"""Share of windows whose truth lies within the stated uncertainty."""
RUN_ON_LIMIT_S = 1.8
"""Longest time to go on sampling after a window: three of the slowest published ticks (500 ms) and a margin."""
_RUN_ON_WITHOUT_COUNTER_S = 1.2
"""The longest published averaging window, an update and a margin."""
_COVERAGE_FACTOR = 2.0
"""Standard uncertainties in half of an interval that holds 95 % of a normal distribution, rounded up."""
_READINGS_PER_TICK = 1.5
_LONGEST_GAP_S = 0.5
_LONGEST_GAP_TICKS = 2.5
_DISAGREEMENT = 1.5
_OWN_GAINS = 0.005
"""How far two readings of one board may differ for want of a common calibration."""


class MethodEnergy(NamedTuple):
    """Energy by one method, with its half-width at :data:`COVERAGE`."""

    method: EnergyMethod
    energy_j: float
    uncertainty_j: float


class EnergyEstimate(NamedTuple):
    """Energy of one board over one window."""

    energy_j: float | None
    """None when it can't be told, never 0 for want of data."""
    method: EnergyMethod | None
    reason: str | None
    """Why ``energy_j`` is None."""
    resolvable: bool = True
    """False when the board offers neither energy nor power, so that no longer window would help."""
    uncertainty_j: float | None = None
    """Half-width at :data:`COVERAGE`, widened where the methods disagree."""
    methods: tuple[MethodEnergy, ...] = ()
    """Every method that the readings allow, the one chosen first."""
    disagreement: str | None = None
    """What two methods say that differ by more than their bounds."""


class _Readings(NamedTuple):
    """One board's samples, taken apart by reading."""

    counter: list[Point]
    power: list[Point]
    instant: list[Point]


def device_energy(
    samples: Sequence[Sample],
    start_s: float,
    end_s: float,
    period_s: float,
    sensors: BoardSensors | None = None,
) -> EnergyEstimate:
    """Energy in joules of one board between two monotonic times, from samples around and between them.

    ``samples`` are one board's, in order of time, taken every ``period_s``. Raises ValueError for several boards'.
    """
    if len({sample.device for sample in samples}) > 1:
        raise ValueError("samples of several boards; take them apart with Recording.of_device")
    if not end_s > start_s:
        return _unknown(f"the window lasts {end_s - start_s:g} s")
    readings = _Readings(
        _points(samples, lambda sample: sample.reading.energy_mj),
        _points(samples, lambda sample: sample.reading.power_mw),
        _points(samples, lambda sample: sample.reading.instant_mw),
    )
    if not any(readings):
        if samples:
            return _unknown("the board's driver reports neither energy nor power", resolvable=False)
        return _unknown("no samples were taken")
    known = _with_unknown_timing(sensors or BoardSensors(), readings, period_s)
    found: list[MethodEnergy] = []
    reasons: list[str] = []
    if readings.counter:
        _add(found, reasons, "counter", _by_counter(readings, start_s, end_s, period_s, known))
    _add_power(found, reasons, readings, start_s, end_s, period_s, known)
    if not found or (readings.counter and found[0].method != "counter"):
        return _unknown(reasons[0])
    return _chosen(found)


def needs_more(recording: Recording, end_s: float, now_s: float) -> bool:
    """Whether sampling must go on for the energy up to ``end_s`` to be resolved.

    It is once every board's counter has ticked three times after the end or, without a counter, power has been
    read for the longest averaging window; at the latest after :data:`RUN_ON_LIMIT_S`.
    """
    if not recording.samples or now_s >= end_s + RUN_ON_LIMIT_S:
        return False
    first = bisect_left(recording.samples, end_s, key=lambda sample: sample.at_s)
    behind: dict[int, list[Sample]] = {sample.device: [] for sample in recording.samples[-64:]}
    for sample in recording.samples[max(0, first - len(behind)) :]:
        behind.setdefault(sample.device, []).append(sample)
    return not all(_resolves_end(samples, end_s) for samples in behind.values())


def _resolves_end(samples: Sequence[Sample], end_s: float) -> bool:
    counter = _points(samples, lambda sample: sample.reading.energy_mj)
    if not counter:
        return bool(samples) and samples[-1].at_s >= end_s + _RUN_ON_WITHOUT_COUNTER_S
    return sum(after.value != before.value for before, after in pairwise(counter) if after.at_s > end_s) >= 3


def _by_counter(
    readings: _Readings, start_s: float, end_s: float, period_s: float, sensors: BoardSensors
) -> PowerEnergy | str:
    counter = readings.counter
    if any(later.value < earlier.value for earlier, later in pairwise(counter)):
        return "the energy counter went backwards: the driver was reloaded"
    # Near each other the two edges share their ticks, and much of the error in those ticks' times cancels.
    together = end_s - start_s <= REACH_S
    edges: list[Edge] = []
    grids: list[Updates] = []
    for edge_s, side, name in ((start_s, -1, "start"), (end_s, 1, "end")):
        near = points_near(counter, start_s if together else edge_s, end_s if together else edge_s)
        ticks = find_updates(near, period_s)
        if ticks is None:
            return f"the energy counter hardly ticked around the window's {name}"
        if not any(start_s <= at_s <= end_s for at_s in ticks.times_s):
            return f"the energy counter didn't tick in the window of {end_s - start_s:.3f} s"
        edge = (
            None
            if _lacks_ticks(near, ticks, edge_s)
            else _edge(readings, edge_s, side, ticks, period_s, sensors)
        )
        if edge is None:
            return f"the sampler missed the ticks of the counter at the window's {name}"
        edges.append(edge)
        grids.append(ticks)
    begin, end = edges
    slopes_mw = -begin.slope_mw, end.slope_mw
    grid_mj2 = math.fsum(
        slope_mw**2 * ticks.timing.grid_s2(at_s, at_s)
        for slope_mw, ticks, at_s in zip(slopes_mw, grids, (start_s, end_s), strict=True)
    )
    if together:
        grid_mj2 += 2 * math.prod(slopes_mw) * grids[0].timing.grid_s2(start_s, end_s)
    sd_mj = math.sqrt(begin.sd_mj**2 + end.sd_mj**2 + max(0.0, grid_mj2))
    return PowerEnergy(end.value_mj - begin.value_mj, sd_mj)


def _lacks_ticks(near: Sequence[Point], ticks: Updates, edge_s: float) -> bool:
    """Whether the sampler paused for long within a tick of the edge."""
    longest_s = max(_LONGEST_GAP_TICKS * ticks.period_s, _LONGEST_GAP_S)
    return any(
        later.at_s - earlier.at_s > longest_s
        for earlier, later in pairwise(near)
        if earlier.at_s - ticks.period_s <= edge_s <= later.at_s + ticks.period_s
    )


def _edge(
    readings: _Readings,
    edge_s: float,
    side: Side,
    ticks: Updates,
    period_s: float,
    sensors: BoardSensors,
) -> Edge | None:
    """The counter at an edge: by power where that is read several times a tick, else by the ticks themselves."""
    for points, timing in ((readings.instant, sensors.instant), (readings.power, sensors.power)):
        if points and timing is not None and timing.window_s is not None and not is_running_mean(timing):
            if ticks.period_s > _READINGS_PER_TICK * max(timing.update_period_s, period_s):
                near = points_near(points, edge_s, edge_s)
                if has_no_gaps(timing):
                    return counter_by_cells(ticks, edge_s, side, near, period_s, timing)
                near_s = max(timing.update_period_s, period_s) / 2 + timing.window_s + period_s / 4
                steps = power_steps(near, period_s, timing)
                return shaped_counter_at(ticks, edge_s, side, steps, near_s)
            break
    return counter_at(ticks, edge_s, side)


def _add_power(
    found: list[MethodEnergy],
    reasons: list[str],
    readings: _Readings,
    start_s: float,
    end_s: float,
    period_s: float,
    sensors: BoardSensors,
) -> None:
    """The energies by power: one by a running mean and one by short windows at most."""
    for name, points, timing in (
        ("power", readings.power, sensors.power),
        ("instant", readings.instant, sensors.instant),
    ):
        if points and timing is not None:
            method: EnergyMethod = "mean_power" if is_running_mean(timing) else "power"
            if method not in {one.method for one in found}:
                calibrated = f"{name}.window_s" in sensors.measured
                energy = _by_power(points, start_s, end_s, period_s, timing, calibrated=calibrated)
                _add(found, reasons, method, energy)


def _by_power(
    points: list[Point],
    start_s: float,
    end_s: float,
    period_s: float,
    timing: SensorTiming,
    *,
    calibrated: bool,
) -> PowerEnergy | str:
    inside = sum(start_s <= point.at_s <= end_s for point in points)
    if inside < 2:
        return f"{inside} power samples in the window of {end_s - start_s:.3f} s; two are needed"
    edges = [Point(start_s, 0), *(point for point in points if start_s < point.at_s < end_s), Point(end_s, 0)]
    gap_s = max(later.at_s - earlier.at_s for earlier, later in pairwise(edges))
    if gap_s > _LONGEST_GAP_S:
        return f"{gap_s:.3f} s of the window without a power sample"
    if is_running_mean(timing):
        found = by_inversion(points, start_s, end_s, period_s, timing, calibrated=calibrated)
        return found or "power was not read for one averaging window after the end"
    return by_holding(points, start_s, end_s, period_s, timing)


def _add(
    found: list[MethodEnergy], reasons: list[str], method: EnergyMethod, energy: PowerEnergy | str
) -> None:
    if isinstance(energy, str):
        reasons.append(energy)
    else:
        found.append(MethodEnergy(method, energy.energy_mj / 1000, _COVERAGE_FACTOR * energy.sd_mj / 1000))


def _chosen(found: Sequence[MethodEnergy]) -> EnergyEstimate:
    """The first method's value; a method that contradicts it widens its uncertainty to reach the other's value."""
    chosen = found[0]
    uncertainty_j, disagreement = chosen.uncertainty_j, None
    for other in found[1:]:
        apart_j = abs(other.energy_j - chosen.energy_j)
        allowed_j = _DISAGREEMENT * math.hypot(chosen.uncertainty_j, other.uncertainty_j)
        if apart_j > allowed_j + _OWN_GAINS * abs(chosen.energy_j):
            uncertainty_j = max(uncertainty_j, apart_j)
            disagreement = (
                f"{chosen.method} gives {chosen.energy_j:.1f} ± {chosen.uncertainty_j:.1f} J,"
                f" {other.method} {other.energy_j:.1f} ± {other.uncertainty_j:.1f} J"
            )
    return EnergyEstimate(
        chosen.energy_j, chosen.method, None, True, uncertainty_j, tuple(found), disagreement
    )


def _with_unknown_timing(sensors: BoardSensors, readings: _Readings, period_s: float) -> BoardSensors:
    """``sensors``, and for a power reading of which nothing is known the updates that are seen and no window."""
    if readings.power and sensors.power is None and sensors.instant is None:
        changes = [after.at_s for before, after in pairwise(readings.power) if after.value != before.value]
        spacings = [later - earlier for earlier, later in pairwise(changes)]
        unknown = SensorTiming(update_period_s=max(median(spacings), period_s) if spacings else period_s)
        return sensors.model_copy(update={"power": unknown})
    return sensors


def _points(samples: Iterable[Sample], value: Callable[[Sample], int | None]) -> list[Point]:
    known = ((sample.at_s, value(sample)) for sample in samples)
    return [Point(at_s, number) for at_s, number in known if number is not None]


def _unknown(reason: str, *, resolvable: bool = True) -> EnergyEstimate:
    return EnergyEstimate(None, None, reason, resolvable)
