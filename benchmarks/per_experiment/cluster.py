"""A local Ray for one comparison."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import ray


@contextlib.contextmanager
def private_ray(gpus: int) -> Iterator[tuple[Path, float]]:
    """A local Ray of simulated GPUs: its folder, removed at the end, and the seconds it took to start."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # Ray refuses more GPUs than it names
    # Ray's sockets live here, and a socket's path may have 107 characters at most.
    folder = Path(tempfile.mkdtemp(prefix="llem", dir="/tmp"))
    begun_s = time.perf_counter()
    ray.init(
        address="local",
        num_gpus=gpus,
        num_cpus=gpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _temp_dir=str(folder),
    )
    try:
        yield folder, time.perf_counter() - begun_s
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
