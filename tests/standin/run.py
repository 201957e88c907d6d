"""Runs a script where the stand-in library is NVML, which it has to be from a process's start."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any


def run_script(script: str, environ: Mapping[str, str], *arguments: str) -> Any:
    """What ``script`` prints as JSON; fails with what it said when it fails."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
