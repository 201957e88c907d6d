"""How long an experiment may take before it counts as hung."""

from __future__ import annotations

from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.plan.workload import planned_workload

LEAST_TIMEOUT_S = 600.0
"""Never less than this: the limit finds what hangs, it doesn't rank what is slow."""
DECODE_STEP_S = 0.5
"""Allowed for one decoding step of one batch: some ten times what a large model takes on one board."""
PREFILL_TOKEN_S = 0.002
"""Allowed for one token of one prompt in prefill."""


def default_timeout_s(config: ExperimentConfig) -> float:
    """Limit on one experiment in seconds, loading and idle power not counted.

    The sum of the time under load that warm-up asks for and, for every batch of warm-up and measurement,
    a generous time for its prompt tokens and decoding steps; for the synthetic backend the time it is told to
    take. Not less than ten minutes.
    """
    work = planned_workload(config)
    if config.backend == "synthetic":
        work_s = config.synthetic.run_seconds * (1 + work.most_warmup_batches / work.batches)
    else:
        row_s = config.max_input_tokens * PREFILL_TOKEN_S
        # Decoding steps take a batch at a time, but beams multiply their work.
        beams = config.pytorch.num_beams if config.backend == "pytorch" else 1
        batch_s = config.max_output_tokens * DECODE_STEP_S * beams + work.rows * row_s
        work_s = (work.batches + work.most_warmup_batches) * batch_s
    # Warm-up up to its floor runs whole batches, so it may overrun by as much again.
    return max(LEAST_TIMEOUT_S, 2 * work.floor_s + work.settle_limit_s + 2 * work_s)
