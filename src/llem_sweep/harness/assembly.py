"""From what was seen to a frozen result."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import NamedTuple

from llem_sweep.backends.protocol import LoadedModel
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.harness.derived import derived_fields
from llem_sweep.harness.efficiency import efficiency
from llem_sweep.harness.environment import snapshot
from llem_sweep.harness.evidence import Seen
from llem_sweep.harness.quality import Circumstances, Samples, energy_off
from llem_sweep.harness.rig import Rig
from llem_sweep.harness.work import work_of
from llem_sweep.plan.types import PlannedExperiment
from llem_sweep.results.experiment import ExperimentResult, measured_on
from llem_sweep.results.parts import EffectiveConfig, SamplerInfo
from llem_sweep.results.requests import RequestLog, latency_statistics
from llem_sweep.results.work import flops_fields
from llem_sweep.sampling.recording import Recording
from llem_sweep.sampling.sidecar import encode_timeseries
from llem_sweep.sampling.summary import WindowSummary


class Measured(NamedTuple):
    """A finished experiment: its result, and its time series as parquet bytes.

    Who stores them names the file, in ``result.timeseries``.
    """

    result: ExperimentResult
    timeseries_parquet: bytes


def assemble(
    experiment: PlannedExperiment,
    rig: Rig,
    model: LoadedModel,
    seen: Seen,
    samples: Samples,
    log: RequestLog | None,
) -> Measured:
    """The result of ``experiment`` and its sidecar, from one window, one recording and one duration.

    ``log`` has the window's requests; None where nothing was stamped.
    """
    config, window = experiment.config, seen.window
    backend = rig.backend(config.backend)
    work = work_of(window.tallies)
    about = _circumstances(config, rig, model, seen)
    where = measured_on(synthetic=about.synthetic, simulated=about.simulated, off_board=about.off_board)
    effective = model.effective(config)
    fields = derived_fields(about, samples, work, where, window.started)
    found = efficiency(model, window.tallies, rig.boards, where, window.duration_s)
    fields["extended_metrics"] = found.added_to(fields["extended_metrics"])
    sidecar = encode_timeseries(samples.evidence, rig.boards, window.started, config.sampling.sidecar_hz)
    result = ExperimentResult(
        experiment_id=experiment.experiment_id,
        measurement_config_hash=experiment.config_hash,
        cycle=experiment.cycle,
        backend=config.backend,
        backend_version=backend.version,
        model=config.model,
        simulated=rig.simulated,
        synthetic=about.synthetic,
        off_board=about.off_board,
        measured_on=where,
        iterations=window.iterations,
        requests=work.requests,
        input_tokens=work.input_tokens,
        output_tokens=work.output_tokens,
        total_tokens=work.input_tokens + work.output_tokens,
        total_inference_time_sec=window.duration_s,
        avg_tokens_per_second=_rate(work.output_tokens, window.duration_s),
        **flops_fields(
            found.flops,
            input_tokens=work.input_tokens,
            output_tokens=work.output_tokens,
            duration_s=window.duration_s,
        ),
        **fields,
        sampler=_sampler_info(seen.recording, samples.summary),
        environment_snapshot=snapshot(rig, seen.identity, samples.summary, effective),
        warmup_excluded_samples=seen.warm.requests + (window.part.requests_before if window.part else 0),
        reproducibility_notes=_notes(config, rig),
        timeseries_sha256=hashlib.sha256(sidecar).hexdigest(),
        start_time=window.started,
        end_time=window.started + timedelta(seconds=window.duration_s),
        effective_config=EffectiveConfig(config=config.model_dump(mode="json"), backend=effective),
        warmup_result=seen.warm.result,
        latency_stats=latency_statistics(log) if log is not None else None,
    )
    return Measured(result, sidecar)


def _circumstances(config: ExperimentConfig, rig: Rig, model: LoadedModel, seen: Seen) -> Circumstances:
    return Circumstances(
        warmup=config.warmup,
        measurement=config.measurement,
        baseline=config.baseline,
        sampling=config.sampling,
        energy_off=energy_off(config),
        simulated=rig.simulated,
        synthetic=rig.backend(config.backend).synthetic,
        off_board=model.off_board or not rig.gpus,
        boards=rig.boards,
        identity=seen.identity,
        warm=seen.warm.result,
    )


def _rate(units: int, duration_s: float) -> float:
    return units / duration_s if duration_s > 0 else 0.0


def _sampler_info(recording: Recording, summary: WindowSummary) -> SamplerInfo | None:
    if not recording.samples:
        return None
    return SamplerInfo(
        period_s=recording.period_s,
        samples=summary.samples_per_device,
        longest_gap_s=summary.longest_gap_s,
        cpu_time_s=recording.cpu_time_s,
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
