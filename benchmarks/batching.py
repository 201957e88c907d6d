"""Static, sorted and continuous batching side by side, on prompts and answers of many lengths.

Prompts are the built-in ones. Sampling from random weights ends an answer by chance, one token in as many as there
are, so that answers differ in length as well. Every round runs each kind once, in an order that rotates, over the
same model. Speeds are output tokens per second of the window that measure() reports: their median, and that of
their ratio to static batching in the same round.

    python benchmarks/batching.py
    python benchmarks/batching.py --cuda --model sweeps/models/dense-1b --requests 256 --batch-size 32
"""

from __future__ import annotations

import argparse
import statistics
import sys
from contextlib import closing
from typing import Any, NamedTuple

from llem_sweep.clock import SystemClock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.harness.measure import measure
from llem_sweep.harness.rig import Rig
from llem_sweep.plan.types import PlannedExperiment
from on_one_model.arguments import board, model_fields, parser_of

KINDS = ("static", "sorted", "continuous")


class Run(NamedTuple):
    """One measured window."""

    tokens_per_s: float
    output_tokens: int
    batches: int
    batch_size: float
    padding: float


def configuration(given: argparse.Namespace, kind: str) -> ExperimentConfig:
    """The workload by one kind of batching."""
    limit: dict[str, Any] = {"batch_size": given.batch_size}
    if kind == "continuous":
        limit = {"max_batch_tokens": given.max_batch_tokens}
    return ExperimentConfig.model_validate(
        {
            **model_fields(given),
            "n": given.requests,
            "max_input_tokens": given.input_len,
            "max_output_tokens": given.output_len,
            "decoder": {"temperature": 1.0, "top_k": 0},
            "pytorch": {"batching": kind, "attn_implementation": given.attention, **limit},
            "warmup": {"n_warmup": 1, "thermal_floor_seconds": 0.0},
            "baseline": {"enabled": False},
        }
    )


def run(config: ExperimentConfig, rig: Rig) -> Run:
    """One whole measurement; the model stays loaded."""
    result = measure(PlannedExperiment("0" * 16, "0" * 16, config, 1, {}), rig).result
    metrics = result.extended_metrics
    if metrics is None or metrics.batch_count is None or metrics.effective_batch_size is None:
        raise RuntimeError("the result says nothing of its batches")
    speed, padding = result.avg_tokens_per_second, metrics.padding_ratio or 0.0
    return Run(speed, result.output_tokens, metrics.batch_count, metrics.effective_batch_size, padding)


def report(runs: dict[str, list[Run]]) -> None:
    """Print a line for each kind, and its speed against static batching round by round."""
    print(
        f"{'batching':<11} {'tok/s':>8} {'/static':>8} {'tokens':>7} {'batches':>8} {'size':>6} {'padding':>8}"
    )
    for kind, of_kind in runs.items():
        ratios = [
            each.tokens_per_s / static.tokens_per_s
            for each, static in zip(of_kind, runs["static"], strict=True)
        ]
        last = of_kind[-1]
        print(
            f"{kind:<11} {statistics.median(each.tokens_per_s for each in of_kind):>8.1f} "
            f"{statistics.median(ratios):>8.2f} {last.output_tokens:>7} {last.batches:>8} "
            f"{last.batch_size:>6.2f} {last.padding:>8.1%}"
        )


def main() -> int:
    parser = parser_of(__doc__, "tiny-llama-deep", requests=24, batch_size=8, input_len=256, output_len=128)
    parser.add_argument("--attention", default=None, help="flash_attention_2, for example")
    parser.add_argument("--max-batch-tokens", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    clock = SystemClock()
    runs: dict[str, list[Run]] = {kind: [] for kind in KINDS}
    with closing(Rig((board(given, clock),), clock, node="benchmark")) as rig:
        for number in range(given.rounds):
            for place in range(len(KINDS)):
                kind = KINDS[(number + place) % len(KINDS)]
                runs[kind].append(run(configuration(given, kind), rig))
    report(runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
