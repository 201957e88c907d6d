"""Prefill and decode as a result states them, and prefill by itself held against the split."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from llem_sweep.harness.work import Work
from llem_sweep.results.parts import PhaseBreakdown, PrefillWindow
from llem_sweep.results.phases import held_against, phase_metrics
from llem_sweep.results.sums import in_quadrature, total
from llem_sweep.results.warnings import WarningCode
from llem_sweep.sampling.account import Account, Evidence, PrefillRun, Span
from llem_sweep.sampling.intervals import duration_s, phase_intervals
from llem_sweep.sampling.summary import summarise_window
from llem_sweep.sampling.watch import watch


def phase_breakdown(evidence: Evidence, account: Account, work: Work) -> PhaseBreakdown | None:
    """Both phases of the window; None where nothing was stamped."""
    intervals, boards = account.intervals, account.phases
    if not intervals:
        return None
    prefill = phase_metrics(
        duration_s(intervals, prefill=True),
        work.input_tokens,
        total([board.prefill_j for board in boards]),
        in_quadrature([board.prefill_uncertainty_j for board in boards]),
    )
    own = _by_itself(evidence, evidence.prefill, account, work) if evidence.prefill is not None else None
    return PhaseBreakdown(
        prefill=prefill,
        decode=phase_metrics(
            duration_s(intervals, prefill=False),
            # The first token of a request is what its prefill yields.
            max(0, work.output_tokens - work.requests),
            total([board.decode_j for board in boards]),
            in_quadrature([board.decode_uncertainty_j for board in boards]),
        ),
        closure_j=total([board.closure_j for board in boards]),
        closure_uncertainty_j=in_quadrature([board.closure_uncertainty_j for board in boards]),
        reason=next((board.reason for board in boards if board.reason), None),
        prefill_window=held_against(own, prefill) if own is not None else None,
    )


def _by_itself(evidence: Evidence, run: PrefillRun, account: Account, work: Work) -> PrefillWindow:
    """What the window of prefill by itself says.

    Between a first token and the next batch's start a board draws something from nothing to what prefill draws.
    The energy of prefill is taken from the middle of that: the window's less half of the gaps' share, known to the
    other half besides the sensors' bound.
    """
    span, energies = run.span, account.prefill
    gap_s = duration_s(phase_intervals(run.batches, span.start_s, span.end_s), prefill=False)
    whole_j = total([energy.energy_j for energy in energies])
    bound_j = in_quadrature([energy.uncertainty_j for energy in energies])
    prefill_j = prefill_bound_j = None
    if whole_j is not None and bound_j is not None:
        doubt_j = whole_j * gap_s / span.duration_s / 2
        prefill_j, prefill_bound_j = whole_j - doubt_j, bound_j + doubt_j
    # Both windows hold all batches a whole number of times.
    scale = len(evidence.batches) / len(run.batches)
    recording = evidence.recordings[span.recording]
    summary = summarise_window(recording, span.start_s, span.end_s)
    known = summary.throttle_reasons is not None
    return PrefillWindow(
        repetitions=run.repetitions,
        time_s=span.duration_s,
        gap_s=gap_s,
        energy_j=whole_j,
        energy_uncertainty_j=bound_j,
        energy_per_device_j=tuple(energy.energy_j for energy in energies),
        energy_per_device_uncertainty_j=tuple(energy.uncertainty_j for energy in energies),
        time_per_run_s=(span.duration_s - gap_s) / run.repetitions,
        energy_per_run_j=_times(prefill_j, 1 / run.repetitions),
        energy_per_run_uncertainty_j=_times(prefill_bound_j, 1 / run.repetitions),
        prefill=phase_metrics(
            (span.duration_s - gap_s) * scale,
            work.input_tokens,
            _times(prefill_j, scale),
            _times(prefill_bound_j, scale),
        ),
        temperature_change_c=_temperature_change_c(evidence, span),
        power_throttle=summary.power_throttle if known else None,
        thermal_throttle=summary.thermal_throttle if known else None,
        foreign_pids=tuple(sorted(watch(recording, span.start_s, span.end_s).foreign)),
        reason=next((energy.reason for energy in energies if energy.reason), None),
    )


def _times(quantity: float | None, factor: float) -> float | None:
    return None if quantity is None else quantity * factor


def _temperature_change_c(evidence: Evidence, own: Span) -> float | None:
    """How much warmer a board was than in the measured window, in the mean; of the one that differs most."""
    changes = []
    for device in range(len(evidence.sensors)):
        here, there = (_temperature_c(evidence, span, device) for span in (own, evidence.window))
        if here is not None and there is not None:
            changes.append(here - there)
    return max(changes, key=abs, default=None)


def _temperature_c(evidence: Evidence, span: Span, device: int) -> float | None:
    samples = evidence.recordings[span.recording].of_device(device)
    inside: Sequence[int] = [
        temperature_c
        for sample in samples
        if span.start_s <= sample.at_s <= span.end_s
        and (temperature_c := sample.reading.temperature_c) is not None
    ]
    return fmean(inside) if inside else None


def prefill_doubt(phases: PhaseBreakdown | None) -> tuple[WarningCode, str] | None:
    """What to say where prefill by itself and the split differ by more than both can be off."""
    own = phases.prefill_window if phases is not None else None
    if phases is None or own is None or own.agrees is not False:
        return None
    split, alone = phases.prefill, own.prefill
    longer = f"{alone.time_s / split.time_s - 1:+.1%} of time" if split.time_s > 0 else "no time to compare"
    conditions = [longer]
    if own.temperature_change_c is not None:
        conditions.append(f"{own.temperature_change_c:+.1f} °C")
    held = {"power": own.power_throttle, "heat": own.thermal_throttle}
    conditions += [f"clocks held down by {name}" for name, down in held.items() if down]
    if own.foreign_pids:
        conditions.append(f"other processes on the board: {', '.join(map(str, own.foreign_pids))}")
    bound_j = own.difference_uncertainty_j
    return (
        WarningCode.PREFILL_DISAGREEMENT,
        f"prefill takes {alone.energy_j:.1f} J by a window of its own, {split.energy_j:.1f} J by the split of the"
        f" run: {own.difference_j:+.1f} J, where the same power would show as ± {bound_j:.1f} J at most; its own"
        f" window had {', '.join(conditions)}",
    )
