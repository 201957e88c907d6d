"""How long an experiment may take before it counts as hung."""

from __future__ import annotations

from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.sweep import ExecutionConfig
from llem_sweep.phases import Phase
from llem_sweep.plan.need import need_of
from llem_sweep.plan.workload import PlannedWorkload, planned_workload

LEAST_TIMEOUT_S = 600.0
"""Never less than this: the limit finds what hangs, it doesn't rank what is slow."""
DECODE_STEP_S = 0.5
"""Allowed for one decoding step of one batch: some ten times what a large model takes on one board."""
PREFILL_TOKEN_S = 0.002
"""Allowed for one token of one prompt in prefill."""
LEAST_STALL_S = 300.0
"""A batch, and what has no length of its own, may always take this long."""
COMPILE_S = 1800.0
"""Allowed for compiling a model before its first batch: some ten times what a large one takes."""
START_S = 600.0
"""Allowed for a worker to come up, its cold baseline not counted: the first import on a slow shared disk."""


def default_timeout_s(config: ExperimentConfig) -> float:
    """Limit on one experiment in seconds, loading and idle power not counted.

    The sum of the time under load that warm-up and measurement ask for and, for every batch of warm-up and
    workload, a generous time for its prompt tokens and decoding steps; for the synthetic backend the time it is
    told to take. Not less than ten minutes, and half an hour more where something is compiled.
    """
    work = planned_workload(config)
    if config.backend == "synthetic":
        work_s = config.synthetic.run_seconds * (1 + work.most_warmup_batches / work.batches)
    else:
        work_s = (work.batches + work.most_warmup_batches) * _batch_s(config, work)
    # Warm-up up to its floor runs whole batches, so it may overrun by as much again; a run that is to last for
    # some time overruns by one workload at most, which is counted.
    load_s = 2 * work.floor_s + work.settle_limit_s + work.least_run_s + work.steady_limit_s + 2 * work_s
    if work.least_prefill_s:
        # To the first token no batch takes longer than to its end.
        load_s += work.least_prefill_s + work_s
    return max(LEAST_TIMEOUT_S, load_s) + _compile_s(config)


def stall_limit_s(config: ExperimentConfig, execution: ExecutionConfig, phase: Phase) -> float:
    """How long an experiment may show no progress in ``phase``, in seconds: neither a batch done nor a new phase.

    Loading is the user's disk or network, and has a limit of its own; idle power takes the time that it is asked
    to; a batch takes at most what :func:`default_timeout_s` allows for it. A model that is loaded already is
    compiled between experiments, where nothing else takes long.
    """
    if phase is Phase.LOAD:
        return execution.load_timeout_seconds
    if execution.stall_timeout_seconds is not None:
        return execution.stall_timeout_seconds + _asked_s(config, phase)
    batch_s = (
        config.synthetic.run_seconds
        if config.backend == "synthetic"
        else _batch_s(config, planned_workload(config))
    )
    if phase in (Phase.IDLE, Phase.BASELINE, Phase.CONTEXT, Phase.COOL):
        # Processes wait for each other before prefill by itself, one of them with a batch more to run.
        waits_s = 2 * batch_s if config.measurement.prefill_window and need_of(config).processes > 1 else 0.0
        return LEAST_STALL_S + _asked_s(config, phase) + _compile_s(config) + waits_s
    return max(LEAST_STALL_S, 2 * batch_s)


def _asked_s(config: ExperimentConfig, phase: Phase) -> float:
    """What a phase without batches is asked to last."""
    if phase in (Phase.BASELINE, Phase.CONTEXT):
        return config.baseline.duration_seconds + config.baseline.after_seconds
    return 0.0


def _compile_s(config: ExperimentConfig) -> float:
    return COMPILE_S if config.backend == "pytorch" and config.pytorch.torch_compile else 0.0


def _batch_s(config: ExperimentConfig, work: PlannedWorkload) -> float:
    """Generous time for one batch. Beams are rows of a batch: they multiply its work."""
    step_s = DECODE_STEP_S * (config.pytorch.num_beams if config.backend == "pytorch" else 1)
    return config.max_output_tokens * step_s + work.rows * config.max_input_tokens * PREFILL_TOKEN_S
