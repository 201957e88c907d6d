"""What the report of many results costs: time, memory and size.

One experiment is measured on a simulated board. Sweeps of thousands are made of it on disk: its `result.json` with
other identities, configurations and figures, and its samples beside each. Then `llem-sweep report` runs on them
in a process of its own, whose peak memory the system tells. Exit code 1 when a limit is missed.

    python benchmarks/report.py
    python benchmarks/report.py --results 2000
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from llem_sweep import run_experiment
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.sweep import ExecutionConfig, SweepConfig
from llem_sweep.plan.expand import plan_sweep
from llem_sweep.plan.types import PlannedExperiment
from llem_sweep.store.folder import SweepFolder
from llem_sweep.store.layout import RESULT, TIMESERIES, experiment_folder
from llem_sweep.store.records import RunSettings

TIME_S, MEMORY_MB = 20.0, 1000.0
"""Of the report of 10,000 results; MB are 10^6 bytes."""
SMALL, SIZE_MB = 200, 6.0
"""Results with all their timelines, and the most that the page of so many may take."""
CYCLES = 2
SEED = 0
SHARED: dict[str, Any] = {
    "backend": "synthetic",
    "n": 32,
    "synthetic": {"run_seconds": 5.0},
    "baseline": {"duration_seconds": 3.0, "after_seconds": 1.0},
    "warmup": {"n_warmup": 1, "thermal_floor_seconds": 1.0},
}


class Cost(NamedTuple):
    """Of one report."""

    seconds: float
    """From the start of its process to its end."""
    cpu_s: float
    """Of the processor, which other work on the machine changes little."""
    peak_mb: float
    """Most resident memory of the process."""
    page_mb: float


def write_sweep(output: Path, results: int, measured: Mapping[str, Any], samples: bytes) -> Path:
    """The folder of a finished sweep of ``results`` experiments, made of one result and its samples."""
    points = -(-results // CYCLES)
    models, batches = 5, 8
    sweep = SweepConfig(
        name="many",
        shared=SHARED,
        sweep={
            "model": tuple(f"acme/made-up-{n}b" for n in range(1, models + 1)),
            "max_output_tokens": tuple(16 * n for n in range(1, batches + 1)),
            "random_seed": tuple(range(-(-points // (models * batches)))),
        },
        execution=ExecutionConfig(n_cycles=CYCLES),
        source="# made by benchmarks/report.py\n",
    )
    plan = plan_sweep(sweep)
    chance = random.Random(SEED)
    with SweepFolder.create(output, plan, RunSettings(1, True, None, "0"), sweep.source) as folder:
        first: Path | None = None
        for planned in plan.by_point[:results]:
            now = datetime(2026, 1, 1, tzinfo=UTC)
            name = experiment_folder(
                planned.config.model.rpartition("/")[2], "synthetic", planned.varied, planned.cycle, now
            )
            place = folder.path / name
            place.mkdir()
            (place / RESULT).write_text(json.dumps(changed(measured, planned, chance)))
            if first is None:
                first = place / TIMESERIES
                first.write_bytes(samples)
            else:
                os.link(first, place / TIMESERIES)
        return folder.path


def changed(measured: Mapping[str, Any], planned: PlannedExperiment, chance: random.Random) -> dict[str, Any]:
    """``measured`` as the result of ``planned``, with figures of its own."""
    result = copy.deepcopy(dict(measured))
    energy_j, rate = chance.uniform(500.0, 5000.0), chance.uniform(50.0, 500.0)
    tokens = result["output_tokens"]
    return result | {
        "experiment_id": planned.experiment_id,
        "measurement_config_hash": planned.config_hash,
        "cycle": planned.cycle,
        "model": planned.config.model,
        "effective_config": result["effective_config"] | {"config": planned.config.model_dump(mode="json")},
        "total_energy_j": energy_j,
        "energy_per_device_j": [energy_j],
        "avg_energy_per_token_j": energy_j / tokens,
        "avg_tokens_per_second": rate,
    }


def report(folder: Path) -> Cost:
    """What ``llem-sweep report`` costs on ``folder``."""
    file = folder / "report.html"
    file.unlink(missing_ok=True)
    began_s = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "llem_sweep", "report", str(folder)], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    took_s = time.perf_counter() - began_s
    if process.returncode != 0:
        raise SystemExit(f"llem-sweep report ended with {process.returncode}")
    return Cost(
        took_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6, file.stat().st_size / 1e6
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=int, default=10_000)
    asked = parser.parse_args()
    measured, samples = run_experiment(
        ExperimentConfig.model_validate(SHARED | {"model": "acme/made-up-1b"}), simulate_gpus=True
    )
    whole = json.loads(measured.model_copy(update={"timeseries": TIMESERIES}).model_dump_json())
    met = True
    with TemporaryDirectory(prefix="llem-sweep-report-") as output:
        for results in (SMALL, asked.results):
            cost = report(write_sweep(Path(output) / str(results), results, whole, samples))
            print(
                f"{results:,} results: {cost.seconds:.1f} s ({cost.cpu_s:.1f} s of the processor),"
                f" {cost.peak_mb:,.0f} MB of memory, a page of {cost.page_mb:.2f} MB"
            )
            if results == SMALL:
                met &= cost.page_mb < SIZE_MB
                print(f"  limit for {SMALL} results with all timelines: a page of {SIZE_MB:g} MB")
            else:
                met &= cost.seconds < TIME_S and cost.peak_mb < MEMORY_MB
                print(f"  limits for 10,000 results: {TIME_S:g} s, {MEMORY_MB:,.0f} MB of memory")
    print("met" if met else "MISSED")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
