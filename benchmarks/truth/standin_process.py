"""Processes that see the boards of the stand-in NVML library: it must be on the loader's path from their start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from standin.build import build_standin, compiler
from standin.truth import StandIn

_IMPORTED_FROM = Path(__file__).parents[1]


def why_not() -> str | None:
    """Why the library can't be used here; None when it can."""
    return None if compiler() else "the stand-in NVML library can't be built without a C compiler"


def run_on(standin: StandIn, module: str, *arguments: object, also: Path | None = None) -> Any:
    """Run ``python -m module`` with the library first on the loader's path; the JSON that it printed last.

    It finds packages in ``also``, too.

    Raises CalledProcessError when it fails; what it wrote to stderr is then on this process's.
    """
    with tempfile.TemporaryDirectory() as folder:
        build_standin(Path(folder))
        environ = standin.environ(Path(folder))
        environ.pop("CUDA_VISIBLE_DEVICES", None)
        paths = [
            str(_IMPORTED_FROM),
            *filter(None, [environ.get("PYTHONPATH")]),
            *([str(also)] if also else []),
        ]
        done = subprocess.run(
            [sys.executable, "-m", module, *map(str, arguments)],
            env=environ | {"PYTHONPATH": os.pathsep.join(paths)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return json.loads(done.stdout.splitlines()[-1])
