"""What an experiment ran on: machine and software."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from llem_sweep.harness.rig import Rig
from llem_sweep.results.environment import (
    ContainerInfo,
    CpuInfo,
    CudaInfo,
    EnvironmentSnapshot,
    HardwareInfo,
    ThermalInfo,
)
from llem_sweep.sampling.summary import WindowSummary

PACKAGES = (
    "llem-sweep",
    "torch",
    "transformers",
    "tokenizers",
    "accelerate",
    "safetensors",
    "nvidia-ml-py",
    "pyarrow",
    "pydantic",
    "ray",
)
"""Packages whose version can change a number or how it is written."""


def snapshot(
    rig: Rig,
    identity: Literal["assigned", "confirmed", "none"],
    summary: WindowSummary,
    effective: Mapping[str, Any],
) -> EnvironmentSnapshot:
    """The environment of the experiment that just ran on ``rig``."""
    driver = next((board.driver_version for board in rig.boards), None)
    cuda_version = effective.get("cuda_version")
    return EnvironmentSnapshot(
        node=rig.node,
        devices=rig.boards,
        identity=identity,
        nvml_library=rig.nvml_library,
        hardware=HardwareInfo(
            cuda=CudaInfo(
                available=effective.get("cuda_available"), version=cuda_version, driver_version=driver
            ),
            thermal=ThermalInfo(start_c=summary.temperature_start_c, max_c=summary.temperature_max_c),
            cpu=CpuInfo(
                model=cpu_model(),
                logical_cores=logical_cores(),
                threads=effective.get("cpu_threads"),
                platform=platform.platform(),
            ),
            container=container(),
        ),
        python_version=platform.python_version(),
        installed_packages=installed_packages(),
        tool_version=installed_packages()["llem-sweep"],
        cuda_version=cuda_version,
    )


@cache
def installed_packages() -> dict[str, str]:
    """Versions of :data:`PACKAGES`, read from their metadata without importing them."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def logical_cores() -> int | None:
    """Processors that this machine shows."""
    return os.cpu_count()


@cache
def cpu_model() -> str | None:
    """Name of the processor, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), None)


@cache
def container() -> ContainerInfo:
    """Whether this process runs in a container, by the marks that runtimes leave."""
    if Path("/.dockerenv").exists():
        return ContainerInfo(detected=True, runtime="docker")
    if Path("/run/.containerenv").exists():
        return ContainerInfo(detected=True, runtime="podman")
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return ContainerInfo(detected=True, runtime="kubernetes")
    return ContainerInfo()
