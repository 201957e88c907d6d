"""A sweep on two simulated GPUs, on a Ray of its own with its dashboard: FOLDER GRID OUTPUT.

FOLDER is Ray's own. The first line told is the dashboard's address.
"""

from __future__ import annotations

import logging
import sys

import ray

from llem_sweep import load_sweep, run_sweep
from llem_sweep.execution.progress import FailureNote, Progress

GPUS = 2


class Watching:
    """Somebody who wants to know everything, and does nothing with it."""

    def message(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def failed(self, note: FailureNote) -> None:
        print(f"{note.experiment}: {note.message}", file=sys.stderr, flush=True)

    def update(self, progress: Progress) -> None:
        pass

    def close(self) -> None:
        pass


def main(folder: str, grid: str, output: str) -> int:
    context = ray.init(
        address="local",
        num_gpus=GPUS,
        num_cpus=GPUS,
        include_dashboard=True,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _temp_dir=folder,
    )
    print(context.dashboard_url, flush=True)
    try:
        result = run_sweep(load_sweep(grid), output=output, simulate_gpus=GPUS, view=Watching())
        return result.exit_code
    finally:
        ray.shutdown()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
