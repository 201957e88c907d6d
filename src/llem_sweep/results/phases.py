"""Prefill and decode of a window, and of several processes' windows together. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from llem_sweep.results.parts import PhaseBreakdown, PhaseMetrics, PrefillWindow
from llem_sweep.results.sums import in_quadrature, per, total


def phase_metrics(
    time_s: float, tokens: int, energy_j: float | None, energy_uncertainty_j: float | None
) -> PhaseMetrics:
    """One phase, with what follows from its time, tokens and energy."""
    return PhaseMetrics(
        time_s=time_s,
        tokens=tokens,
        tokens_per_second=tokens / time_s if time_s > 0 else None,
        energy_j=energy_j,
        energy_uncertainty_j=energy_uncertainty_j,
        energy_per_token_j=per(energy_j, tokens),
    )


def held_against(own: PrefillWindow, split: PhaseMetrics) -> PrefillWindow:
    """Prefill by itself with what it differs by from the split of the run."""
    known = (
        own.prefill.energy_j,
        own.prefill.energy_uncertainty_j,
        split.energy_j,
        split.energy_uncertainty_j,
    )
    own_j, own_bound_j, split_j, split_bound_j = known
    if own_j is None or own_bound_j is None or split_j is None or split_bound_j is None:
        return own
    difference_j, bound_j = own_j - split_j, math.hypot(own_bound_j, split_bound_j)
    found = {
        "difference_j": difference_j,
        "difference_uncertainty_j": bound_j,
        "agrees": abs(difference_j) <= bound_j,
    }
    return own.model_copy(update=found)


def merged_phases(parts: Sequence[PhaseBreakdown | None], *, tensor: bool) -> PhaseBreakdown | None:
    """Of several processes that worked side by side; None when any of them is unknown.

    Energies add up; time is the mean, so that tokens over it are the sum of what the processes did in a second.
    With ``tensor`` all of them had the same tokens, which count once.
    """
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return None
    prefill = _merged([part.prefill for part in known], tensor=tensor)
    own = _merged_window([part.prefill_window for part in known], tensor=tensor)
    return PhaseBreakdown(
        prefill=prefill,
        decode=_merged([part.decode for part in known], tensor=tensor),
        closure_j=total([part.closure_j for part in known]),
        closure_uncertainty_j=in_quadrature([part.closure_uncertainty_j for part in known]),
        reason=next((part.reason for part in known if part.reason), None),
        prefill_window=held_against(own, prefill) if own is not None else None,
    )


def _merged_window(parts: Sequence[PrefillWindow | None], *, tensor: bool) -> PrefillWindow | None:
    windows = [part for part in parts if part is not None]
    if not windows or len(windows) < len(parts):
        return None
    repetitions = {window.repetitions for window in windows}
    changes = [w.temperature_change_c for w in windows if w.temperature_change_c is not None]
    return PrefillWindow(
        repetitions=repetitions.pop() if len(repetitions) == 1 else None,
        time_s=fmean(window.time_s for window in windows),
        gap_s=fmean(window.gap_s for window in windows),
        energy_j=total([window.energy_j for window in windows]),
        energy_uncertainty_j=in_quadrature([window.energy_uncertainty_j for window in windows]),
        energy_per_device_j=tuple(each for window in windows for each in window.energy_per_device_j),
        energy_per_device_uncertainty_j=tuple(
            each for window in windows for each in window.energy_per_device_uncertainty_j
        ),
        time_per_run_s=fmean(window.time_per_run_s for window in windows),
        energy_per_run_j=total([window.energy_per_run_j for window in windows]),
        energy_per_run_uncertainty_j=in_quadrature([w.energy_per_run_uncertainty_j for w in windows]),
        prefill=_merged([window.prefill for window in windows], tensor=tensor),
        temperature_change_c=max(changes, key=abs, default=None),
        power_throttle=_any([window.power_throttle for window in windows]),
        thermal_throttle=_any([window.thermal_throttle for window in windows]),
        foreign_pids=tuple(sorted({pid for window in windows for pid in window.foreign_pids})),
        reason=next((window.reason for window in windows if window.reason), None),
    )


def _any(values: Sequence[bool | None]) -> bool | None:
    return None if None in values else any(values)


def _merged(phases: Sequence[PhaseMetrics], *, tensor: bool) -> PhaseMetrics:
    return phase_metrics(
        fmean(phase.time_s for phase in phases),
        sum(phase.tokens for phase in (phases[:1] if tensor else phases)),
        total([phase.energy_j for phase in phases]),
        in_quadrature([phase.energy_uncertainty_j for phase in phases]),
    )
