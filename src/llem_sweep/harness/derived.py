"""Everything in a result that follows from its samples: stated by assembly, computed again by verification."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from llem_sweep.harness.phases import phase_breakdown
from llem_sweep.harness.quality import Circumstances, Samples, doubts, shared_node
from llem_sweep.harness.work import Work
from llem_sweep.results.experiment import ExperimentResult
from llem_sweep.results.parts import (
    DeviceEnergy,
    EnergyBreakdown,
    ExtendedEfficiencyMetrics,
    HostEnergy,
    IdlePower,
    MethodEnergy,
    MultiGPUMetrics,
    SteadyStateWindow,
    ThermalThrottleInfo,
)
from llem_sweep.results.sums import per
from llem_sweep.results.verdict import judge
from llem_sweep.results.warnings import MeasurementWarning
from llem_sweep.sampling.account import Account, Evidence, IdleEstimate, IdleKind, Span, take_account
from llem_sweep.sampling.energy import COVERAGE, ESTIMATOR_VERSION, EnergyEstimate
from llem_sweep.sampling.host import host_energy
from llem_sweep.sampling.summary import WindowSummary, summarise_window
from llem_sweep.sampling.watch import Watch, watch

GAIN_ERROR_PCT = (-6.0, 11.0)
"""What boards read against external meters (SC'24, arXiv 2312.02741)."""


def look_at(evidence: Evidence, subtract: IdleKind) -> Samples:
    """Everything that the samples say."""
    window = evidence.window
    recording = evidence.recordings[window.recording]
    return Samples(
        evidence,
        take_account(evidence, subtract),
        summarise_window(recording, window.start_s, window.end_s),
        watch(recording, window.start_s, window.end_s),
    )


def derived_fields(
    about: Circumstances, samples: Samples, work: Work, measured_on: str, started: datetime
) -> dict[str, Any]:
    """The fields of an ExperimentResult that follow from its samples; ``started`` is the window's wall time."""
    account = samples.account
    breakdown = energy_breakdown(samples, started, metered=not about.simulated)
    phases = phase_breakdown(samples.evidence, account, work)
    warnings = doubts(about, samples, phases)
    known = bool(account.devices)
    return {
        "measurement_methodology": about.measurement.window,
        "steady_state_window": _within_the_run(samples.evidence),
        "total_energy_j": account.total_j,
        "avg_energy_per_token_j": per(account.total_j, work.output_tokens),
        "baseline_power_w": account.baseline_w,
        "energy_adjusted_j": account.adjusted_j,
        "energy_per_device_j": tuple(device.energy_j for device in account.devices),
        "energy_breakdown": breakdown,
        "energy_uncertainty_j": account.total_uncertainty_j,
        "energy_adjusted_uncertainty_j": account.adjusted_uncertainty_j,
        "avg_energy_per_token_uncertainty_j": per(account.total_uncertainty_j, work.output_tokens),
        "energy_per_device_uncertainty_j": tuple(device.uncertainty_j for device in account.devices),
        "energy_coverage": COVERAGE if known else None,
        "energy_estimator": ESTIMATOR_VERSION if known else None,
        "device_energies": tuple(map(_device_energy, account.devices)),
        "sensors": samples.evidence.sensors if known else (),
        "multi_gpu": _multi_gpu(account, work),
        "phases": phases,
        "host_energy": _host(samples.evidence),
        "thermal_throttle": _throttle(samples.summary, samples.watch),
        "extended_metrics": _extended(account, work, samples.summary),
        "measurement_warnings": warnings,
        "verdict": judge(measured_on, account.total_j, account.total_uncertainty_j, warnings),
    }


def _within_the_run(evidence: Evidence) -> SteadyStateWindow | None:
    run, window = evidence.run, evidence.window
    if run is None:
        return None
    return SteadyStateWindow(
        start_s=window.start_s - run.start_s, end_s=window.end_s - run.start_s, run_s=run.duration_s
    )


def with_neighbours(result: ExperimentResult, neighbours: Sequence[str]) -> ExperimentResult:
    """``result`` with the experiments that shared its node, which only the driver knows, and that doubt."""
    if not neighbours:
        return result
    doubt = MeasurementWarning.of(*shared_node(neighbours))
    return result.model_copy(
        update={
            "neighbours": tuple(neighbours),
            "measurement_warnings": (*result.measurement_warnings, doubt),
        }
    )


def energy_breakdown(samples: Samples, started: datetime, *, metered: bool) -> EnergyBreakdown | None:
    """Total energy and what of it is idle power; ``metered`` by real boards, whose gain error is then stated."""
    account, window = samples.account, samples.evidence.window
    if not account.devices:
        return None
    used = [idle for idle in account.idle if idle.kind == account.subtracted]
    before = next((idle for idle in used if idle.span.when == "before"), None)
    return EnergyBreakdown(
        raw_j=account.total_j,
        raw_uncertainty_j=account.total_uncertainty_j,
        adjusted_j=account.adjusted_j,
        adjusted_uncertainty_j=account.adjusted_uncertainty_j,
        baseline_power_w=account.baseline_w,
        baseline_uncertainty_w=account.baseline_uncertainty_w,
        baseline_kind=account.subtracted,
        baseline_method=f"{account.subtracted}/{before.method}" if before else None,
        baseline_timestamp=_wall(before.span, window, started) if before else None,
        baseline_cache_age_sec=window.start_s - before.span.end_s if before else None,
        energy_methods=tuple(device.method for device in account.devices),
        idle=tuple(_idle(idle, window, started) for idle in account.idle),
        gain_error_pct=GAIN_ERROR_PCT if metered else None,
    )


def _wall(span: Span, window: Span, started: datetime) -> datetime:
    """Wall-clock time of a span's end, by the monotonic clock from the window's start."""
    return started + timedelta(seconds=span.end_s - window.start_s)


def _idle(idle: IdleEstimate, window: Span, started: datetime) -> IdlePower:
    return IdlePower(
        kind=idle.kind,
        when="after" if idle.span.when == "after" else "before",
        power_w=idle.power_w,
        uncertainty_w=idle.uncertainty_w,
        power_per_device_w=idle.power_per_device_w,
        method=idle.method,
        timestamp=_wall(idle.span, window, started),
        duration_s=idle.span.duration_s,
        age_s=window.start_s - idle.span.end_s,
    )


def _device_energy(estimate: EnergyEstimate) -> DeviceEnergy:
    return DeviceEnergy(
        energy_j=estimate.energy_j,
        uncertainty_j=estimate.uncertainty_j,
        method=estimate.method,
        methods=tuple(
            MethodEnergy(method=one.method, energy_j=one.energy_j, uncertainty_j=one.uncertainty_j)
            for one in estimate.methods
        ),
        reason=estimate.reason,
    )


def _multi_gpu(account: Account, work: Work) -> MultiGPUMetrics | None:
    energies: Sequence[EnergyEstimate] = account.devices
    if len(energies) < 2:
        return None
    return MultiGPUMetrics(
        num_gpus=len(energies),
        energy_per_gpu_j=tuple(energy.energy_j for energy in energies),
        energy_total_j=account.total_j,
        energy_per_output_token_j=per(account.total_j, work.output_tokens),
    )


def _host(evidence: Evidence) -> HostEnergy | None:
    window = evidence.window
    host = evidence.recordings[window.recording].host
    return host_energy(host, window.start_s, window.end_s) if host is not None else None


def _throttle(summary: WindowSummary, seen: Watch) -> ThermalThrottleInfo | None:
    if summary.throttle_reasons is None:
        return None
    return ThermalThrottleInfo(
        thermal=summary.thermal_throttle,
        power=summary.power_throttle,
        throttled_fraction=summary.throttled_fraction,
        reasons_mask=summary.throttle_reasons,
        power_throttle_s=seen.power_throttle_s,
        thermal_throttle_s=seen.thermal_throttle_s,
    )


def _extended(account: Account, work: Work, summary: WindowSummary) -> ExtendedEfficiencyMetrics:
    positions = work.input_tokens + work.padded_tokens
    return ExtendedEfficiencyMetrics(
        memory_used_max_mb=summary.memory_used_max_mb,
        sm_utilisation_mean_pct=summary.sm_utilisation_mean_pct,
        batch_count=work.batches,
        effective_batch_size=work.places / work.batches,
        padding_ratio=work.padded_tokens / positions if positions else None,
        energy_per_request_j=per(account.total_j, work.requests),
        energy_per_input_token_j=per(account.total_j, work.input_tokens),
        energy_per_total_token_j=per(account.total_j, work.input_tokens + work.output_tokens),
    )
