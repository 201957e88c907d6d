"""What the driver costs per experiment, persistence included, beside Ray Tune and a bare actor pool.

Experiments that take no time run through ``run_sweep`` on four simulated GPUs, on a real local Ray and a real
disk; the same Ray then calls bare actors, and runs Tune trials that do nothing. After them, a Ray of 64
simulated GPUs runs 5,000 experiments. The cost per experiment is told in two ways, both once every worker was
ready:

- **median**: wall time between one experiment settled (its folder synced and in place, its line in the journal)
  and the next, in the mean over 50 successive ones, since results that arrive together are settled together; the
  median of all such means. On four GPUs with ``energy.backend: null`` the first target is for it: 3 ms.
- **mean** of all intervals. It adds what a median hides: the slow tail, and stalls. The second target is for it:
  on 64 GPUs at most 1.3 times those 3 ms.

What 64 GPUs cost over four is printed as well, beside the same of a bare actor pool and the processors' share: on
few cores 64 processes crowd each other out of the caches, with any driver. And they cost while they are idle: Ray
wakes every actor a hundred times a second, so that 64 bare ones that are asked nothing take a good part of two
cores. What they take is measured, and printed with it is what the processor time that an experiment has on four
GPUs would take in what they leave: the part of the excess that they explain. (Not all of 64 workers need be at
work: where experiments are expected to take milliseconds, bringing up a model once more may not pay.)

The third target is for the memory of the driver's process: at the end, the closing summary included, at most 50
MB more than at experiment 500.

An experiment of no time is the smallest one: one request, one token. What the stamps and records of more cost is
in a row of its own: they are what a measurement holds.

No interval counts starting Ray, bringing workers up ("birth", from the call to the last worker ready) or the
summary written once at the end ("closing"); each has a column of its own. "On worker" is the median time from
an experiment's dispatch to its settling. Processor time per experiment is that of the driver's thread, of its
whole process (Ray's threads included), of all workers, and of Ray's own processes: on a machine with few cores
all of these share them, and on any machine load of others shows in the times but hardly in the processor time.

What nothing built on Ray and a disk could go below is printed as well: a bare actor pool (one call in flight
per actor, nothing persisted), and the disk's own syncs for one experiment, with what they cost the processor, in
the folder that the sweeps are made in: ``--output`` chooses another.

With sampling, every experiment also waits for ticks of the board's energy counter (100 ms on these boards): up
to one before its window opens, so that the window begins where the energy is known, and three after it, which tell
when the last one inside it came. This time
is part of the measurement and is spent on the worker while the driver serves the others, so four workers divide
it: the mean is about a quarter of "on worker". (A window of no length holds no energy: these results say so.)

Tune's trials are class trainables that are done after one empty step. Their checkpoints at the end are switched
off; the default loggers are on, as results are persisted on our side, too. By default an actor is made per
trial; with ``reuse_actors=True`` actors are kept, as ``run_sweep`` keeps them. Intervals are between trials
completed; they begin with the fourth one, when four actors were there.

    python benchmarks/overhead.py
    python benchmarks/overhead.py --experiments 1000 --wide-gpus 0

Exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import ray

from per_experiment.cluster import private_ray
from per_experiment.cost import Cost, print_table
from per_experiment.floor import time_actors, time_disk
from per_experiment.meters import MEMORY_MARK, Memory
from per_experiment.sweep import time_sweep
from per_experiment.tune import time_tune

GPUS = 4
TARGET_MS = 3.0
REQUESTS, TOKENS = 8, 64
"""Of experiments whose records of requests are large."""
WIDE_RATIO = 1.3
GROWTH_MIB = 50e6 / (1 << 20)
FRESH_ACTOR_SHARE = 8
"""Trials with an actor each are this many times fewer: one takes about a second."""


class Narrow(NamedTuple):
    """Every run on four GPUs."""

    sweep: Cost
    bare: Cost
    recorded: Cost
    """The same sweep with records of many tokens to keep."""
    others: list[Cost]


@contextmanager
def scratch(output: Path) -> Iterator[Path]:
    """A folder in ``output`` for the sweeps of one Ray, gone at the end; tells what its disk costs."""
    output.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=output.resolve()) as name:
        disk = time_disk(Path(name) / "disk")
        print(
            f"the disk's own syncs for one experiment: {disk.median_ms:.2f} ms,"
            f" {disk.cpu_ms:.2f} ms of processor time",
            flush=True,
        )
        yield Path(name)


def run_narrow(experiments: int, trials: int, output: Path) -> Narrow:
    """Every run on four GPUs, on one Ray, one after the other."""
    with private_ray(GPUS) as (_, start_s), scratch(output) as folder:
        print(f"starting Ray with {GPUS} GPUs: {start_s:.1f} s, once", flush=True)
        sweep = time_sweep(
            f"run_sweep, {GPUS} GPUs, energy.backend: null", GPUS, experiments, "null", folder / "null"
        )
        few = max(2 * GPUS, trials // FRESH_ACTOR_SHARE)
        recorded = time_sweep(
            f"the same, {REQUESTS} × {TOKENS} tokens recorded",
            GPUS,
            experiments,
            "null",
            folder / "recorded",
            requests=REQUESTS,
            tokens=TOKENS,
        )
        bare = time_actors(f"bare actor pool of {GPUS}, nothing persisted", GPUS, experiments)
        others = [
            time_tune("Tune, reuse_actors", GPUS, trials, reuse_actors=True, output=folder / "reuse"),
            time_tune("Tune, default", GPUS, few, reuse_actors=False, output=folder / "default"),
            time_sweep(f"run_sweep, {GPUS} GPUs, sampling", GPUS, experiments, "auto", folder / "auto"),
        ]
    return Narrow(sweep, bare, recorded, others)


def run_wide(gpus: int, experiments: int, output: Path) -> list[Cost]:
    """The long sweep on many GPUs, and as many bare actors after it, on a Ray of their own."""
    with private_ray(gpus) as (_, start_s), scratch(output) as folder:
        print(f"starting Ray with {gpus} GPUs: {start_s:.1f} s, once", flush=True)
        return [
            time_sweep(
                f"run_sweep, {gpus} GPUs, energy.backend: null", gpus, experiments, "null", folder / "wide"
            ),
            time_actors(f"bare actor pool of {gpus}, nothing persisted", gpus, experiments),
        ]


def describe_machine() -> str:
    """What was compared, on what."""
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return (
        f"llem-sweep {version('llem-sweep')}, Ray and Ray Tune {ray.__version__}, "
        f"Python {platform.python_version()}; {os.cpu_count()} cores, load {load} at the start"
    )


def told(what: str, found: float, target: float, unit: str) -> bool:
    """Print a figure with its target; whether it is reached."""
    reached = found <= target
    print(f"{what}: {found:.2f} {unit}, target {target:.2f} {unit}: {'reached' if reached else 'MISSED'}")
    return reached


def told_memory(memory: Memory | None) -> bool:
    """Print the driver's memory with its target; whether it is reached. A short sweep has nothing to tell."""
    if memory is None:
        print(f"driver's memory: not read, the sweep was no longer than {MEMORY_MARK} experiments")
        return True
    print(
        f"driver's resident memory: {memory.at_mark_mib:.0f} MiB at experiment {MEMORY_MARK}, "
        f"{memory.last_mib:.0f} MiB at the last one, {memory.closed_mib:.0f} MiB after the closing summary"
    )
    return told("growth of the driver's memory", memory.growth_mib, GROWTH_MIB, "MiB")


def tell_growth(narrow: Narrow, sweep: Cost, bare: Cost) -> None:
    """Print what many GPUs cost over few, and what part of it is the processors'."""
    print(
        f"mean over that on {GPUS} GPUs: {sweep.mean_ms / narrow.sweep.mean_ms:.2f};"
        f" of a bare actor pool: {bare.mean_ms / narrow.bare.mean_ms:.2f}"
    )
    cores = os.cpu_count() or 1
    if sweep.cpu is not None:
        busy_ms = sweep.cpu.all_ms
        print(
            f"processor time on {cores} cores: {busy_ms:.2f} ms per experiment, {sweep.cpu.driver_ms:.2f} ms of it"
            f" the driver's, so that no mean can be below {busy_ms / cores:.2f} ms"
        )
    if bare.idle_cores is not None and narrow.sweep.cpu is not None:
        needed_ms, left = narrow.sweep.cpu.all_ms, cores - bare.idle_cores
        print(
            f"as many bare actors, idle, take {bare.idle_cores:.2f} of {cores} cores ({GPUS} take"
            f" {narrow.bare.idle_cores or 0.0:.2f}); the {needed_ms:.2f} ms of an experiment on {GPUS} GPUs take"
            f" {needed_ms / left:.2f} ms in what that leaves"
        )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--experiments", type=int, default=400, help=f"on {GPUS} GPUs")
    parser.add_argument(
        "--tune-trials",
        type=int,
        default=100,
        help=f"with reuse_actors; without, {FRESH_ACTOR_SHARE} times fewer",
    )
    parser.add_argument("--target-ms", type=float, default=TARGET_MS)
    parser.add_argument("--wide-gpus", type=int, default=64, help="of the long sweep; 0 leaves it out")
    parser.add_argument("--wide-experiments", type=int, default=5000)
    parser.add_argument(
        "--output", type=Path, default=Path("build/overhead"), help="where the sweeps' folders are made"
    )
    given = parser.parse_args()
    if min(given.experiments, given.tune_trials) < 3 * GPUS:
        parser.error(f"--experiments and --tune-trials must be at least {3 * GPUS}")
    return given


def main() -> int:
    given = arguments()
    print(describe_machine())
    narrow = run_narrow(given.experiments, given.tune_trials, given.output)
    wide = run_wide(given.wide_gpus, given.wide_experiments, given.output) if given.wide_gpus else []
    print_table([narrow.sweep, narrow.recorded, narrow.bare, *wide, *narrow.others])
    reached = [told("median with energy.backend: null", narrow.sweep.median_ms, given.target_ms, "ms")]
    if wide:
        sweep, bare = wide
        limit_ms = WIDE_RATIO * given.target_ms
        reached.append(told(f"mean on {given.wide_gpus} GPUs", sweep.mean_ms, limit_ms, "ms"))
        reached.append(told_memory(sweep.memory))
        tell_growth(narrow, sweep, bare)
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
