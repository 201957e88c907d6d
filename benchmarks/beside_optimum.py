"""A small grid of one model on the CPU, run by optimum-benchmark and by us: wall time of the whole sweep.

Both start from the command line, cold, and load the same checkpoint (a tiny Llama of random weights). Both run the
same points: batch size, tokens of the prompts (random ids, no padding), tokens of the answers (exact, greedy),
batches measured and batches to warm up, float32, on the same number of threads. Their points are read back from
what each has stored. Wall time is all of it: start-up (Ray's too), loading, warm-up, measuring, storing, the end.

- **optimum-benchmark**, unmodified, from PyPI in an environment of its own, by a Hydra multirun with its process
  launcher. ``spawn`` is its default, and what the target is for. ``fork`` is an option of it that takes over what
  the parent has imported; it can't be had where the parent has touched CUDA.
- **llem-sweep** with its defaults, on a Ray that it starts, and with ``--inline``.

Neither measures energy here: ours has no board to meter (the idle power before an experiment is left out with it),
and the other's would be an estimate, for which it generates everything once more. Its memory tracker, which does
that too, is off, its default. Its launcher waits by polling without a pause, which takes a core: one thread by
default leaves it one on two cores. Its last warm-up batches are of two tokens, all of ours are whole.

Rounds run every program once, in an order that rotates, after a point of each that isn't counted (caches of the
disk, compiled bytecode). "Measuring" is the time inside measured windows or tracked iterations; the other time is
what it costs to have it measured. Only where points are short against that cost does it decide: the last line says
up to what measuring time per point the target would hold.

    python benchmarks/beside_optimum.py
    python benchmarks/beside_optimum.py --rounds 5 --threads 2

Exit code 1 when the target is missed, 3 when optimum-benchmark isn't there (``make bench`` installs it).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import NamedTuple

from beside.grid import Grid
from beside.programs import OPTIMUM, Program, Run, ours, run, save_checkpoint, theirs

TARGET = 2.0
SPAWN, FORK = "optimum-benchmark, spawn (default)", "optimum-benchmark, fork"
RAY, INLINE = "llem-sweep", "llem-sweep --inline"
PROGRAMS = (
    theirs(SPAWN, "spawn"),
    theirs(FORK, "fork"),
    ours(RAY),
    ours(INLINE, "--inline"),
)
_VERSIONS = (
    "import json; from importlib.metadata import version; "
    "print(json.dumps({name: version(name) for name in ('optimum-benchmark', 'transformers', 'torch')}))"
)


class Cost(NamedTuple):
    """What one program took, as medians over the rounds."""

    wall_s: float
    measured_s: float
    """Time measured, all points together."""
    other_s: float
    """Wall time less time measured."""

    @classmethod
    def of(cls, runs: list[Run]) -> Cost:
        """Medians of ``runs``."""
        return cls(
            median(each.wall_s for each in runs),
            median(each.measured_s for each in runs),
            median(each.wall_s - each.measured_s for each in runs),
        )


def describe(grid: Grid, threads: int) -> str:
    """What is compared, on what."""
    told = subprocess.run(
        [str(OPTIMUM / "bin" / "python"), "-c", _VERSIONS], capture_output=True, text=True, check=True
    )
    their = json.loads(told.stdout)
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return (
        f"{len(grid.points)} points of one model: batch size {grid.batch_sizes}, prompts of {grid.input_lens} and "
        f"answers of {grid.output_lens} tokens, {grid.iterations} batches each\n"
        f"llem-sweep {version('llem-sweep')}: transformers {version('transformers')}, torch {version('torch')}, "
        f"Ray {version('ray')}\n"
        f"optimum-benchmark {their['optimum-benchmark']}: transformers {their['transformers']}, "
        f"torch {their['torch']}\n"
        f"Python {platform.python_version()}, {os.cpu_count()} cores, load {load} at the start; "
        f"{threads} thread{'s' * (threads > 1)}"
    )


def compare(
    programs: tuple[Program, ...], grid: Grid, rounds: int, threads: int, folder: Path
) -> dict[str, list[Run]]:
    """Every program's runs, by its name, one for each round."""
    model = folder / "model"
    save_checkpoint(model)
    for number, program in enumerate(programs):
        run(program, grid.first, model, folder / f"c{number}", threads)
    runs: dict[str, list[Run]] = {program.name: [] for program in programs}
    for index in range(rounds):
        for place in range(len(programs)):
            number = (index + place) % len(programs)
            program = programs[number]
            runs[program.name].append(run(program, grid, model, folder / f"{index}{number}", threads))
        walls = ", ".join(f"{name} {each[-1].wall_s:.1f} s" for name, each in runs.items())
        print(f"round {index + 1}: {walls}", flush=True)
    return runs


def report(runs: dict[str, list[Run]], points: int, target: float) -> bool:
    """Print the table; whether llem-sweep is ``target`` times as fast as optimum-benchmark by default."""
    costs = {name: Cost.of(each) for name, each in runs.items()}
    wide = max(map(len, costs))
    print(
        f"{'medians':<{wide}}  {'wall s':>7} {'measuring s':>11} {'of wall':>7} {'other s':>7} "
        f"{'other/point s':>13} {'times llem-sweep':>16}"
    )
    for name, cost in costs.items():
        print(
            f"{name:<{wide}}  {cost.wall_s:>7.1f} {cost.measured_s:>11.1f} {cost.measured_s / cost.wall_s:>7.0%} "
            f"{cost.other_s:>7.1f} {cost.other_s / points:>13.2f} {cost.wall_s / costs[RAY].wall_s:>16.2f}"
        )
    ratios = [their.wall_s / our.wall_s for their, our in zip(runs[SPAWN], runs[RAY], strict=True)]
    ratio = median(ratios)
    reached = ratio >= target
    print(
        f"{SPAWN} takes {ratio:.2f} times as long as {RAY} (median, rounds {min(ratios):.2f} to "
        f"{max(ratios):.2f}), target {target:g}: {'reached' if reached else 'MISSED'}"
    )
    if target > 1:
        room_s = (costs[SPAWN].other_s - target * costs[RAY].other_s) / (target - 1) / points
        print(f"it would hold up to {max(room_s, 0.0):.1f} s of measuring a point, the same for both")
    return reached


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="that torch computes with, in every program")
    parser.add_argument("--iterations", type=int, default=Grid().iterations, help="batches measured a point")
    parser.add_argument("--target", type=float, default=TARGET)
    given = parser.parse_args()
    if min(given.rounds, given.threads, given.iterations) < 1:
        parser.error("--rounds, --threads and --iterations must be at least 1")
    if not (OPTIMUM / "bin" / "optimum-benchmark").exists():
        print(f"the PyPI package optimum-benchmark isn't in {OPTIMUM}: `make bench` installs it there")
        return 3
    grid = Grid(iterations=given.iterations)
    print(describe(grid, given.threads), flush=True)
    folder = Path(tempfile.mkdtemp(prefix="beside", dir="/tmp"))
    try:
        runs = compare(PROGRAMS, grid, given.rounds, given.threads, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if report(runs, len(grid.points), given.target) else 1


if __name__ == "__main__":
    sys.exit(main())
