"""How many batches an experiment runs, and how long it stays under load before its window."""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.measurement import PREFILL_LEAD_S, PREFILL_WINDOW_S, MeasurementConfig
from llem_sweep.plan.need import need_of


class PlannedWorkload(NamedTuple):
    """What a configuration asks for, before any model is seen."""

    batches: int
    """Of the workload, run once."""
    least_run_s: float
    """The workload is repeated as a whole until the run has lasted so long."""
    steady_limit_s: float
    """Longest that it goes on beyond that because it isn't steady yet."""
    least_prefill_s: float
    """Prefill alone is run for so long after the run, to the end of a workload; 0 where it isn't."""
    rows: int
    """Sequences of one batch; beams are rows of a batch."""
    fewest_warmup_batches: int
    most_warmup_batches: int
    floor_s: float
    """Least time under load before the window."""
    settle_limit_s: float
    """Longest further time under load."""


def planned_workload(config: ExperimentConfig) -> PlannedWorkload:
    """The batches that a process of ``config`` runs, and what its warm-up waits for."""
    batch_size, beams, requests = 1, 1, requests_of_a_process(config)
    if config.backend == "pytorch":
        batch_size, beams = config.pytorch.batch_size, config.pytorch.num_beams
        if config.pytorch.batching == "continuous":
            batch_size = requests
    warmup = config.warmup
    fewest = most = warmup.n_warmup
    if warmup.convergence_detection:
        fewest = min(warmup.max_prompts, max(warmup.min_prompts, warmup.n_warmup, warmup.window_size))
        most = max(warmup.n_warmup, warmup.max_prompts)
    waits = warmup.enabled and warmup.thermal_floor_seconds > 0
    return PlannedWorkload(
        batches=ceil(requests / batch_size),
        least_run_s=_least_run_s(config.measurement),
        steady_limit_s=warmup.settle_limit_seconds if _waits_for_steady_state(config.measurement) else 0.0,
        least_prefill_s=PREFILL_LEAD_S + PREFILL_WINDOW_S if config.measurement.prefill_window else 0.0,
        rows=min(batch_size, requests, _most_rows(config)) * beams,
        fewest_warmup_batches=fewest if warmup.enabled else 0,
        most_warmup_batches=most if warmup.enabled else 0,
        floor_s=warmup.thermal_floor_seconds if waits else 0.0,
        settle_limit_s=warmup.settle_limit_seconds if waits else 0.0,
    )


def _least_run_s(config: MeasurementConfig) -> float:
    begins_s = config.start_seconds if config.end_seconds is None and config.min_duration_seconds else 0.0
    return begins_s + config.min_duration_seconds


def _waits_for_steady_state(config: MeasurementConfig) -> bool:
    return config.window == "steady_state" and config.min_duration_seconds > 0


def _most_rows(config: ExperimentConfig) -> int:
    """Requests that can share a pass."""
    continuous = config.backend == "pytorch" and config.pytorch.batching == "continuous"
    return config.pytorch.max_batch_tokens if continuous else config.n


def requests_of_a_process(config: ExperimentConfig) -> int:
    """Requests of the process that runs most of them."""
    need = need_of(config)
    return ceil(config.n / need.processes) if need.parallelism == "data" else config.n
