"""How long an experiment may take before it counts as hung."""

from __future__ import annotations

from math import ceil

from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.plan.need import need_of

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
    warmup_batches = 0
    floor_s = settle_s = 0.0
    if config.warmup.enabled:
        warmup = config.warmup
        warmup_batches = max(warmup.n_warmup, warmup.max_prompts if warmup.convergence_detection else 0)
        if warmup.thermal_floor_seconds:
            floor_s = warmup.thermal_floor_seconds
            settle_s = warmup.settle_limit_seconds
    batch_size = config.pytorch.batch_size if config.backend == "pytorch" else 1
    need = need_of(config)
    # In data mode the largest share of the requests, of which no process has more.
    requests = ceil(config.n / need.processes) if need.parallelism == "data" else config.n
    batches = ceil(requests / batch_size)
    if config.backend == "synthetic":
        work_s = config.synthetic.run_seconds * (1 + warmup_batches / batches)
    else:
        # Beams are rows of a batch: they multiply its work.
        batch_s = config.max_output_tokens * DECODE_STEP_S
        batch_s += min(batch_size, requests) * config.max_input_tokens * PREFILL_TOKEN_S
        beams = config.pytorch.num_beams if config.backend == "pytorch" else 1
        work_s = (batches + warmup_batches) * batch_s * beams
    # Warm-up up to its floor runs whole batches, so it may overrun by as much again.
    return max(LEAST_TIMEOUT_S, 2 * floor_s + settle_s + 2 * work_s)
