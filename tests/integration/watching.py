"""What a sweep under way has left on disk so far."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llem_sweep import load_result


def journal(output: Path) -> list[dict[str, Any]]:
    """Every event of the sweeps in ``output``."""
    return [
        json.loads(line) for path in output.rglob("journal.jsonl") for line in path.read_text().splitlines()
    ]


def results(output: Path) -> Counter[str]:
    """How many results each experiment has."""
    return Counter(load_result(path).experiment_id for path in output.rglob("result.json"))


def wait_until(true: Callable[[], object], limit_s: float = 90.0) -> None:
    """Wait for something to become true."""
    deadline_s = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline_s, "it didn't happen"
        time.sleep(0.1)


def wait_for(output: Path, event: str, limit_s: float = 60.0) -> dict[str, Any]:
    """The last event of a kind, once there is one."""
    wait_until(lambda: any(each["event"] == event for each in journal(output)), limit_s)
    return [each for each in journal(output) if each["event"] == event][-1]
