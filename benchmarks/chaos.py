"""Sweeps on three local nodes of two simulated GPUs each, while drivers, workers and nodes are killed at random.

Sweeps of 200 experiments get their share of the faults, each from a seed of its own, until enough faults took
place. Once a sweep has ended: every experiment ended exactly once, completed or failed with a reason; each folder
is whole, sidecars held against their digests; the summary agrees; no process stays and no GPU stays held. Where
any of that isn't so, what the sweep left is kept and the exit code is 1.

    python benchmarks/chaos.py
    python benchmarks/chaos.py --seed 7 --faults 1
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from integration.aftermath import check_cluster, check_folder
from integration.chaos import GPUS, NODES, Chaos, Inside, Storm, plan_faults, write_grid
from integration.disk import Disk, small_disk
from integration.local_cluster import LocalCluster
from llem_sweep import LlemSweepError

EXPERIMENTS = 200
FAULTS = 100
OUTSIDE = 32
"""Faults from outside, for each sweep; what experiments do to themselves comes on top."""
INSIDE: Counter[str] = Counter({Inside.HANG: 2, Inside.DIE: 2})


class Ended(NamedTuple):
    """A sweep that went through it."""

    seed: int
    storm: Storm
    outcomes: Counter[str]


def weather(seed: int) -> Ended:
    """One sweep from its first fault to the checks.

    Raises AssertionError or LlemSweepError where something isn't right, with what the sweep left kept.
    """
    folder = Path(tempfile.mkdtemp(prefix="broken-sweep-"))
    cluster = LocalCluster(*[GPUS] * NODES)
    try:
        with small_disk(folder) as disk:
            try:
                ended = _through(cluster, seed, folder / "grid.yaml", disk)
            except BaseException:
                shutil.copytree(disk.folder, folder / "kept")
                print(f"seed {seed}: what is left is in {folder}", file=sys.stderr)
                raise
    finally:
        cluster.close()
    shutil.rmtree(folder)
    return ended


def _through(cluster: LocalCluster, seed: int, grid: Path, disk: Disk) -> Ended:
    write_grid(grid, seed, EXPERIMENTS, INSIDE)
    storm = Chaos(cluster, grid, disk).run(plan_faults(seed, OUTSIDE, EXPERIMENTS))
    (sweep,) = disk.folder.iterdir()
    outcomes = check_folder(sweep)
    storm.check(outcomes)
    check_cluster(cluster, NODES * GPUS)
    return Ended(seed, storm, outcomes)


def report(ended: Sequence[Ended], wall_s: float) -> None:
    """Print what befell the sweeps and what became of them."""
    faults = sum((each.storm.faults for each in ended), Counter[str]())
    outcomes = sum((each.outcomes for each in ended), Counter[str]())
    print(f"\n{faults.total()} faults over {len(ended)} sweeps of {EXPERIMENTS} experiments, {wall_s:.0f} s")
    for kind, count in faults.most_common():
        print(f"  {count:4}  {kind}")
    stopped = sum(each.storm.stopped for each in ended)
    print(f"resumes: {sum(each.storm.resumes for each in ended)}, {stopped} of them after exit 3")
    print("outcomes: " + ", ".join(f"{count} {name}" for name, count in outcomes.most_common()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run sweeps until enough faults took place; 0 when every check held."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=None, help="of the first sweep; the next ones count up")
    parser.add_argument(
        "--faults", type=int, default=FAULTS, help="sweeps are begun until so many took place"
    )
    asked = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(2**31) if asked.seed is None else asked.seed
    ended: list[Ended] = []
    begin_s = time.monotonic()
    while sum(each.storm.faults.total() for each in ended) < asked.faults:
        print(f"seed {seed}", flush=True)
        try:
            last = weather(seed)
        except (AssertionError, LlemSweepError) as fault:
            print(f"seed {seed}: {type(fault).__name__}: {fault}", file=sys.stderr)
            return 1
        ended.append(last)
        told = ", ".join(f"{count} {name}" for name, count in last.outcomes.items())
        print(f"  {last.storm.faults.total()} faults, {last.storm.wall_s:.0f} s: {told}", flush=True)
        seed += 1
    report(ended, time.monotonic() - begin_s)
    return 0


if __name__ == "__main__":
    sys.exit(main())
