"""Output tokens per second of the PyTorch backend against a bare generate() loop over the same batches.

Every round runs three loops in an order that rotates: the backend's, a bare one, and a bare one again. The ratio
of the backend to the bare loop is judged by its median over the rounds; the ratio of bare to bare beside it shows
what the machine's own unrest amounts to. Exit code 1 when the median is below the target.

    python benchmarks/throughput.py
    python benchmarks/throughput.py --cuda --model meta-llama/Llama-3.1-8B --requests 64 --batch-size 32
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, cast

import torch

from llem_sweep.backends.protocol import LoadContext, LoadedModel
from llem_sweep.backends.pytorch.generation import generation_arguments
from llem_sweep.backends.pytorch.loading import load_parts
from llem_sweep.backends.pytorch.model import TorchModel
from llem_sweep.backends.pytorch.placement import place
from llem_sweep.backends.pytorch.requests import make_batches, request_ids
from llem_sweep.clock import SystemClock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.phases import PhaseStream

TINY = Path(__file__).parents[1] / "sweeps" / "models" / "tiny-llama"
TARGET = 0.97

Loop = Callable[[], float]
"""Runs all batches once; its length in seconds, from synchronised to synchronised."""


class Round(NamedTuple):
    """One run of each loop, in seconds."""

    backend_s: float
    bare_s: float
    bare_again_s: float


def backend_loop(model: LoadedModel, config: ExperimentConfig) -> Loop:
    """The batches as the measured window runs them: prepared before, every phase marked."""
    workload = model.prepare(config)
    phases = PhaseStream(SystemClock())

    def run() -> float:
        model.synchronize()
        begun_s = time.perf_counter()
        for index in range(workload.batches):
            workload.run_batch(index, phases.mark)
        model.synchronize()
        return time.perf_counter() - begun_s

    return run


def loops(config: ExperimentConfig, context: LoadContext) -> tuple[Loop, Loop]:
    """The backend's loop and the bare one, over one model and equal batches."""
    placement = place(config, context)
    parts = load_parts(config, placement)
    model = TorchModel(parts, placement)
    requests = request_ids(config, parts.model, parts.tokenizer, parts.special)
    batches = make_batches(requests, config.pytorch.batch_size, parts.special.pad, placement.device)
    arguments = generation_arguments(config, parts.special)
    generate = cast("Callable[..., torch.Tensor]", parts.model.generate)

    def bare() -> float:
        model.synchronize()
        begun_s = time.perf_counter()
        for batch in batches:
            generate(input_ids=batch.input_ids, attention_mask=batch.attention_mask, **arguments)
        model.synchronize()
        return time.perf_counter() - begun_s

    return backend_loop(model, config), bare


def compare(backend: Loop, bare: Loop, rounds: int) -> list[Round]:
    """``rounds`` rounds after one that isn't counted, their order rotating."""
    results = []
    for index in range(rounds + 1):
        seconds: dict[int, float] = {}
        for place_in_round in range(3):
            loop = (index + place_in_round) % 3
            seconds[loop] = (backend, bare, bare)[loop]()
        results.append(Round(seconds[0], seconds[1], seconds[2]))
    return results[1:]


def report(rounds: list[Round], tokens: int, target: float) -> bool:
    """Print the table; whether the median ratio reaches ``target``."""
    print(f"{'round':>5} {'backend tok/s':>14} {'bare tok/s':>11} {'backend/bare':>13} {'bare/bare':>10}")
    for number, each in enumerate(rounds, start=1):
        print(
            f"{number:>5} {tokens / each.backend_s:>14.1f} {tokens / each.bare_s:>11.1f} "
            f"{each.bare_s / each.backend_s:>13.3f} {each.bare_s / each.bare_again_s:>10.3f}"
        )
    ours = [each.bare_s / each.backend_s for each in rounds]
    noise = [each.bare_s / each.bare_again_s for each in rounds]
    for name, ratios in (("backend/bare", ours), ("bare/bare", noise)):
        low, _, high = statistics.quantiles(ratios, n=4)
        print(f"{name:<13} median {statistics.median(ratios):.3f}, middle half {low:.3f} to {high:.3f}")
    reached = statistics.median(ours) >= target
    print(f"target {target}: {'reached' if reached else 'MISSED'}")
    return reached


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default=str(TINY), help="Hub id or local folder")
    parser.add_argument("--pretrained", action="store_true", help="load weights instead of random ones")
    parser.add_argument("--cuda", action="store_true", help="compute on the first visible GPU")
    parser.add_argument(
        "--precision", default=None, help="fp32 (default on the CPU), bf16 (default on a GPU)"
    )
    parser.add_argument("--requests", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--input-len", type=int, default=64)
    parser.add_argument("--output-len", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=11, help="at least 9 for a verdict")
    parser.add_argument("--target", type=float, default=TARGET)
    given = parser.parse_args()
    if given.rounds < 9:
        parser.error("--rounds must be at least 9")
    config = ExperimentConfig.model_validate(
        {
            "model": given.model,
            "weights": "pretrained" if given.pretrained else "random",
            "gpus": int(given.cuda),
            "precision": given.precision or ("bf16" if given.cuda else "fp32"),
            "dataset": {"n": given.requests, "input_len": given.input_len, "output_len": given.output_len},
            "decoder": {"preset": "deterministic"},
            "pytorch": {"batch_size": given.batch_size},
        }
    )
    backend, bare = loops(config, LoadContext(int(given.cuda), False, 1))
    rounds = compare(backend, bare, given.rounds)
    return 0 if report(rounds, given.requests * given.output_len, given.target) else 1


if __name__ == "__main__":
    sys.exit(main())
