"""From samples to energy: pure arithmetic.

A board's energy counter stands still between ticks (20 to 500 ms, by model), so the difference of two reads at the
ends of a window errs by up to a tick's energy at either end. Here the *ticks* are found in the samples: points
where the counter is known exactly, at times known to half a sampling period. Between the ticks around the window's
ends the counter is interpolated linearly. Where power steps just at an end, that leaves an error of at most a
quarter of a tick × the step.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from statistics import median
from typing import Literal, NamedTuple

from llem_sweep.sampling.recording import Recording, Sample

EnergyMethod = Literal["counter", "power"]

RUN_ON_LIMIT_S = 1.2
"""Longest time to go on sampling after a window: two of the slowest published ticks (500 ms) and a margin."""
_LONGEST_GAP_S = 0.5
"""Longest stretch bridged by interpolation, between ticks at the window's ends or between power samples."""
_LONGEST_GAP_TICKS = 2.5
_LONGEST_GAP_PERIODS = 10


class EnergyEstimate(NamedTuple):
    """Energy of one board over one window."""

    energy_j: float | None
    """None when it can't be told, never 0 for want of data."""
    method: EnergyMethod | None
    reason: str | None
    """Why ``energy_j`` is None."""
    resolvable: bool = True
    """False when the board offers neither energy nor power, so that no longer window would help."""


class _Point(NamedTuple):
    at_s: float
    value: float


def device_energy(samples: Sequence[Sample], start_s: float, end_s: float, period_s: float) -> EnergyEstimate:
    """Energy in joules of one board between two monotonic times, from samples around and between them.

    ``samples`` are one board's, in order of time, taken every ``period_s``. The energy counter is used where the
    board has one, else power.
    """
    if len({sample.device for sample in samples}) > 1:
        raise ValueError("samples of several boards; take them apart with Recording.of_device")
    if not end_s > start_s:
        return _unknown(None, f"the window lasts {end_s - start_s:g} s")
    counter = _points(samples, lambda sample: sample.reading.energy_mj)
    if counter:
        return _from_counter(counter, start_s, end_s)
    power = _points(samples, lambda sample: sample.reading.power_mw)
    if power:
        return _from_power(power, start_s, end_s, period_s)
    if samples:
        return EnergyEstimate(
            None, None, "the board's driver reports neither energy nor power", resolvable=False
        )
    return _unknown(None, "no samples were taken")


def tick_period_s(samples: Sequence[Sample]) -> float | None:
    """Median time between ticks of one board's energy counter; None when fewer than three were seen."""
    return _tick_period_s(_changes(_points(samples, lambda sample: sample.reading.energy_mj)))


def needs_more(recording: Recording, end_s: float, now_s: float) -> bool:
    """Whether sampling must go on for the energy up to ``end_s`` to be resolved.

    It is once every board has ticked after the end or, without a counter, has been read there; at the latest after
    :data:`RUN_ON_LIMIT_S`.
    """
    if not recording.samples or now_s >= end_s + RUN_ON_LIMIT_S:
        return False
    first = bisect_left(recording.samples, end_s - RUN_ON_LIMIT_S, key=lambda sample: sample.at_s)
    by_device: dict[int, list[Sample]] = {}
    for sample in recording.samples[first:]:
        by_device.setdefault(sample.device, []).append(sample)
    return not by_device or not all(_resolves_end(samples, end_s) for samples in by_device.values())


def _resolves_end(samples: Sequence[Sample], end_s: float) -> bool:
    counter = _points(samples, lambda sample: sample.reading.energy_mj)
    if not counter:
        return samples[-1].at_s >= end_s
    knots = _knots(counter)
    return bool(knots) and knots[-1].at_s >= end_s


def _from_counter(counter: Sequence[_Point], start_s: float, end_s: float) -> EnergyEstimate:
    if any(later.value < earlier.value for earlier, later in pairwise(counter)):
        return _unknown("counter", "the energy counter went backwards: the driver was reloaded")
    knots = _knots(counter)
    inside = sum(start_s <= knot.at_s <= end_s for knot in knots)
    if inside < 2:
        return _unknown(
            "counter",
            f"the energy counter ticked {inside} times in the window of {end_s - start_s:.3f} s; two are needed",
        )
    tick_s = _tick_period_s(_changes(counter)) or (end_s - start_s)
    for edge_s, name in ((start_s, "start"), (end_s, "end")):
        if not _is_near_ticks(knots, edge_s, tick_s):
            return _unknown("counter", f"the sampler missed the ticks of the counter at the window's {name}")
    energy_mj = _interpolated(knots, end_s) - _interpolated(knots, start_s)
    return EnergyEstimate(energy_mj / 1000, "counter", None)


def _from_power(power: Sequence[_Point], start_s: float, end_s: float, period_s: float) -> EnergyEstimate:
    """Trapezoid rule, clipped to the window by interpolation; power is held beyond the outermost samples."""
    inside = [point for point in power if start_s <= point.at_s <= end_s]
    if len(inside) < 2:
        return _unknown(
            "power", f"{len(inside)} power samples in the window of {end_s - start_s:.3f} s; two are needed"
        )
    gap_s = max(
        later.at_s - earlier.at_s
        for earlier, later in pairwise([_Point(start_s, 0), *inside, _Point(end_s, 0)])
    )
    if gap_s > max(_LONGEST_GAP_S, _LONGEST_GAP_PERIODS * period_s):
        return _unknown("power", f"{gap_s:.3f} s of the window without a power sample")
    path = [
        _Point(start_s, _held(power, start_s)),
        *(point for point in inside if start_s < point.at_s < end_s),
        _Point(end_s, _held(power, end_s)),
    ]
    energy_mj = sum(
        (earlier.value + later.value) / 2 * (later.at_s - earlier.at_s) for earlier, later in pairwise(path)
    )
    return EnergyEstimate(energy_mj / 1000, "power", None)


def _points(samples: Iterable[Sample], value: Callable[[Sample], int | None]) -> list[_Point]:
    known = ((sample.at_s, value(sample)) for sample in samples)
    return [_Point(at_s, number) for at_s, number in known if number is not None]


def _changes(counter: Sequence[_Point]) -> list[tuple[_Point, _Point]]:
    """Neighbouring readings between which the counter ticked."""
    return [(earlier, later) for earlier, later in pairwise(counter) if later.value != earlier.value]


def _tick_period_s(changes: Sequence[tuple[_Point, _Point]]) -> float | None:
    times = [(earlier.at_s + later.at_s) / 2 for earlier, later in changes]
    return median(after - before for before, after in pairwise(times)) if len(times) > 2 else None


def _knots(counter: Sequence[_Point]) -> list[_Point]:
    """When the counter took each new value: midway between the last old and the first new reading.

    Where the sampler stalled over several ticks, the newest of them came at most a tick before the new reading.
    """
    changes = _changes(counter)
    tick_s = _tick_period_s(changes)
    knots = []
    for earlier, later in changes:
        earliest_s = earlier.at_s if tick_s is None else max(earlier.at_s, later.at_s - tick_s)
        knots.append(_Point((earliest_s + later.at_s) / 2, later.value))
    return knots


def _is_near_ticks(knots: Sequence[_Point], at_s: float, tick_s: float) -> bool:
    """Whether ``at_s`` lies in a short interval between knots, or a tick or two beyond the outermost."""
    after = bisect_right(knots, at_s, key=lambda knot: knot.at_s)
    if after == 0:
        return knots[0].at_s - at_s <= _LONGEST_GAP_TICKS * tick_s
    if after == len(knots):
        return at_s - knots[-1].at_s <= _LONGEST_GAP_TICKS * tick_s
    return knots[after].at_s - knots[after - 1].at_s <= max(_LONGEST_GAP_TICKS * tick_s, _LONGEST_GAP_S)


def _interpolated(knots: Sequence[_Point], at_s: float) -> float:
    """Counter at ``at_s``; beyond the outermost knots by the slope of the last interval there."""
    after = bisect_right(knots, at_s, key=lambda knot: knot.at_s)
    after = min(max(after, 1), len(knots) - 1)
    before, behind = knots[after - 1], knots[after]
    slope = (behind.value - before.value) / (behind.at_s - before.at_s)
    return before.value + slope * (at_s - before.at_s)


def _held(points: Sequence[_Point], at_s: float) -> float:
    """Value at ``at_s``, interpolated; beyond the outermost points held."""
    after = bisect_right(points, at_s, key=lambda point: point.at_s)
    if after == 0:
        return points[0].value
    if after == len(points):
        return points[-1].value
    return _interpolated(points, at_s)


def _unknown(method: EnergyMethod | None, reason: str) -> EnergyEstimate:
    return EnergyEstimate(None, method, reason)
