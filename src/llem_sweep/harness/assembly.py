"""From what was seen to a frozen result."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from llem_sweep.backends.protocol import LoadedModel
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.harness.environment import snapshot
from llem_sweep.harness.evidence import Seen, evidence
from llem_sweep.harness.quality import doubts
from llem_sweep.harness.rig import Rig
from llem_sweep.plan.types import PlannedExperiment
from llem_sweep.results.experiment import ExperimentResult
from llem_sweep.results.parts import (
    DeviceEnergy,
    EffectiveConfig,
    EnergyBreakdown,
    ExtendedEfficiencyMetrics,
    IdlePower,
    MethodEnergy,
    MultiGPUMetrics,
    SamplerInfo,
    ThermalThrottleInfo,
)
from llem_sweep.sampling.account import Account, IdleEstimate
from llem_sweep.sampling.energy import COVERAGE, ESTIMATOR_VERSION, EnergyEstimate
from llem_sweep.sampling.recording import Recording
from llem_sweep.sampling.sidecar import encode_timeseries
from llem_sweep.sampling.summary import WindowSummary, summarise_window

MeasuredOn = Literal["board", "off-board", "simulated", "synthetic"]


GAIN_ERROR_PCT = (-6.0, 11.0)
"""What boards read against external meters (SC'24, arXiv 2312.02741)."""


class Measured(NamedTuple):
    """A finished experiment: its result, and its time series as parquet bytes.

    Who stores them names the file, in ``result.timeseries``.
    """

    result: ExperimentResult
    timeseries_parquet: bytes


class Tokens(NamedTuple):
    """What the window produced, padding not counted."""

    requests: int
    input: int
    output: int
    padded: int


def assemble(
    experiment: PlannedExperiment, rig: Rig, model: LoadedModel, seen: Seen, account: Account
) -> Measured:
    """The result of ``experiment`` and its sidecar, from one window, one recording and one duration."""
    config, window = experiment.config, seen.window
    backend = rig.backend(config.backend)
    tallies = window.tallies
    tokens = Tokens(
        requests=sum(tally.requests for tally in tallies),
        input=sum(tally.input_tokens for tally in tallies),
        output=sum(tally.output_tokens for tally in tallies),
        padded=sum(tally.padded_tokens for tally in tallies),
    )
    energies, total_j = account.devices, account.total_j
    breakdown = energy_breakdown(account, seen, metered=not rig.simulated)
    summary = summarise_window(seen.recording, window.start_s, window.end_s)
    effective = model.effective(config)
    result = ExperimentResult(
        experiment_id=experiment.experiment_id,
        measurement_config_hash=experiment.config_hash,
        cycle=experiment.cycle,
        backend=config.backend,
        backend_version=backend.version,
        model=config.model,
        simulated=rig.simulated,
        measured_on=_measured_on(backend.synthetic, rig.simulated, model.off_board or not rig.gpus),
        requests=tokens.requests,
        input_tokens=tokens.input,
        output_tokens=tokens.output,
        total_tokens=tokens.input + tokens.output,
        total_energy_j=total_j,
        total_inference_time_sec=window.duration_s,
        avg_tokens_per_second=_rate(tokens.output, window.duration_s),
        avg_energy_per_token_j=per(total_j, tokens.output),
        baseline_power_w=breakdown.baseline_power_w if breakdown else None,
        energy_adjusted_j=breakdown.adjusted_j if breakdown else None,
        energy_per_device_j=tuple(energy.energy_j for energy in energies),
        energy_breakdown=breakdown,
        energy_uncertainty_j=account.total_uncertainty_j,
        energy_adjusted_uncertainty_j=account.adjusted_uncertainty_j,
        avg_energy_per_token_uncertainty_j=per(account.total_uncertainty_j, tokens.output),
        energy_per_device_uncertainty_j=tuple(energy.uncertainty_j for energy in energies),
        energy_coverage=COVERAGE if energies else None,
        energy_estimator=ESTIMATOR_VERSION if energies else None,
        device_energies=tuple(map(_device_energy, energies)),
        sensors=rig.sensors if energies else (),
        multi_gpu=_multi_gpu(energies, total_j, tokens),
        sampler=_sampler_info(seen.recording, summary),
        environment_snapshot=snapshot(rig, seen.identity, summary, effective),
        measurement_warnings=doubts(config, rig, model, seen, account, breakdown, summary),
        warmup_excluded_samples=seen.warm.requests,
        reproducibility_notes=_notes(config, rig),
        start_time=window.started,
        end_time=window.started + timedelta(seconds=window.duration_s),
        effective_config=EffectiveConfig(config=config.model_dump(mode="json"), backend=effective),
        thermal_throttle=_throttle(summary),
        warmup_result=seen.warm.result,
        extended_metrics=_extended(tokens, total_j, len(tallies), summary),
    )
    return Measured(result, encode_timeseries(evidence(rig, seen), rig.boards, window.started))


def per(quantity: float | None, units: int) -> float | None:
    """``quantity`` per unit; None when it is unknown or there are no units."""
    return quantity / units if quantity is not None and units else None


def energy_breakdown(account: Account, seen: Seen, *, metered: bool) -> EnergyBreakdown | None:
    """Total energy and what of it is idle power; ``metered`` by real boards, whose gain error is then stated."""
    if not account.devices:
        return None
    ends = {baseline.span: baseline.timestamp for baseline in (seen.cold, seen.context) if baseline}
    if seen.after is not None:
        ends[seen.after[0]] = seen.after[1]
    used = [idle for idle in account.idle if idle.span.kind == account.subtracted]
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
        baseline_timestamp=ends[before.span] if before else None,
        baseline_cache_age_sec=seen.window.start_s - before.span.end_s if before else None,
        energy_methods=tuple(device.method for device in account.devices),
        idle=tuple(_idle(idle, ends[idle.span], seen.window.start_s) for idle in account.idle),
        gain_error_pct=GAIN_ERROR_PCT if metered else None,
    )


def _idle(idle: IdleEstimate, ended: datetime, window_start_s: float) -> IdlePower:
    return IdlePower(
        kind=idle.kind,
        when="after" if idle.span.when == "after" else "before",
        power_w=idle.power_w,
        uncertainty_w=idle.uncertainty_w,
        power_per_device_w=idle.power_per_device_w,
        method=idle.method,
        timestamp=ended,
        duration_s=idle.span.duration_s,
        age_s=window_start_s - idle.span.end_s,
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


def _measured_on(synthetic: bool, simulated: bool, off_board: bool) -> MeasuredOn:
    if synthetic:
        return "synthetic"
    if simulated:
        return "simulated"
    return "off-board" if off_board else "board"


def _rate(units: int, duration_s: float) -> float:
    return units / duration_s if duration_s > 0 else 0.0


def _multi_gpu(
    energies: Sequence[EnergyEstimate], total_j: float | None, tokens: Tokens
) -> MultiGPUMetrics | None:
    if len(energies) < 2:
        return None
    return MultiGPUMetrics(
        num_gpus=len(energies),
        energy_per_gpu_j=tuple(energy.energy_j for energy in energies),
        energy_total_j=total_j,
        energy_per_output_token_j=per(total_j, tokens.output),
    )


def _sampler_info(recording: Recording, summary: WindowSummary) -> SamplerInfo | None:
    if not recording.samples:
        return None
    return SamplerInfo(
        period_s=recording.period_s,
        samples=summary.samples_per_device,
        longest_gap_s=summary.longest_gap_s,
        cpu_time_s=recording.cpu_time_s,
    )


def _throttle(summary: WindowSummary) -> ThermalThrottleInfo | None:
    if summary.throttle_reasons is None:
        return None
    return ThermalThrottleInfo(
        thermal=summary.thermal_throttle,
        power=summary.power_throttle,
        throttled_fraction=summary.throttled_fraction,
        reasons_mask=summary.throttle_reasons,
    )


def _extended(
    tokens: Tokens, total_j: float | None, batches: int, summary: WindowSummary
) -> ExtendedEfficiencyMetrics:
    positions = tokens.input + tokens.padded
    return ExtendedEfficiencyMetrics(
        memory_used_max_mb=summary.memory_used_max_mb,
        sm_utilisation_mean_pct=summary.sm_utilisation_mean_pct,
        batch_count=batches,
        effective_batch_size=tokens.requests / batches,
        padding_ratio=tokens.padded / positions if positions else None,
        energy_per_request_j=per(total_j, tokens.requests),
        energy_per_input_token_j=per(total_j, tokens.input),
        energy_per_total_token_j=per(total_j, tokens.input + tokens.output),
    )


def _notes(config: ExperimentConfig, rig: Rig) -> str:
    notes = [f"random_seed {config.random_seed}", f"weights {config.weights}"]
    if rig.simulated:
        notes.append("simulated boards: no energy in this result was measured")
    elif rig.gpus:
        notes.append(
            "the boards' gain error (published: -6 % to +11 % against external meters) is not included:"
            " compare runs on the same board"
        )
    return "; ".join(notes)
