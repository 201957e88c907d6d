"""Points of 1, 2 and 4 GPUs on eight simulated GPUs: how long wide ones wait, and what is held for them.

The sweep runs through ``run_sweep`` on a real local Ray, in the default order and in a shuffled one. Two figures
are read from the journal:

- **wait**: from a wide point's turn to its dispatch, over the longest duration of any point. Its turn has come
  when the points before it in the order of dispatch have all been dispatched. The default order takes the widest
  first.
- **held**: GPU-seconds on which nothing ran while points were still waiting, over all GPU-seconds until the last
  dispatch. Bringing workers up counts as held: it happens at each change of width, and takes seconds.

    python benchmarks/mixed.py
    python benchmarks/mixed.py --points 48 --median-s 10

Exit code 1 when a wide point waited for longer than the longest duration, or more than a tenth was held.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from llem_sweep import SweepConfig, plan_sweep, run_sweep
from per_experiment.cluster import private_ray

GPUS = 8
WIDTHS = (1, 2, 4)
MOST_HELD = 0.10


class Stay(NamedTuple):
    """A point on its worker, in seconds from the first dispatch."""

    gpus: int
    begin_s: float
    end_s: float


class Figures(NamedTuple):
    """What a sweep showed."""

    order: str
    makespan_s: float
    least_s: float
    """All work over all GPUs."""
    wait: float
    """Longest wait of a wide point for its turn, over the longest duration."""
    held: float
    """Share of the GPU-seconds until the last dispatch on which nothing ran."""


def mixed_sweep(order: str, points: int, median_s: float, seed: int) -> SweepConfig:
    """``points`` of random width and lognormal duration (σ 0.5)."""
    draw = random.Random(seed)
    include = [
        {
            "gpus": draw.choice(WIDTHS),
            "n": number + 1,
            "synthetic": {"run_seconds": round(median_s * draw.lognormvariate(0.0, 0.5), 3)},
        }
        for number in range(points)
    ]
    shared = {
        "model": "acme/mixed",
        "backend": "synthetic",
        "energy": {"backend": "null"},
        "warmup": {"enabled": False},
    }
    execution: Any = {"cycle_order": order}
    return SweepConfig(name=f"mixed-{order}", shared=shared, include=tuple(include), execution=execution)


def run(order: str, points: int, median_s: float, seed: int, output: Path) -> Figures:
    """Run one sweep on the Ray that this process is connected to."""
    sweep = mixed_sweep(order, points, median_s, seed)
    result = run_sweep(sweep, output=output, simulate_gpus=GPUS)
    if result.completed != points:
        raise RuntimeError(f"{result.completed} of {points} points completed: see {result.folder}")
    planned = plan_sweep(sweep).experiments
    found = stays(result.folder, {each.experiment_id: each.config.gpus for each in planned})
    turns = [found[each.experiment_id] for each in planned]
    if order == "blocked":
        # The widest first: among equals whoever was begun first was next.
        turns.sort(key=lambda stay: (-stay.gpus, stay.begin_s))
    return figures(order, turns)


def stays(folder: Path, width: Mapping[str, int]) -> dict[str, Stay]:
    """Every point's stay on its worker, by experiment id."""
    begun: dict[str, float] = {}
    found: dict[str, Stay] = {}
    for event in map(json.loads, (folder / "journal.jsonl").read_text().splitlines()):
        at_s, key = datetime.fromisoformat(event["time"]).timestamp(), event.get("experiment_id", "")
        if event["event"] == "dispatched":
            begun[key] = at_s
        elif event["event"] == "completed":
            found[key] = Stay(width[key], begun[key], at_s)
    first_s = min(begun.values())
    return {
        key: stay._replace(begin_s=stay.begin_s - first_s, end_s=stay.end_s - first_s)
        for key, stay in found.items()
    }


def figures(order: str, turns: Sequence[Stay]) -> Figures:
    """``turns`` are all stays in the order in which they had their turns."""
    longest_s = max(stay.end_s - stay.begin_s for stay in turns)
    turn_s = wait_s = 0.0
    for stay in turns:
        if stay.gpus > 1:
            wait_s = max(wait_s, stay.begin_s - turn_s)
        turn_s = max(turn_s, stay.begin_s)
    last_s = max(stay.begin_s for stay in turns)
    busy_s = sum(stay.gpus * (min(stay.end_s, last_s) - min(stay.begin_s, last_s)) for stay in turns)
    work_s = sum(stay.gpus * (stay.end_s - stay.begin_s) for stay in turns)
    return Figures(
        order=order,
        makespan_s=max(stay.end_s for stay in turns),
        least_s=work_s / GPUS,
        wait=wait_s / longest_s,
        held=1 - busy_s / (GPUS * last_s),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--points", type=int, default=48)
    parser.add_argument("--median-s", type=float, default=15.0)
    parser.add_argument("--seed", type=int, default=20260101)
    given = parser.parse_args()
    print(f"{given.points} points of 1, 2 and 4 GPUs on {GPUS} simulated GPUs, seed {given.seed}")
    print(f"{'order':<12}{'makespan':>10}{'work/GPUs':>11}{'wait':>8}{'held':>8}")
    missed = False
    with private_ray(GPUS) as (folder, _):
        for order in ("blocked", "shuffled"):
            found = run(order, given.points, given.median_s, given.seed, folder / order)
            print(
                f"{order:<12}{found.makespan_s:>8.1f} s{found.least_s:>9.1f} s{found.wait:>8.2f}{found.held:>8.1%}"
            )
            missed |= found.wait > 1.0 or found.held > MOST_HELD
    print(f"wait at most 1, held at most {MOST_HELD:.0%}: {'MISSED' if missed else 'reached'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
