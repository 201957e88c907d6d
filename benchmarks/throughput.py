"""Output tokens per second as measure() reports them against a bare generate() loop over the same batches.

The measured side is a whole measure(), its sampler reading a board (a simulated one off CUDA), and counts its
window alone. Every round runs three loops in an order that rotates: the measured one, a bare one, and a bare one
again. The ratio of measured to bare is judged by its median over the rounds; the ratio of bare to bare beside it
shows what the machine's own unrest amounts to. Exit code 1 when the median is below the target.

    python benchmarks/throughput.py
    python benchmarks/throughput.py --cuda --model meta-llama/Llama-3.1-8B --requests 64 --batch-size 32
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from contextlib import closing
from typing import NamedTuple, cast

import torch
from transformers import GenerationConfig

from llem_sweep.backends.protocol import LoadContext
from llem_sweep.backends.pytorch.generation import generation_arguments
from llem_sweep.backends.pytorch.loading import load_parts
from llem_sweep.backends.pytorch.model import TorchModel
from llem_sweep.backends.pytorch.placement import place
from llem_sweep.backends.pytorch.requests import make_batches, request_ids
from llem_sweep.clock import SystemClock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.harness.measure import measure
from llem_sweep.harness.rig import Rig
from llem_sweep.plan.types import PlannedExperiment
from on_one_model.arguments import board, model_fields, parser_of

TARGET = 0.98

Loop = Callable[[], float]
"""Runs all batches once; its length in seconds, from synchronised to synchronised."""


class Round(NamedTuple):
    """One run of each loop, in seconds."""

    measured_s: float
    bare_s: float
    bare_again_s: float


def measured_loop(config: ExperimentConfig, rig: Rig) -> Loop:
    """Whole measurements on one rig, the model loaded once; each returns the length of its window."""
    planned = PlannedExperiment("0" * 16, "0" * 16, config, 1, {})
    return lambda: measure(planned, rig).result.total_inference_time_sec


def bare_loop(config: ExperimentConfig, context: LoadContext) -> Loop:
    """generate() over equal batches with equal arguments, on an equal model of its own."""
    placement = place(config, context)
    parts = load_parts(config, placement)
    model = TorchModel(parts, placement, context)
    requests = request_ids(config, parts.model, parts.tokenizer, parts.special)
    batches = make_batches(requests, config.pytorch.batch_size, parts.special.pad, placement.device)
    generation = GenerationConfig.from_dict(generation_arguments(config, parts.special))
    generate = cast("Callable[..., torch.Tensor]", parts.model.generate)

    def bare() -> float:
        model.synchronize()
        begun_s = time.perf_counter()
        # generate() alone keeps what autograd would need of tensors: a few percent of a small model's time.
        with torch.inference_mode():
            for batch in batches:
                generate(
                    input_ids=batch.input_ids,
                    attention_mask=batch.attention_mask,
                    generation_config=generation,
                )
        model.synchronize()
        return time.perf_counter() - begun_s

    return bare


def compare(measured: Loop, bare: Loop, rounds: int) -> list[Round]:
    """``rounds`` rounds after one that isn't counted, their order rotating."""
    results = []
    for index in range(rounds + 1):
        seconds: dict[int, float] = {}
        for place_in_round in range(3):
            loop = (index + place_in_round) % 3
            seconds[loop] = (measured, bare, bare)[loop]()
        results.append(Round(seconds[0], seconds[1], seconds[2]))
    return results[1:]


def report(rounds: list[Round], tokens: int, target: float) -> bool:
    """Print the table; whether the median ratio reaches ``target``."""
    print(f"{'round':>5} {'measured tok/s':>14} {'bare tok/s':>11} {'measured/bare':>13} {'bare/bare':>10}")
    for number, each in enumerate(rounds, start=1):
        print(
            f"{number:>5} {tokens / each.measured_s:>14.1f} {tokens / each.bare_s:>11.1f} "
            f"{each.bare_s / each.measured_s:>13.3f} {each.bare_s / each.bare_again_s:>10.3f}"
        )
    ours = [each.bare_s / each.measured_s for each in rounds]
    noise = [each.bare_s / each.bare_again_s for each in rounds]
    for name, ratios in (("measured/bare", ours), ("bare/bare", noise)):
        low, _, high = statistics.quantiles(ratios, n=4)
        print(f"{name:<13} median {statistics.median(ratios):.3f}, middle half {low:.3f} to {high:.3f}")
    reached = statistics.median(ours) >= target
    print(f"target {target}: {'reached' if reached else 'MISSED'}")
    return reached


def main() -> int:
    parser = parser_of(__doc__, "tiny-llama", requests=16, batch_size=4, input_len=64, output_len=64)
    parser.add_argument("--rounds", type=int, default=11, help="at least 9 for a verdict")
    parser.add_argument("--target", type=float, default=TARGET)
    given = parser.parse_args()
    if given.rounds < 9:
        parser.error("--rounds must be at least 9")
    config = ExperimentConfig.model_validate(
        {
            **model_fields(given),
            "dataset": {"n": given.requests, "input_len": given.input_len, "output_len": given.output_len},
            "decoder": {"preset": "deterministic"},
            "pytorch": {"batch_size": given.batch_size},
            "warmup": {"enabled": False},
            "baseline": {"enabled": False},
        }
    )
    clock = SystemClock()
    context = LoadContext(gpus=1, simulated=not given.cuda, attempt=1)
    with closing(Rig((board(given, clock),), clock, node="benchmark")) as rig:
        rounds = compare(measured_loop(config, rig), bare_loop(config, context), given.rounds)
    return 0 if report(rounds, given.requests * given.output_len, given.target) else 1


if __name__ == "__main__":
    sys.exit(main())
