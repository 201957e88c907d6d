"""Sweeps on three local nodes of two simulated GPUs each, while drivers, workers and nodes are killed at random.

Each sweep of 200 experiments gets its share of the faults, from a seed of its own. Once it has ended: every
experiment ended exactly once, completed or failed with a reason; every folder is whole, sidecars held against
their digests; the summary agrees; no process stays and no GPU stays held. Exit code 1 when any of that isn't so.

    python benchmarks/chaos.py
    python benchmarks/chaos.py --seed 7 --sweeps 1
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from integration.aftermath import check_cluster, check_folder
from integration.chaos import GPUS, NODES, Chaos, Inside, Storm, plan_faults, write_grid
from integration.local_cluster import LocalCluster

EXPERIMENTS = 200
SWEEPS = 4
FAULTS = 26
"""From outside, for each sweep; what experiments do to themselves comes on top."""
INSIDE: Counter[str] = Counter({Inside.HANG: 2, Inside.DIE: 2})


class Ended(NamedTuple):
    """A sweep that went through it."""

    seed: int
    storm: Storm
    outcomes: Counter[str]


def weather(cluster: LocalCluster, seed: int, folder: Path) -> Ended:
    """One sweep from its first fault to the checks. Raises AssertionError where something isn't right."""
    grid = folder / "grid.yaml"
    write_grid(grid, seed, EXPERIMENTS, INSIDE)
    storm = Chaos(cluster, grid, folder / "out").run(plan_faults(seed, FAULTS, EXPERIMENTS))
    (sweep,) = (folder / "out").iterdir()
    outcomes = check_folder(sweep)
    check_cluster(cluster, NODES * GPUS)
    return Ended(seed, storm, outcomes)


def report(ended: Sequence[Ended]) -> None:
    """Print what befell the sweeps and what became of them."""
    faults = sum((each.storm.faults for each in ended), Counter[str]())
    outcomes = sum((each.outcomes for each in ended), Counter[str]())
    print(f"\n{faults.total()} faults over {len(ended)} sweeps of {EXPERIMENTS} experiments")
    for kind, count in faults.most_common():
        print(f"  {count:4}  {kind}")
    print(f"resumes: {sum(each.storm.resumes for each in ended)}")
    print("outcomes: " + ", ".join(f"{count} {name}" for name, count in outcomes.most_common()))
    print(f"wall time: {sum(each.storm.wall_s for each in ended):.0f} s")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sweeps; 0 when every check held."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=None, help="of the first sweep; the next ones count up")
    parser.add_argument("--sweeps", type=int, default=SWEEPS)
    asked = parser.parse_args(arguments)
    first = random.SystemRandom().randrange(2**31) if asked.seed is None else asked.seed
    ended: list[Ended] = []
    for seed in range(first, first + asked.sweeps):
        print(f"seed {seed}", flush=True)
        cluster = LocalCluster(*[GPUS] * NODES)
        try:
            folder = Path(tempfile.mkdtemp(prefix="chaos"))
            ended.append(weather(cluster, seed, folder))
        except AssertionError as fault:
            print(f"seed {seed}, {folder}: {fault}", file=sys.stderr)
            return 1
        finally:
            cluster.close()
        storm = ended[-1].storm
        print(
            f"  {storm.faults.total()} faults, {storm.wall_s:.0f} s, {dict(ended[-1].outcomes)}", flush=True
        )
    report(ended)
    return 0


if __name__ == "__main__":
    sys.exit(main())
