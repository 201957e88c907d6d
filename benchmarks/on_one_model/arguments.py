"""The model, the workload and the board that are chosen on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from llem_sweep.clock import Clock
from llem_sweep.device.nvml import NvmlGpu, list_boards
from llem_sweep.device.protocol import Gpu
from llem_sweep.device.simulated import simulated_boards

MODELS = Path(__file__).parents[2] / "sweeps" / "models"


def parser_of(
    program: str | None, model: str, *, requests: int, batch_size: int, input_len: int, output_len: int
) -> argparse.ArgumentParser:
    """A parser of the program whose docstring is ``program``, with these defaults; ``model`` is a shipped one."""
    parser = argparse.ArgumentParser(description=program.splitlines()[0] if program else None)
    parser.add_argument("--model", default=str(MODELS / model), help="Hub id or local folder")
    parser.add_argument("--pretrained", action="store_true", help="load weights instead of random ones")
    parser.add_argument("--cuda", action="store_true", help="compute on the first visible GPU")
    parser.add_argument(
        "--precision", default=None, help="fp32 (default on the CPU), bf16 (default on a GPU)"
    )
    parser.add_argument("--requests", type=int, default=requests)
    parser.add_argument("--batch-size", type=int, default=batch_size)
    parser.add_argument("--input-len", type=int, default=input_len, help="tokens of the longest prompt")
    parser.add_argument("--output-len", type=int, default=output_len, help="tokens of the longest answer")
    return parser


def model_fields(given: argparse.Namespace) -> dict[str, Any]:
    """The fields of an experiment that say which model is loaded, and how."""
    return {
        "model": given.model,
        "weights": "pretrained" if given.pretrained else "random",
        "precision": given.precision or ("bf16" if given.cuda else "fp32"),
    }


def board(given: argparse.Namespace, clock: Clock) -> Gpu:
    """The first visible board with ``--cuda``, else a simulated one."""
    return NvmlGpu.open(list_boards()[0].uuid) if given.cuda else simulated_boards([0], clock)[0]
