"""How long experiments and loads may be expected to take, before anything of their kind has run.

Only relations matter much: which point is longer, which model is more work. Everything here is corrected by what
runs (:mod:`llem_sweep.plan.estimates`), and is within a factor of a few at best.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.plan.need import need_of
from llem_sweep.plan.precision import WEIGHT_BYTES
from llem_sweep.plan.types import ModelFacts
from llem_sweep.plan.workload import PlannedWorkload, planned_workload

STEP_OVERHEAD_S = 0.02
"""One decoding step of generate() however small the model: launching a few dozen layers from Python."""
BOARD_BYTES_PER_S = 1e12
"""Weights read by a board, once each step: half of what its memory can do at best."""
BOARD_FLOPS = 1e14
CPU_BYTES_PER_S = 3e10
CPU_FLOPS = 3e11
ASSUMED_PARAMETERS = 7_000_000_000
"""Of a model of which nothing is known."""
SETTLING_SHARE = 0.1
"""Of the time that a board may take to settle after the floor, what it usually takes."""
COOLING_S = 1.0
"""Until the energy at the end of a window is resolved."""
HANDLING_S = 0.01
"""Handing an experiment to a worker and persisting what comes back."""
ENGINE_S = 10.0
"""Importing an engine and bringing up its context on a board."""
WEIGHTS_BYTES_PER_S = 1e9
"""Weights brought from a local disk to a board."""
OFF_BY = 3.0
"""Factor by which the work may be longer or shorter: boards and engines differ, answers end early."""
OFF_BY_UNKNOWN = 10.0
"""The same for a model of which nothing is known: they differ in size by as much either way."""


class Prior(NamedTuple):
    """An expectation from the configuration alone, in seconds on the worker; loading isn't in it."""

    fixed_s: float
    """Idle power, the floor of the warm-up, settling, the least length of the run, cooling: what the configuration
    says itself."""
    work_s: float
    """Batches beyond the floor and that length: as good as what is known of model and board."""
    least_fixed_s: float
    """Without any settling."""
    most_fixed_s: float
    """Settling as long as it may."""
    off_by: float
    """Factor by which the work may well be longer or shorter; 1 where the configuration says it."""

    @property
    def least_s(self) -> float:
        """The least that is likely."""
        return self.least_fixed_s + self.work_s / self.off_by

    @property
    def most_s(self) -> float:
        """The most that is likely."""
        return self.most_fixed_s + self.work_s * self.off_by


def duration_prior(config: ExperimentConfig, facts: ModelFacts) -> Prior:
    """What one experiment may be expected to take, loading and the idle power taken after it not counted."""
    work = planned_workload(config)
    batch_s = _batch_s(config, facts, work)
    warm_s = work.fewest_warmup_batches * batch_s
    fixed_s = HANDLING_S + work.floor_s + work.least_run_s
    settle_s = work.steady_limit_s
    if _is_sampled(config):
        fixed_s += COOLING_S + (config.baseline.after_seconds if config.baseline.enabled else 0.0)
        settle_s += work.settle_limit_s
    return Prior(
        fixed_s=fixed_s + SETTLING_SHARE * settle_s,
        work_s=_beyond_s(config, work, batch_s) + max(0.0, warm_s - work.floor_s) / _parts(config),
        least_fixed_s=fixed_s,
        most_fixed_s=fixed_s + settle_s,
        off_by=off_by(config, facts),
    )


def _beyond_s(config: ExperimentConfig, work: PlannedWorkload, batch_s: float) -> float:
    """What the run takes beyond its least length: it ends with the repetition of the workload under way then.

    Of that the configuration of the synthetic backend says how much is left; elsewhere half a repetition is as
    likely as any part of it.
    """
    once_s = work.batches * batch_s / _parts(config)
    beyond_s = once_s - work.least_run_s
    if beyond_s >= 0:
        return beyond_s
    if config.backend == "synthetic":
        return ceil(work.least_run_s / once_s) * once_s - work.least_run_s if once_s else 0.0
    return once_s / 2


def off_by(config: ExperimentConfig, facts: ModelFacts) -> float:
    """Factor by which the work of ``config``, or its load, may well be longer or shorter than expected."""
    if config.backend == "synthetic":
        return 1.0
    return OFF_BY if facts.parameters is not None else OFF_BY_UNKNOWN


def load_prior_s(config: ExperimentConfig, facts: ModelFacts) -> float:
    """What bringing a model to a worker costs: loading it, and the idle power taken with it resident."""
    context_s = config.baseline.duration_seconds if config.baseline.enabled and _is_sampled(config) else 0.0
    if config.backend == "synthetic":
        return context_s + config.synthetic.load_seconds
    return context_s + ENGINE_S + _weight_bytes(config, facts) / _parts(config) / WEIGHTS_BYTES_PER_S


def _parts(config: ExperimentConfig) -> int:
    """Processes that the model is divided over; those that share the requests have fewer batches instead."""
    need = need_of(config)
    return need.processes if need.parallelism == "tensor" and config.backend != "synthetic" else 1


def _is_sampled(config: ExperimentConfig) -> bool:
    return config.gpus > 0 and config.energy.backend != "null"


def _parameters(facts: ModelFacts) -> int:
    return facts.parameters if facts.parameters is not None else ASSUMED_PARAMETERS


def _weight_bytes(config: ExperimentConfig, facts: ModelFacts) -> float:
    if facts.weight_bytes is not None:
        return facts.weight_bytes
    return _parameters(facts) * WEIGHT_BYTES[config.precision]


def _batch_s(config: ExperimentConfig, facts: ModelFacts, work: PlannedWorkload) -> float:
    """One batch: its prompts at once, then a step for each output token that reads the weights once.

    Two operations for each parameter and token. Without a cache every step computes its whole prefix again.
    """
    if config.backend == "synthetic":
        return config.synthetic.run_seconds / work.batches
    on_cpu = config.gpus == 0 or (config.backend == "pytorch" and config.pytorch.device == "cpu")
    bytes_per_s, flops = (CPU_BYTES_PER_S, CPU_FLOPS) if on_cpu else (BOARD_BYTES_PER_S, BOARD_FLOPS)
    row_token_s = 2 * _parameters(facts) * work.rows / flops
    cached = config.backend != "pytorch" or config.pytorch.use_cache
    tokens = 1.0 if cached else config.max_input_tokens + config.max_output_tokens / 2
    step_s = STEP_OVERHEAD_S + max(_weight_bytes(config, facts) / bytes_per_s, row_token_s * tokens)
    return config.max_input_tokens * row_token_s + config.max_output_tokens * step_s
