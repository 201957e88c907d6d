"""From readings of the host's counters to its energy over a window: pure arithmetic."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple

from llem_sweep.device.host_energy import COUNTER_TICK_S, HostMeter, HostReading
from llem_sweep.results.parts import HostEnergy


class HostRecording(NamedTuple):
    """What a host's meter showed, in order of time."""

    readings: tuple[HostReading, ...]
    domains: tuple[str, ...] = ()
    """Names of the domains that were read."""
    package_problem: str | None = None
    """Why there is no energy of the packages, as far as the meter knows."""
    dram_problem: str | None = None

    @classmethod
    def of(cls, meter: HostMeter, readings: Sequence[HostReading]) -> HostRecording:
        """What ``meter`` was read to, with what it knows now."""
        return cls(tuple(readings), meter.domains, meter.package_problem, meter.dram_problem)


def host_energy(recording: HostRecording, start_s: float, end_s: float) -> HostEnergy:
    """Energy of the host between two monotonic times.

    The counter at either end is interpolated linearly between the readings around it. As it never falls, it truly
    lay between those two, ``low`` and ``high``, however the power went:

        energy    = linear(end) - linear(start)
        least     = max(0, low(end) - high(start)),    most = high(end) - low(start)
        bound     = max(energy - least, most - energy) + most / (time between the outer readings) × age

    ``age`` is the counter's tick and the longest time that a reading took. ``bound`` is the half-width stated. An
    energy is None, with a reason, where readings don't enclose the window or the counter stood still.
    """
    readings = recording.readings
    package = _energy(_points(readings, lambda one: one.package_j), start_s, end_s)
    dram = _energy(_points(readings, lambda one: one.dram_j), start_s, end_s)
    reasons = []
    for part, energy, problem in (
        ("CPU", package, recording.package_problem),
        ("memory", dram, recording.dram_problem),
    ):
        if energy.missing:
            reasons.append(f"{part}: {energy.missing}" + (f" ({problem})" if problem else ""))
    return HostEnergy(
        package_j=package.energy_j,
        package_uncertainty_j=package.bound_j,
        dram_j=dram.energy_j,
        dram_uncertainty_j=dram.bound_j,
        domains=recording.domains,
        reason="; ".join(reasons) or None,
    )


class _Point(NamedTuple):
    at_s: float
    energy_j: float
    took_s: float


class _Energy(NamedTuple):
    energy_j: float | None
    bound_j: float | None
    missing: str | None = None
    """Why there is none."""


class _Bracket(NamedTuple):
    """The readings around a moment; both the same where one was taken at that very moment."""

    low: _Point
    high: _Point

    def at(self, moment_s: float) -> float:
        length_s = self.high.at_s - self.low.at_s
        share = (moment_s - self.low.at_s) / length_s if length_s else 0.0
        return self.low.energy_j + share * (self.high.energy_j - self.low.energy_j)


def _points(readings: Sequence[HostReading], energy_j: Callable[[HostReading], float | None]) -> list[_Point]:
    known = ((one.at_s, energy_j(one), one.took_s) for one in readings)
    return [_Point(at_s, value_j, took_s) for at_s, value_j, took_s in known if value_j is not None]


def _energy(points: Sequence[_Point], start_s: float, end_s: float) -> _Energy:
    if not end_s > start_s:
        return _Energy(None, None, f"the window lasts {end_s - start_s:g} s")
    if not points:
        return _Energy(None, None, "no counter was read")
    start, end = _bracket(points, start_s), _bracket(points, end_s)
    if start is None or end is None:
        side = "before the start" if start is None else "after the end"
        return _Energy(None, None, f"not read {side} of the window")
    most_j = end.high.energy_j - start.low.energy_j
    if most_j <= 0:
        return _Energy(None, None, "the counter stood still, as it may in a virtual machine")
    energy_j = end.at(end_s) - start.at(start_s)
    least_j = max(0.0, end.low.energy_j - start.high.energy_j)
    age_s = COUNTER_TICK_S + max(point.took_s for point in (*start, *end))
    age_j = most_j / (end.high.at_s - start.low.at_s) * age_s
    return _Energy(energy_j, max(energy_j - least_j, most_j - energy_j) + age_j)


def _bracket(points: Sequence[_Point], moment_s: float) -> _Bracket | None:
    after = bisect_left(points, moment_s, key=lambda point: point.at_s)
    before = bisect_right(points, moment_s, key=lambda point: point.at_s) - 1
    if before < 0 or after == len(points):
        return None
    return _Bracket(points[min(before, after)], points[max(before, after)])
