"""Every energy of a result, from recorded samples alone: stated by assembly, computed again by verification."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import stdev
from typing import Literal, NamedTuple

from llem_sweep.results.sensors import BoardSensors
from llem_sweep.results.student import student_t
from llem_sweep.results.sums import in_quadrature, mean_idle, total
from llem_sweep.sampling.energy import EnergyEstimate, device_energy
from llem_sweep.sampling.intervals import BatchMarks, Interval, phase_intervals
from llem_sweep.sampling.phase_energy import PhaseEnergy, phase_energy
from llem_sweep.sampling.recording import Recording
from llem_sweep.sampling.run import Run

SpanKind = Literal["window", "cold", "context", "prefill"]
IdleKind = Literal["cold", "context"]


PREFILL = "prefill"
"""Name of the recording of prefill by itself."""
_LEAST_PARTS = 3
_MOST_PARTS = 10
_LEAST_PART_S = 1.0


class Span(NamedTuple):
    """A stretch of time whose energy is wanted, and the recording that covers it."""

    kind: SpanKind
    """window: the measured work; cold and context: idle power without and with a context of ours; prefill: that of
    the work by itself."""
    when: Literal["before", "during", "after"]
    """Relative to the window."""
    recording: str
    """Name of the recording, as in :class:`Evidence`."""
    start_s: float
    """Monotonic time."""
    end_s: float

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


class PrefillRun(NamedTuple):
    """Prefill by itself: all batches up to their first token, again and again."""

    span: Span
    repetitions: int
    """How often all of them were run in it."""
    batches: tuple[BatchMarks, ...]
    """When each of them began and had its first token."""


class Evidence(NamedTuple):
    """The recordings of one experiment and the stretches of them that count; what the sidecar stores."""

    recordings: Mapping[str, Recording]
    """By name: ``cold``, ``context``, ``window`` and ``prefill``."""
    spans: tuple[Span, ...]
    """Exactly one of them is the window."""
    sensors: tuple[BoardSensors, ...]
    """In device order."""
    run: Run | None = None
    """The batches that the window was chosen from, where it is only a part of the run."""
    batches: tuple[BatchMarks, ...] = ()
    """When each batch of the window began and had its first token; empty where nothing was stamped."""
    prefill: PrefillRun | None = None
    """Prefill by itself, where it was asked for."""

    @property
    def window(self) -> Span:
        return next(span for span in self.spans if span.kind == "window")


class IdleEstimate(NamedTuple):
    """Idle power over one span."""

    span: Span
    power_per_device_w: tuple[float | None, ...]
    uncertainty_per_device_w: tuple[float | None, ...]
    method: str | None
    """Methods of the devices, joined by ``+`` where they differ."""

    @property
    def kind(self) -> IdleKind:
        """Whether a context of ours was on the boards."""
        return "context" if self.span.kind == "context" else "cold"

    @property
    def power_w(self) -> float | None:
        """Over all boards; None when any is unknown."""
        return total(self.power_per_device_w)

    @property
    def uncertainty_w(self) -> float | None:
        return in_quadrature(self.uncertainty_per_device_w)


class Account(NamedTuple):
    """Every energy of one experiment."""

    devices: tuple[EnergyEstimate, ...]
    total_j: float | None
    total_uncertainty_j: float | None
    idle: tuple[IdleEstimate, ...]
    subtracted: IdleKind | None
    """Which idle power was subtracted: the kind asked for, else the other one where only that is known."""
    baseline_w: float | None
    baseline_uncertainty_w: float | None
    adjusted_j: float | None
    """``total_j - baseline_w × duration``; never clamped."""
    adjusted_uncertainty_j: float | None
    intervals: tuple[Interval, ...]
    """The window by phase; empty where nothing was stamped."""
    phases: tuple[PhaseEnergy, ...]
    """Of each device; empty where nothing was stamped."""
    prefill: tuple[EnergyEstimate, ...]
    """Energy of each device over the window of prefill by itself; empty where there was none."""


def take_account(evidence: Evidence, subtract: IdleKind) -> Account:
    """Every energy of one experiment, from its samples alone; a pure function."""
    window = evidence.window
    devices = _energies(evidence, window)
    total_j = total([device.energy_j for device in devices])
    total_uncertainty_j = in_quadrature([device.uncertainty_j for device in devices])
    idle = tuple(idle_power(evidence, span) for span in evidence.spans if span.kind != "window")
    kind, baseline_w, baseline_uncertainty_w = _baseline(idle, subtract)
    intervals = phase_intervals(evidence.batches, window.start_s, window.end_s) if evidence.batches else ()
    adjusted_j = adjusted_uncertainty_j = None
    if total_j is not None and baseline_w is not None:
        adjusted_j = total_j - baseline_w * window.duration_s
        if total_uncertainty_j is not None and baseline_uncertainty_w is not None:
            adjusted_uncertainty_j = math.hypot(
                total_uncertainty_j, baseline_uncertainty_w * window.duration_s
            )
    return Account(
        devices,
        total_j,
        total_uncertainty_j,
        idle,
        kind,
        baseline_w,
        baseline_uncertainty_w,
        adjusted_j,
        adjusted_uncertainty_j,
        intervals,
        _phases(evidence, intervals),
        _energies(evidence, evidence.prefill.span) if evidence.prefill is not None else (),
    )


def _phases(evidence: Evidence, intervals: Sequence[Interval]) -> tuple[PhaseEnergy, ...]:
    recording = evidence.recordings[evidence.window.recording]
    if not intervals:
        return ()
    return tuple(
        phase_energy(recording.of_device(device), intervals, recording.period_s, sensors)
        for device, sensors in enumerate(evidence.sensors)
    )


def idle_power(evidence: Evidence, span: Span) -> IdleEstimate:
    """Mean power of each board over an idle span; the uncertainty is the sensors' and that of the spread."""
    energies = _energies(evidence, span)
    methods = {str(energy.method) for energy in energies if energy.energy_j is not None}
    spreads_w = _spreads_w(evidence, span)
    return IdleEstimate(
        span,
        tuple(_per(energy.energy_j, span.duration_s) for energy in energies),
        tuple(
            math.hypot(timing_w, spread_w) if timing_w is not None else None
            for timing_w, spread_w in zip(
                (_per(energy.uncertainty_j, span.duration_s) for energy in energies), spreads_w, strict=True
            )
        ),
        "+".join(sorted(methods)) or None,
    )


def _spreads_w(evidence: Evidence, span: Span) -> tuple[float, ...]:
    """Half-width of the mean's confidence interval for each board, from the means of up to ten parts of the span.

    ``t · s / √n`` with Student's t for n - 1 degrees of freedom; 0 for a span too short to be divided.
    """
    parts = min(_MOST_PARTS, int(span.duration_s / _LEAST_PART_S))
    if parts < _LEAST_PARTS:
        return (0.0,) * len(evidence.sensors)
    length_s = span.duration_s / parts
    begins_s = [span.start_s + part * length_s for part in range(parts)]
    powers_w = [
        [_per(energy.energy_j, length_s) for energy in _energies(evidence, _part(span, begin_s, length_s))]
        for begin_s in begins_s
    ]
    return tuple(_half_width(device) for device in zip(*powers_w, strict=True))


def _part(span: Span, begin_s: float, length_s: float) -> Span:
    return span._replace(start_s=begin_s, end_s=begin_s + length_s)


def _half_width(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    if len(known) < _LEAST_PARTS:
        return 0.0
    return student_t(len(known) - 1) * stdev(known) / math.sqrt(len(known))


def _energies(evidence: Evidence, span: Span) -> tuple[EnergyEstimate, ...]:
    recording = evidence.recordings[span.recording]
    return tuple(
        device_energy(recording.of_device(device), span.start_s, span.end_s, recording.period_s, sensors)
        for device, sensors in enumerate(evidence.sensors)
    )


def _per(quantity: float | None, duration_s: float) -> float | None:
    return quantity / duration_s if quantity is not None and duration_s > 0 else None


def _baseline(
    idle: Sequence[IdleEstimate], subtract: IdleKind
) -> tuple[IdleKind | None, float | None, float | None]:
    """Kind, power and uncertainty of what is subtracted."""
    other: IdleKind = "cold" if subtract == "context" else "context"
    for kind in (subtract, other):
        known = [one for one in idle if one.span.kind == kind and one.power_w is not None]
        powers_w = [one.power_w for one in known if one.power_w is not None]
        if not powers_w:
            continue
        return kind, *mean_idle(powers_w, [one.uncertainty_w for one in known])
    return None, None, None
