"""Builds the stand-in NVML library."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

LIBRARY = "libnvidia-ml.so.1"


def compiler() -> str | None:
    """Path of a C compiler; None where there is none."""
    return next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)


def build_standin(folder: Path) -> Path:
    """Compile the library into ``folder``, which is then to stand first on ``LD_LIBRARY_PATH``; returns its path.

    Raises RuntimeError without a C compiler and CalledProcessError when compiling fails.
    """
    command = compiler()
    if command is None:
        raise RuntimeError("no C compiler on PATH; install gcc to build the stand-in NVML library")
    library = folder / LIBRARY
    sources = [str(Path(__file__).with_name(name)) for name in ("nvml.c", "traces.c")]
    flags = ["-shared", "-fPIC", "-pthread", "-O1", "-std=gnu11", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([command, *flags, "-o", str(library), *sources, "-lm"], check=True)
    return library
