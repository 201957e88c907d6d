"""What makes a number doubtful, said with its figures."""

from __future__ import annotations

from collections.abc import Iterator

from llem_sweep.backends.protocol import LoadedModel
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.harness.evidence import Seen, has_drifted
from llem_sweep.harness.rig import Rig
from llem_sweep.results.parts import EnergyBreakdown
from llem_sweep.results.warnings import MeasurementWarning, WarningCode
from llem_sweep.sampling.account import Account
from llem_sweep.sampling.summary import WindowSummary

SHORT_WINDOW_S = 10.0
"""Below this the sensors, not the model, dominate the number."""
SHORT_BASELINE_S = 10.0
SHORT_WARM_UP_S = 30.0
FEW_SAMPLES = 20
WIDE_BOUND = 0.05
UNSTABLE_BASELINE = 0.05
GAP_PERIODS = 10
"""A gap of more sampling periods than this is a fault of the sampler."""

Doubt = tuple[WarningCode, str]


def doubts(
    config: ExperimentConfig,
    rig: Rig,
    model: LoadedModel,
    seen: Seen,
    account: Account,
    breakdown: EnergyBreakdown | None,
    summary: WindowSummary,
) -> tuple[MeasurementWarning, ...]:
    """Every doubt about one result, in the order: what was measured, how, and on what."""
    found: list[Doubt] = [
        *_what_was_measured(config, rig, model),
        *_window(seen, account, summary, config),
        *_baseline(config, rig, seen, account, breakdown),
        *_warm_up(config, seen),
        *_board(rig, seen, summary),
    ]
    return tuple(MeasurementWarning.of(code, message) for code, message in found)


def _what_was_measured(config: ExperimentConfig, rig: Rig, model: LoadedModel) -> Iterator[Doubt]:
    if rig.simulated:
        yield WarningCode.SIMULATED, "simulated: power and energy come from a simulated board"
    if rig.backend(config.backend).synthetic:
        yield WarningCode.SYNTHETIC_BACKEND, "synthetic: no model was run"
    if not rig.gpus:
        yield WarningCode.UNMETERED, "no board was assigned, so there is no energy"
    elif model.off_board:
        yield WarningCode.OFF_BOARD, "computed on the CPU while the assigned board was metered"
    if rig.gpus and config.energy.backend == "null":
        yield WarningCode.ENERGY_OFF, "energy.backend is null: no energy was measured"


def _window(
    seen: Seen, account: Account, summary: WindowSummary, config: ExperimentConfig
) -> Iterator[Doubt]:
    if config.energy.backend == "null" or not account.devices:
        return
    for device, energy in enumerate(account.devices):
        if energy.disagreement is not None:
            yield WarningCode.SENSOR_DISAGREEMENT, f"device {device}: {energy.disagreement}"
        if energy.energy_j is None:
            code = WarningCode.WINDOW_UNRESOLVED if energy.resolvable else WarningCode.ENERGY_UNAVAILABLE
            yield code, f"no energy for device {device}: {energy.reason}"
    total_j, uncertainty_j = account.total_j, account.total_uncertainty_j
    if total_j and uncertainty_j is not None and uncertainty_j > WIDE_BOUND * abs(total_j):
        yield (
            WarningCode.WIDE_BOUND,
            f"{total_j:.1f} J is known to ± {uncertainty_j:.1f} J, more than {WIDE_BOUND:.0%}",
        )
    if seen.window.duration_s < SHORT_WINDOW_S:
        yield (
            WarningCode.SHORT_WINDOW,
            f"the window lasted {seen.window.duration_s:.2f} s, less than {SHORT_WINDOW_S:g} s",
        )
    if summary.samples_per_device < FEW_SAMPLES:
        yield (
            WarningCode.FEW_SAMPLES,
            f"{summary.samples_per_device} samples in the window, fewer than {FEW_SAMPLES}",
        )
    limit_s = GAP_PERIODS * seen.recording.period_s
    if summary.longest_gap_s is not None and summary.longest_gap_s > limit_s:
        yield (
            WarningCode.SAMPLER_GAP,
            f"{summary.longest_gap_s:.3f} s without a sample, more than {limit_s:.3f} s",
        )


def _baseline(
    config: ExperimentConfig, rig: Rig, seen: Seen, account: Account, breakdown: EnergyBreakdown | None
) -> Iterator[Doubt]:
    if not rig.gpus or config.energy.backend == "null":
        return
    if breakdown is None or breakdown.baseline_power_w is None:
        why = "switched off" if not config.baseline.enabled else "no reading of idle power"
        yield WarningCode.BASELINE_MISSING, f"no baseline ({why}), so no adjusted energy"
        return
    baseline = seen.context if breakdown.baseline_kind == "context" else seen.cold
    if baseline is not None and baseline.span.duration_s < SHORT_BASELINE_S:
        yield (
            WarningCode.BASELINE_SHORT,
            f"idle power was taken for {baseline.span.duration_s:.1f} s, less than {SHORT_BASELINE_S:g} s",
        )
    if baseline is not None and baseline.foreign:
        pids = ", ".join(map(str, sorted(baseline.foreign)))
        yield WarningCode.BASELINE_NOT_IDLE, f"other processes on the board during the baseline: {pids}"
    if breakdown.baseline_kind == "cold":
        yield WarningCode.BASELINE_COLD, "idle power without a context was subtracted"
    yield from _unstable(account)
    if breakdown.adjusted_j is not None and breakdown.adjusted_j < 0:
        yield (
            WarningCode.NEGATIVE_ADJUSTED_ENERGY,
            f"{breakdown.adjusted_j:.3f} J: less than idle at {breakdown.baseline_power_w:.1f} W",
        )


def _unstable(account: Account) -> Iterator[Doubt]:
    if account.subtracted is None or account.baseline_w is None:
        return
    used = [idle for idle in account.idle if idle.kind == account.subtracted]
    if has_drifted(account, account.subtracted):
        seen = ", ".join(
            f"{idle.power_w:.1f} W {idle.span.when}" for idle in used if idle.power_w is not None
        )
        yield WarningCode.BASELINE_UNSTABLE, f"idle power changed over the window: {seen}"
    elif (account.baseline_uncertainty_w or 0.0) > UNSTABLE_BASELINE * account.baseline_w:
        yield (
            WarningCode.BASELINE_UNSTABLE,
            f"idle power is {account.baseline_w:.1f} ± {account.baseline_uncertainty_w:.1f} W",
        )


def _warm_up(config: ExperimentConfig, seen: Seen) -> Iterator[Doubt]:
    if not config.warmup.enabled:
        yield WarningCode.WARM_UP_OFF, "the window began without a warm-up"
        return
    if config.warmup.thermal_floor_seconds < SHORT_WARM_UP_S:
        yield (
            WarningCode.WARM_UP_SHORT,
            f"thermal floor of {config.warmup.thermal_floor_seconds:g} s, less than {SHORT_WARM_UP_S:g} s",
        )
    warm = seen.warm.result
    if warm.converged is False:
        yield (
            WarningCode.WARM_UP_UNCONVERGED,
            f"coefficient of variation {warm.final_cv} after {warm.iterations_completed} batches,"
            f" above {warm.target_cv:g}",
        )


def _board(rig: Rig, seen: Seen, summary: WindowSummary) -> Iterator[Doubt]:
    window = seen.window
    foreign = window.foreign_processes.union(
        *(
            sample.health.foreign or ()
            for sample in seen.recording.health
            if window.start_s <= sample.at_s <= window.end_s
        )
    )
    if foreign:
        pids = ", ".join(map(str, sorted(foreign)))
        yield WarningCode.FOREIGN_PROCESS, f"other processes on the board during the window: {pids}"
    for device in range(len(rig.gpus)):
        counts = [
            sample.health.ecc_errors
            for sample in seen.recording.health
            if sample.device == device and sample.health.ecc_errors is not None
        ]
        if counts and counts[-1] > counts[0]:
            found = counts[-1] - counts[0]
            yield WarningCode.ECC_ERRORS, f"{found} uncorrected memory errors on device {device}"
    if summary.thermal_throttle:
        yield (
            WarningCode.THERMAL_THROTTLE,
            f"clocks held down by heat (reasons {summary.throttle_reasons:#x})",
        )
    if summary.power_throttle:
        yield WarningCode.POWER_THROTTLE, f"clocks held down by power (reasons {summary.throttle_reasons:#x})"
    for board in rig.boards:
        if board.persistence_mode is False:
            yield WarningCode.PERSISTENCE_OFF, f"persistence mode is off on {board.uuid}"
    if seen.identity == "assigned" and rig.gpus and not rig.simulated:
        yield WarningCode.IDENTITY_ASSIGNED, "the backend doesn't say which boards it computed on"
