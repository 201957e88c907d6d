"""What the driver costs per experiment, persistence included, beside Ray Tune's cost per trial.

A sweep of experiments that take no time runs through ``run_sweep`` on four simulated GPUs, on a real local Ray and
a real disk, and the same Ray then runs Tune trials that do nothing. The cost per experiment is told in two ways:

- **interval**: wall time between one experiment settled (its folder synced and in place, its line in the journal)
  and the next, over the whole sweep. The median is what the target is for: 10 ms with ``energy.backend: null``.
- **mean**: wall time from the moment when every worker was ready to the last experiment settled, over the
  experiments settled in it. It adds what a median hides: the slow tail, and stalls.

Neither counts starting Ray, bringing workers up ("birth", from the call to the last worker ready) or the summary
written once at the end ("closing"); each has a column of its own. "On worker" is the median time from an
experiment's dispatch to its settling, and "driver CPU" the processor time of the driver's thread per experiment.

With sampling, every experiment also waits for ticks of the board's energy counter (100 ms on these boards): up to
one before its window opens, so that the window begins where the energy is known, and one after it. This time is
part of the measurement and is spent on the worker while the driver serves the others, so four workers divide it:
the mean is about a quarter of "on worker". (A window of no length holds no energy: these results say so.)

Tune's trials are class trainables that are done after one empty step. Their checkpoints at the end are switched
off; the default loggers are on, as results are persisted on our side, too. By default an actor is made per trial;
with ``reuse_actors=True`` actors are kept, as ``run_sweep`` keeps them. Intervals are between trials completed;
birth ends and the mean begins with the fourth one, when four actors were there. Where settlings come in bursts, as
those of fresh actors and those with sampling do, the mean says more than the median.

    python benchmarks/overhead.py
    python benchmarks/overhead.py --experiments 1000 --tune-trials 200

Exit code 1 when the median interval with ``energy.backend: null`` is above the target.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import ray
from ray import tune

from llem_sweep import SweepConfig, run_sweep
from llem_sweep.execution.progress import Progress
from llem_sweep.sweep import SilentView

GPUS = 4
TARGET_MS = 10.0
FRESH_ACTOR_SHARE = 8
"""Trials with an actor each are this many times fewer: one takes about a second."""


class Cost(NamedTuple):
    """Cost per experiment or trial of one run."""

    what: str
    settled_s: list[float]
    """When each was settled, in seconds on any one clock."""
    steady_s: float
    """When all workers were ready, on the same clock."""
    birth_s: float
    closing_s: float
    on_worker_ms: float | None = None
    cpu_ms: float | None = None

    @property
    def intervals_ms(self) -> list[float]:
        return [1000 * (later - earlier) for earlier, later in pairwise(self.settled_s)]

    @property
    def median_ms(self) -> float:
        return statistics.median(self.intervals_ms)

    @property
    def p95_ms(self) -> float:
        return statistics.quantiles(self.intervals_ms, n=20)[-1]

    @property
    def mean_ms(self) -> float | None:
        """None when all were settled before the last worker was ready."""
        after = sum(at_s > self.steady_s for at_s in self.settled_s)
        return 1000 * (self.settled_s[-1] - self.steady_s) / after if after else None


class CpuMeter(SilentView):
    """Watches a sweep: the driver's thread calls it, so that thread's processor time can be read there."""

    def __init__(self) -> None:
        self._seen: list[tuple[int, float]] = []

    def update(self, progress: Progress) -> None:
        if progress.done:
            self._seen.append((progress.done, time.thread_time()))

    @property
    def per_experiment_ms(self) -> float | None:
        """None when the sweep was over before it could be seen twice."""
        if not self._seen or self._seen[-1][0] == self._seen[0][0]:
            return None
        (first, first_s), (last, last_s) = self._seen[0], self._seen[-1]
        return 1000 * (last_s - first_s) / (last - first)


@contextlib.contextmanager
def private_ray(gpus: int = GPUS) -> Iterator[tuple[Path, float]]:
    """A local Ray of simulated GPUs: its folder, removed at the end, and the seconds it took to start."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # Ray refuses more GPUs than it names
    # Ray's sockets live here, and a socket's path may have 107 characters at most.
    folder = Path(tempfile.mkdtemp(prefix="llem", dir="/tmp"))
    begun_s = time.perf_counter()
    ray.init(
        address="local",
        num_gpus=gpus,
        num_cpus=gpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _temp_dir=str(folder),
    )
    try:
        yield folder, time.perf_counter() - begun_s
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def time_sweep(what: str, experiments: int, energy: str, output: Path) -> Cost:
    """Run ``experiments`` of no duration on the Ray that this process is connected to."""
    sweep = SweepConfig(
        name="overhead",
        shared={
            "model": "acme/no-op",
            "backend": "synthetic",
            "n": 8,
            "energy": {"backend": energy},
            "baseline": {"duration_seconds": 0.5},
            "warmup": {"n_warmup": 1, "thermal_floor_seconds": 0},
        },
        sweep={"synthetic.output_tokens": tuple(range(1, experiments + 1))},
    )
    meter = CpuMeter()
    begun_s = time.time()
    result = run_sweep(sweep, output=output, simulate_gpus=GPUS, view=meter)
    ended_s = time.time()
    if result.completed != experiments:
        raise RuntimeError(f"{result.completed} of {experiments} experiments completed: see {result.folder}")
    events = [json.loads(line) for line in (result.folder / "journal.jsonl").read_text().splitlines()]
    settled = _times(events, "completed")
    dispatched = _times(events, "dispatched")
    steady_s = max(
        datetime.fromisoformat(e["time"]).timestamp() for e in events if e["event"] == "worker_ready"
    )
    return Cost(
        what=what,
        settled_s=list(settled.values()),
        steady_s=steady_s,
        birth_s=steady_s - begun_s,
        closing_s=ended_s - max(settled.values()),
        on_worker_ms=statistics.median(1000 * (settled[each] - dispatched[each]) for each in settled),
        cpu_ms=meter.per_experiment_ms,
    )


def _times(events: list[dict[str, Any]], name: str) -> dict[str, float]:
    """When each experiment met event ``name``, by its id, in the journal's order."""
    return {
        event["experiment_id"]: datetime.fromisoformat(event["time"]).timestamp()
        for event in events
        if event["event"] == name
    }


class NoOp(tune.Trainable):
    """A trial that is done at once."""

    def step(self) -> dict[str, Any]:
        return {"done": True, "value": 1}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        return True


class Stamps(tune.Callback):
    """When each trial was completed."""

    def __init__(self) -> None:
        self.completed_s: list[float] = []

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.completed_s.append(time.perf_counter())


def time_tune(what: str, trials: int, *, reuse_actors: bool, output: Path) -> Cost:
    """Run ``trials`` that do nothing on the Ray that this process is connected to, and silence Tune."""
    stamps = Stamps()
    tuner = tune.Tuner(
        tune.with_resources(NoOp, {"cpu": 1, "gpu": 1}),
        param_space={"number": tune.grid_search(list(range(trials)))},
        tune_config=tune.TuneConfig(reuse_actors=reuse_actors),
        run_config=tune.RunConfig(
            storage_path=str(output),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            callbacks=[stamps],
        ),
    )
    begun_s = time.perf_counter()
    # Even at verbosity 0 it prints a box per trial.
    with (
        Path(os.devnull).open("w") as null,
        contextlib.redirect_stdout(null),
        contextlib.redirect_stderr(null),
    ):
        results = tuner.fit()
    ended_s = time.perf_counter()
    if results.num_errors or len(stamps.completed_s) != trials:
        raise RuntimeError(f"{len(stamps.completed_s)} of {trials} Tune trials completed: {results.errors}")
    steady_s = stamps.completed_s[GPUS - 1]
    return Cost(what, stamps.completed_s, steady_s, steady_s - begun_s, ended_s - stamps.completed_s[-1])


def describe_machine() -> str:
    """What was compared, on what."""
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return (
        f"llem-sweep {version('llem-sweep')}, Ray and Ray Tune {ray.__version__}, "
        f"Python {platform.python_version()}; "
        f"{os.cpu_count()} cores, load {load} at the start; {GPUS} simulated GPUs"
    )


def print_table(costs: list[Cost]) -> None:
    """One row a run, a blank where a figure isn't defined."""
    names = ("runs", "median", "p95", "mean", "on worker", "driver CPU", "birth", "closing")
    units = ("", *("ms",) * 5, "s", "s")
    wide = max(len(cost.what) for cost in costs)
    for head in (names, units):
        print(f"{'':<{wide}}  " + "  ".join(f"{text:>10}" for text in head))
    for cost in costs:
        figures = (cost.median_ms, cost.p95_ms, cost.mean_ms, cost.on_worker_ms, cost.cpu_ms)
        cells = [f"{len(cost.settled_s)}", *("" if each is None else f"{each:.1f}" for each in figures)]
        cells += [f"{cost.birth_s:.1f}", f"{cost.closing_s:.1f}"]
        print(f"{cost.what:<{wide}}  " + "  ".join(f"{text:>10}" for text in cells))


def compare(experiments: int, trials: int) -> list[Cost]:
    """Every run, on one Ray, one after the other."""
    with private_ray() as (folder, start_s):
        print(f"starting Ray: {start_s:.1f} s, once", flush=True)
        return [
            time_sweep("run_sweep, energy.backend: null", experiments, "null", folder / "null"),
            time_sweep("run_sweep, sampling", experiments, "auto", folder / "auto"),
            time_tune("Tune, reuse_actors", trials, reuse_actors=True, output=folder / "reuse"),
            time_tune(
                "Tune, default",
                max(2 * GPUS, trials // FRESH_ACTOR_SHARE),
                reuse_actors=False,
                output=folder / "default",
            ),
        ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--experiments", type=int, default=400)
    parser.add_argument(
        "--tune-trials",
        type=int,
        default=100,
        help=f"with reuse_actors; without, {FRESH_ACTOR_SHARE} times fewer",
    )
    parser.add_argument("--target-ms", type=float, default=TARGET_MS)
    given = parser.parse_args()
    if min(given.experiments, given.tune_trials) < 2 * GPUS:
        parser.error(f"--experiments and --tune-trials must be at least {2 * GPUS}")
    print(describe_machine())
    costs = compare(given.experiments, given.tune_trials)
    print_table(costs)
    median_ms = costs[0].median_ms
    reached = bool(median_ms <= given.target_ms)
    print(
        f"median with energy.backend: null {median_ms:.1f} ms, target {given.target_ms:g} ms: "
        f"{'reached' if reached else 'MISSED'}"
    )
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
