"""A sweep on simulated GPUs of a cluster that is there already: ADDRESS (GRID OUTPUT | --resume FOLDER)."""

from __future__ import annotations

import logging
import os
import sys

import ray

from llem_sweep import LlemSweepError, load_sweep, run_sweep
from llem_sweep.execution import limits
from llem_sweep.execution.progress import FailureNote
from llem_sweep.sweep import SilentView

SILENCE = "LLEM_TEST_SILENCE_S"
"""How long a worker may be silent, where a test can't wait for as long as everybody."""


class Printing(SilentView):
    def message(self, text: str) -> None:
        print(text, flush=True)

    def failed(self, note: FailureNote) -> None:
        print(f"failed: {note.experiment}: {note.stage}: {note.message}", flush=True)


def main(address: str, first: str, second: str) -> int:
    if (silence_s := os.environ.get(SILENCE)) is not None:
        limits.LEAST_SILENCE_S = float(silence_s)
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        if first == "--resume":
            result = run_sweep(resume=second, view=Printing())
        else:
            result = run_sweep(load_sweep(first), output=second, simulate_gpus=1, view=Printing())
    except LlemSweepError as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        return error.exit_code if hasattr(error, "exit_code") else 3
    print(f"completed {result.completed}, failed {result.failed}", flush=True)
    return result.exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
