"""From what was seen to a frozen result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Literal, NamedTuple

from llem_sweep.backends.protocol import LoadedModel
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.harness.environment import snapshot
from llem_sweep.harness.quality import doubts
from llem_sweep.harness.rig import Rig
from llem_sweep.harness.warmup import WarmUp
from llem_sweep.harness.window import Window
from llem_sweep.plan.types import PlannedExperiment
from llem_sweep.results.experiment import ExperimentResult
from llem_sweep.results.parts import (
    EffectiveConfig,
    EnergyBreakdown,
    ExtendedEfficiencyMetrics,
    MultiGPUMetrics,
    SamplerInfo,
    ThermalThrottleInfo,
)
from llem_sweep.sampling.baseline import Baseline
from llem_sweep.sampling.energy import EnergyEstimate, device_energy
from llem_sweep.sampling.recording import Recording
from llem_sweep.sampling.sidecar import encode_timeseries
from llem_sweep.sampling.summary import WindowSummary, summarise_window

Identity = Literal["assigned", "confirmed", "none"]
MeasuredOn = Literal["board", "off-board", "simulated", "synthetic"]


class Evidence(NamedTuple):
    """All that was seen of one experiment."""

    identity: Identity
    baseline: Baseline | None
    warm: WarmUp
    window: Window
    recording: Recording


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


def assemble(experiment: PlannedExperiment, rig: Rig, model: LoadedModel, seen: Evidence) -> Measured:
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
    energies = tuple(
        device_energy(seen.recording.of_device(device), window.start_s, window.end_s, seen.recording.period_s)
        for device in range(len(rig.gpus))
    )
    total_j = total(tuple(energy.energy_j for energy in energies))
    breakdown = energy_breakdown(total_j, energies, seen.baseline, window)
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
        multi_gpu=_multi_gpu(energies, total_j, tokens),
        sampler=_sampler_info(seen.recording, summary),
        environment_snapshot=snapshot(rig, seen.identity, summary, effective),
        measurement_warnings=doubts(config, rig, model, seen, energies, breakdown, summary),
        warmup_excluded_samples=seen.warm.requests,
        reproducibility_notes=_notes(config, rig),
        start_time=window.started,
        end_time=window.started + timedelta(seconds=window.duration_s),
        effective_config=EffectiveConfig(config=config.model_dump(mode="json"), backend=effective),
        thermal_throttle=_throttle(summary),
        warmup_result=seen.warm.result,
        extended_metrics=_extended(tokens, total_j, len(tallies), summary),
    )
    return Measured(result, encode_timeseries(seen.recording, rig.boards, window.start_s, window.end_s))


def total(values: Sequence[float | None]) -> float | None:
    """Exact sum; None when there is nothing to sum or any part is unknown."""
    known = [value for value in values if value is not None]
    return math.fsum(known) if known and len(known) == len(values) else None


def per(quantity: float | None, units: int) -> float | None:
    """``quantity`` per unit; None when it is unknown or there are no units."""
    return quantity / units if quantity is not None and units else None


def energy_breakdown(
    raw_j: float | None,
    energies: Sequence[EnergyEstimate],
    baseline: Baseline | None,
    window: Window,
) -> EnergyBreakdown | None:
    """``adjusted = raw - baseline power × duration``, over the same window; never clamped at zero."""
    if not energies:
        return None
    power_w = baseline.power_w if baseline else None
    known = raw_j is not None and power_w is not None
    return EnergyBreakdown(
        raw_j=raw_j,
        adjusted_j=raw_j - power_w * window.duration_s
        if known and raw_j is not None and power_w is not None
        else None,
        baseline_power_w=power_w,
        baseline_method=f"cold/{baseline.method}" if baseline and power_w is not None else None,
        baseline_timestamp=baseline.timestamp if baseline else None,
        baseline_cache_age_sec=window.start_s - baseline.ended_s if baseline else None,
        energy_methods=tuple(energy.method for energy in energies),
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
