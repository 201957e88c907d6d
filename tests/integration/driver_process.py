"""A sweep on simulated GPUs of a cluster that is there already: ADDRESS (GRID OUTPUT | --resume FOLDER)."""

from __future__ import annotations

import logging
import sys

import ray

from llem_sweep import LlemSweepError, load_sweep, run_sweep
from llem_sweep.execution.progress import FailureNote
from llem_sweep.sweep import SilentView


class Printing(SilentView):
    def message(self, text: str) -> None:
        print(text, flush=True)

    def failed(self, note: FailureNote) -> None:
        print(f"failed: {note.experiment}: {note.stage}: {note.message}", flush=True)


def main(address: str, first: str, second: str) -> int:
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
