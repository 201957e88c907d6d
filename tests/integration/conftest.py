"""One real Ray for all integration tests that don't test how Ray is started."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from llem_sweep import SweepConfig, load_sweep

RAY_GPUS = 4

WriteSweep = Callable[..., Path]


@pytest.fixture(scope="session")
def ray_address() -> Iterator[str]:
    """A local Ray of four GPUs, in a private folder, that this process is connected to; its address."""
    import ray

    # Ray's sockets live here, and a socket's path may have 107 characters at most.
    folder = tempfile.mkdtemp(prefix="llem", dir="/tmp")
    ray.init(
        address="local",
        num_gpus=RAY_GPUS,
        num_cpus=RAY_GPUS,
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=folder,
    )
    try:
        yield ray.get_runtime_context().gcs_address
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def write_sweep(tmp_path: Path) -> WriteSweep:
    """Write a sweep of the synthetic backend, quick unless told otherwise; the file's path."""

    def write(name: str = "grid", **fields: Any) -> Path:
        quick: dict[str, Any] = {
            "model": "acme/made-up-7b",
            "backend": "synthetic",
            "n": 8,
            "baseline": {"duration_seconds": 0.5},
            "warmup": {"n_warmup": 1, "thermal_floor_seconds": 0},
        }
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(quick | fields, sort_keys=False))
        return path

    return write


@pytest.fixture
def make_sweep(write_sweep: WriteSweep) -> Callable[..., SweepConfig]:
    """The same, loaded."""
    return lambda **fields: load_sweep(write_sweep(**fields))
