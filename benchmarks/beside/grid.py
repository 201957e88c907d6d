"""One grid, written down for both programs, and read back from what each of them ran."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

SEED = 42
FULL_WARM_UPS = 2
"""Whole batches that optimum-benchmark runs before it counts, whatever ``warmup_runs`` says (unless it is 0)."""
_BATCH_SIZE = "scenario.input_shapes.batch_size"
_INPUT_LEN = "scenario.input_shapes.sequence_length"
_OUTPUT_LEN = "scenario.generate_kwargs.max_new_tokens"


class Point(NamedTuple):
    """The work of one point."""

    batch_size: int
    input_len: int
    """Tokens of each prompt."""
    output_len: int
    """Tokens of each answer."""
    iterations: int
    """Batches measured."""


class Grid(NamedTuple):
    """Every combination of three lists."""

    batch_sizes: tuple[int, ...] = (1, 4)
    input_lens: tuple[int, ...] = (16, 64, 128)
    output_lens: tuple[int, ...] = (8, 32)
    iterations: int = 10
    short_warm_ups: int = 1
    """``warmup_runs`` of optimum-benchmark: batches of two tokens, after the whole ones."""

    @property
    def points(self) -> frozenset[Point]:
        """All of them."""
        return frozenset(
            Point(*lengths, self.iterations)
            for lengths in product(self.batch_sizes, self.input_lens, self.output_lens)
        )

    @property
    def first(self) -> Grid:
        """The first point alone."""
        return self._replace(
            batch_sizes=self.batch_sizes[:1],
            input_lens=self.input_lens[:1],
            output_lens=self.output_lens[:1],
        )


def our_sweep(grid: Grid, model: Path) -> dict[str, Any]:
    """The sweep file. As many batches warm up as in :func:`their_sweep`, here all of them whole."""
    return {
        "name": "beside",
        "model": str(model),
        "gpus": 0,
        "precision": "fp32",
        "random_seed": SEED,
        "decoder": {"preset": "deterministic"},
        "dataset": {"seed": SEED},
        "warmup": {"n_warmup": FULL_WARM_UPS + grid.short_warm_ups, "thermal_floor_seconds": 0},
        "sweep": {
            "dataset.input_len": list(grid.input_lens),
            "dataset.output_len": list(grid.output_lens),
        },
        "zip": {
            "pytorch.batch_size": list(grid.batch_sizes),
            "dataset.n": [size * grid.iterations for size in grid.batch_sizes],
        },
        "execution": {"cpu_workers": 1},
    }


def their_sweep(grid: Grid, model: Path, start_method: str, output: Path) -> dict[str, Any]:
    """Hydra's configuration of a multirun of optimum-benchmark, process launcher.

    ``duration: 0`` lets the iterations alone decide. Memory and energy stay off, as by default: each would repeat
    the generation.
    """
    return {
        "defaults": [
            "benchmark",
            {"scenario": "inference"},
            {"launcher": "process"},
            {"backend": "pytorch"},
            "_self_",
        ],
        "hydra": {
            "mode": "MULTIRUN",
            "sweep": {"dir": str(output), "subdir": "${hydra.job.num}"},
            "job": {"chdir": True},
            "sweeper": {
                "params": {
                    _BATCH_SIZE: _listed(grid.batch_sizes),
                    _INPUT_LEN: _listed(grid.input_lens),
                    _OUTPUT_LEN: _listed(grid.output_lens),
                }
            },
        },
        "name": "beside",
        "launcher": {"start_method": start_method},
        "backend": {
            "model": str(model),
            "library": "transformers",
            "task": "text-generation",
            "model_type": "llama",
            "device": "cpu",
            "torch_dtype": "float32",
            "seed": SEED,
        },
        "scenario": {
            "iterations": grid.iterations,
            "duration": 0,
            "warmup_runs": grid.short_warm_ups,
            "latency": True,
            "memory": False,
            "energy": False,
            # Hydra sweeps only over keys that are there.
            "input_shapes": {"batch_size": grid.batch_sizes[0], "sequence_length": grid.input_lens[0]},
            "generate_kwargs": {
                "max_new_tokens": grid.output_lens[0],
                "min_new_tokens": f"${{{_OUTPUT_LEN}}}",
            },
        },
    }


def _listed(values: tuple[int, ...]) -> str:
    return ",".join(map(str, values))


def our_point(config: Mapping[str, Any]) -> Point:
    """What an experiment's configuration asks for; ``n`` requests are so many batches."""
    dataset, batch_size = config["dataset"], config["pytorch"]["batch_size"]
    batches = -(-dataset["n"] // batch_size)
    return Point(batch_size, dataset["input_len"], dataset["output_len"], batches)


def their_point(config: Mapping[str, Any]) -> Point:
    """What the resolved configuration of one job asks for; ValueError when its answers may differ in length."""
    scenario = config["scenario"]
    shapes, generate = scenario["input_shapes"], scenario["generate_kwargs"]
    if generate["min_new_tokens"] != generate["max_new_tokens"] or scenario["duration"]:
        raise ValueError(f"answers or iterations aren't fixed: {scenario}")
    return Point(
        shapes["batch_size"], shapes["sequence_length"], generate["max_new_tokens"], scenario["iterations"]
    )
