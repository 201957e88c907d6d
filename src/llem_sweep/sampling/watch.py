"""Whether the boards were ours alone and steady over a stretch of time."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean, median
from typing import NamedTuple

from llem_sweep.device.protocol import Health, Reading
from llem_sweep.sampling.recording import Recording, Sample

_NS_PER_S = 1e9


class Watch(NamedTuple):
    """What was seen of all boards over one stretch. What the driver doesn't tell is None."""

    foreign: frozenset[int]
    """Process ids of others, as far as the driver tells of them."""
    ecc_errors: int | None
    """Uncorrected memory errors that came up meanwhile."""
    mig: bool | None
    power_throttle_s: float | None
    """Longest time that power held the clocks of a board down, by its cumulative counter."""
    thermal_throttle_s: float | None
    """The same by heat."""
    utilisation_pct: float | None
    """Mean over time of the busiest board."""
    temperature_rise_c: float | None
    """Change of temperature that changed most: the slope of a straight line through its readings, times the
    length."""
    clock_change: float | None
    """Largest change of a board's SM clock from the first third to the last, relative, by medians."""


def watch(recording: Recording, start_s: float, end_s: float) -> Watch:
    """What ``recording`` saw from ``start_s`` to ``end_s`` (monotonic).

    Health is asked about once a second: the last answer before the stretch and the first one after it count too,
    and cumulative times are interpolated between the answers.
    """
    devices = [recording.of_device(device) for device in _devices(recording)]
    asked = [_around([s for s in own if s.health is not None], start_s, end_s) for own in devices]
    answers = [[sample.health for sample in own if sample.health is not None] for own in asked]
    inside = [[sample for sample in own if start_s <= sample.at_s <= end_s] for own in devices]
    flat = [health for own in answers for health in own]
    return Watch(
        foreign=frozenset(pid for health in flat for pid in health.foreign or ()),
        ecc_errors=_total(_grown([health.ecc_errors for health in own]) for own in answers),
        mig=_any(health.mig for health in flat),
        power_throttle_s=_longest(asked, lambda health: health.power_throttle_ns, start_s, end_s),
        thermal_throttle_s=_longest(asked, lambda health: health.thermal_throttle_ns, start_s, end_s),
        utilisation_pct=_largest(_mean(own, lambda read: read.sm_utilisation_pct) for own in inside),
        temperature_rise_c=_furthest(_rise_c(own, end_s - start_s) for own in inside),
        clock_change=_furthest(_clock_change(own) for own in inside),
    )


class Slope(NamedTuple):
    """A straight line through points, by least squares."""

    per_s: float
    """Change per second."""
    sd_per_s: float
    """Standard error of that, for scatter that is independent from point to point."""


def slope(times_s: Sequence[float], values: Sequence[float]) -> Slope | None:
    """The line through values over time; None for fewer than three points or no time between them."""
    if len(times_s) < 3:
        return None
    middle_s, middle = fmean(times_s), fmean(values)
    squares = math.fsum((at_s - middle_s) ** 2 for at_s in times_s)
    if not squares:
        return None
    per_s = math.fsum((t - middle_s) * (v - middle) for t, v in zip(times_s, values, strict=True)) / squares
    left = math.fsum((v - middle - per_s * (t - middle_s)) ** 2 for t, v in zip(times_s, values, strict=True))
    return Slope(per_s, math.sqrt(left / (len(times_s) - 2) / squares))


def _devices(recording: Recording) -> list[int]:
    return sorted({sample.device for sample in recording.samples})


def _around(asked: Sequence[Sample], start_s: float, end_s: float) -> Sequence[Sample]:
    first = bisect_right(asked, start_s, key=_time) - 1
    return asked[max(first, 0) : bisect_left(asked, end_s, key=_time) + 1]


def _time(sample: Sample) -> float:
    return sample.at_s


def _grown(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return known[-1] - known[0] if known else None


def _longest(
    devices: Sequence[Sequence[Sample]], value: Callable[[Health], int | None], start_s: float, end_s: float
) -> float | None:
    return _largest(_time_held_s(own, value, start_s, end_s) for own in devices)


def _time_held_s(
    asked: Sequence[Sample], value: Callable[[Health], int | None], start_s: float, end_s: float
) -> float | None:
    known = [
        (sample.at_s, held_ns / _NS_PER_S)
        for sample in asked
        if sample.health is not None and (held_ns := value(sample.health)) is not None
    ]
    if len(known) < 2:
        return None
    return max(0.0, _interpolated(known, end_s) - _interpolated(known, start_s))


def _interpolated(points: Sequence[tuple[float, float]], at_s: float) -> float:
    right = bisect_right(points, at_s, key=lambda point: point[0])
    if right == 0 or right == len(points):
        return points[min(right, len(points) - 1)][1]
    (begin_s, begin), (end_s, end) = points[right - 1], points[right]
    return begin + (end - begin) * (at_s - begin_s) / (end_s - begin_s)


def _mean(samples: Sequence[Sample], value: Callable[[Reading], int | None]) -> float | None:
    known = [number for sample in samples if (number := value(sample.reading)) is not None]
    return fmean(known) if known else None


def _rise_c(samples: Sequence[Sample], length_s: float) -> float | None:
    known = [(s.at_s, float(t)) for s in samples if (t := s.reading.temperature_c) is not None]
    line = slope([at_s for at_s, _ in known], [value for _, value in known])
    return line.per_s * length_s if line is not None else None


def _clock_change(samples: Sequence[Sample]) -> float | None:
    known = [mhz for sample in samples if (mhz := sample.reading.sm_clock_mhz) is not None]
    third = len(known) // 3
    if not third:
        return None
    begin = median(known[:third])
    return median(known[-third:]) / begin - 1 if begin else None


def _largest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _furthest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), key=abs, default=None)


def _total(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _any(values: Iterable[bool | None]) -> bool | None:
    known = [value for value in values if value is not None]
    return any(known) if known else None
