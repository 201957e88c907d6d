"""A sweep under way, in a process and on a Ray of its own, for those who watch it through Ray."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

PROCESS = Path(__file__).with_name("watched_process.py")
END_LIMIT_S = 30.0


class Watched(NamedTuple):
    """Where to look at the sweep."""

    process: subprocess.Popen[str]
    targets: Path
    """Ray's list of what Prometheus is to scrape."""
    dashboard: str
    """Host and port."""
    token: str


@contextmanager
def watched_sweep(grid: Path, output: Path) -> Iterator[Watched]:
    """Run ``grid`` on two simulated GPUs, Ray reporting its metrics every second; stopped at the end."""
    # Ray's sockets live here, and a socket's path may have 107 characters at most.
    folder = Path(tempfile.mkdtemp(prefix="llem", dir="/tmp"))
    token = secrets.token_hex(32)
    environ = os.environ | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": token,
        "RAY_metrics_report_interval_ms": "1000",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    log = folder / "driver.log"
    with log.open("w") as complaints:
        process = subprocess.Popen(
            [sys.executable, str(PROCESS), str(folder), str(grid), str(output)],
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            env=environ,
        )
    try:
        assert process.stdout is not None
        dashboard = process.stdout.readline().strip()
        assert dashboard, log.read_text()
        yield Watched(process, folder / "prom_metrics_service_discovery.json", dashboard, token)
    finally:
        # Twice is at once.
        for _ in range(2):
            process.terminate()
        try:
            process.communicate(timeout=END_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        shutil.rmtree(folder, ignore_errors=True)
