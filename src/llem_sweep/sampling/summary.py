"""What the samples of a window say besides energy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import fmean
from typing import NamedTuple

from llem_sweep.sampling.recording import Recording, Sample

SW_POWER_CAP = 0x04
HW_SLOWDOWN = 0x08
SW_THERMAL = 0x20
HW_THERMAL = 0x40
HW_POWER_BRAKE = 0x80
"""NVML's clock-event reasons that hold the clocks down (``nvmlClocksEventReason…``)."""
_THERMAL = SW_THERMAL | HW_THERMAL
_POWER = SW_POWER_CAP | HW_POWER_BRAKE


class WindowSummary(NamedTuple):
    """The samples inside one window, over all boards. Unknown is None."""

    samples_per_device: int
    """Of the board that has the fewest."""
    longest_gap_s: float | None
    """Longest time without a sample of some board, the window's ends counted; None when nothing was sampled."""
    throttle_reasons: int | None
    """All reasons seen, or-ed."""
    thermal_throttle: bool
    power_throttle: bool
    throttled_fraction: float
    """Share of the samples whose reasons are known that have a thermal or power one, 0 to 1."""
    sm_utilisation_mean_pct: float | None
    memory_used_max_mb: float | None
    """Largest sum over the boards."""
    temperature_start_c: float | None
    """Of the hottest board at its first sample."""
    temperature_max_c: float | None


def summarise_window(recording: Recording, start_s: float, end_s: float) -> WindowSummary:
    """What ``recording`` saw from ``start_s`` to ``end_s`` (monotonic)."""
    devices = sorted({sample.device for sample in recording.samples})
    samples = [sample for sample in recording.samples if start_s <= sample.at_s <= end_s]
    per_device = [[sample for sample in samples if sample.device == device] for device in devices]
    reasons = _known(sample.reading.throttle_reasons for sample in samples)
    all_reasons = 0
    for mask in reasons:
        all_reasons |= mask
    utilisation = _known(sample.reading.sm_utilisation_pct for sample in samples)
    return WindowSummary(
        samples_per_device=min((len(own) for own in per_device), default=0),
        longest_gap_s=max((_longest_gap_s(own, start_s, end_s) for own in per_device), default=None),
        throttle_reasons=all_reasons if reasons else None,
        thermal_throttle=any(map(is_thermal, reasons)),
        power_throttle=any(map(is_power, reasons)),
        throttled_fraction=fmean(is_thermal(mask) or is_power(mask) for mask in reasons) if reasons else 0.0,
        sm_utilisation_mean_pct=fmean(utilisation) if utilisation else None,
        memory_used_max_mb=_largest_total_mb(samples, len(devices)),
        temperature_start_c=max(
            (known[0] for own in per_device if (known := _known(s.reading.temperature_c for s in own))),
            default=None,
        ),
        temperature_max_c=max(_known(sample.reading.temperature_c for sample in samples), default=None),
    )


def is_thermal(mask: int) -> bool:
    """Whether NVML's reasons ``mask`` say that heat holds the clocks down."""
    return bool(mask & _THERMAL) or _is_unexplained(mask)


def is_power(mask: int) -> bool:
    """Whether NVML's reasons ``mask`` say that power holds the clocks down."""
    return bool(mask & _POWER) or _is_unexplained(mask)


def _is_unexplained(mask: int) -> bool:
    # A hardware slowdown comes of heat or of power; older drivers don't say of which, so both are suspected.
    return bool(mask & HW_SLOWDOWN) and not mask & (HW_THERMAL | HW_POWER_BRAKE)


def _longest_gap_s(samples: Sequence[Sample], start_s: float, end_s: float) -> float:
    times = [start_s, *(sample.at_s for sample in samples), end_s]
    return max(later - earlier for earlier, later in pairwise(times))


def _largest_total_mb(samples: Iterable[Sample], devices: int) -> float | None:
    latest: dict[int, float] = {}
    largest: float | None = None
    for sample in samples:
        if sample.reading.memory_used_mb is None:
            continue
        latest[sample.device] = sample.reading.memory_used_mb
        if len(latest) == devices:
            largest = max(largest or 0.0, sum(latest.values()))
    return largest


def _known(values: Iterable[int | None]) -> list[int]:
    return [value for value in values if value is not None]
