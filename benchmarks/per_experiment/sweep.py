"""A sweep of experiments that take no time, through ``run_sweep``."""

from __future__ import annotations

import json
import statistics
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from llem_sweep import SweepConfig, run_sweep
from per_experiment.cost import Cost
from per_experiment.meters import SweepMeter, resident_mib


def time_sweep(
    what: str,
    gpus: int,
    experiments: int,
    energy: str,
    output: Path,
    *,
    requests: int = 1,
    tokens: int = 1,
) -> Cost:
    """Run ``experiments`` of no duration on the Ray that this process is connected to.

    By default they are the smallest that there are. Stamps and records grow with ``requests`` and their output
    ``tokens``: they are what a measurement holds, and not what running it costs.
    """
    meter = SweepMeter()
    begun_s = time.time()
    result = run_sweep(
        no_ops(experiments, energy, requests, tokens), output=output, simulate_gpus=gpus, view=meter
    )
    ended_s, closed_mib = time.time(), resident_mib()
    if result.completed != experiments:
        raise RuntimeError(f"{result.completed} of {experiments} experiments completed: see {result.folder}")
    events = [json.loads(line) for line in (result.folder / "journal.jsonl").read_text().splitlines()]
    settled = _times(events, "completed")
    dispatched = _times(events, "dispatched")
    steady_s = max(_at_s(event) for event in _named(events, "worker_ready"))
    return Cost(
        what=what,
        settled_s=list(settled.values()),
        steady_s=steady_s,
        birth_s=steady_s - begun_s,
        closing_s=ended_s - max(settled.values()),
        on_worker_ms=statistics.median(1000 * (settled[each] - dispatched[each]) for each in settled),
        at_work=len({event["worker"] for event in _named(events, "completed") if _at_s(event) > steady_s}),
        cpu=meter.cpu,
        memory=meter.memory(closed_mib),
    )


def no_ops(experiments: int, energy: str, requests: int, tokens: int) -> SweepConfig:
    """One model that does nothing, at as many points as there are ``experiments``, for so many requests each, one
    at a time, and ``tokens`` of output for each of these.

    The idle power that is taken after every window, three seconds long by default, is left out: it is time that a
    measurement takes, not what running it costs.
    """
    return SweepConfig(
        name="overhead",
        shared={
            "model": "acme/no-op",
            "backend": "synthetic",
            "synthetic": {"output_tokens": tokens},
            "n": requests,
            "energy": {"backend": energy},
            "baseline": {"duration_seconds": 0.5, "after_seconds": 0},
            "warmup": {"n_warmup": 1, "thermal_floor_seconds": 0},
        },
        sweep={"random_seed": tuple(range(experiments))},
    )


def _times(events: list[dict[str, Any]], name: str) -> dict[str, float]:
    """When each experiment met event ``name``, by its id, in the journal's order."""
    return {event["experiment_id"]: _at_s(event) for event in _named(events, name)}


def _named(events: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == name]


def _at_s(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()
