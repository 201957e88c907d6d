"""How long ``load_results`` takes for the table of 10,000 stored results, and how much memory.

One experiment runs on a simulated board; its result is stored 10,000 times with other values, each time validated
and in a folder of its own, beside a sidecar. Then fresh processes load the folder: the time is from the import of
``load_results`` to the table in hand, the files being in the operating system's cache. Memory is the largest
resident size of such a process, everything that it imports included.

    python benchmarks/load.py
    python benchmarks/load.py --results 1000 --repeats 3

Exit code 1 when the median time is over the target of 5 s per 10,000 results, for as many as were asked for.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from llem_sweep import ExperimentConfig, ExperimentResult, run_experiment

TARGET_S_PER_RESULT = 5.0 / 10_000
CYCLES = 5
PRECISIONS = ("bf16", "fp16", "fp32")
PROBE = """
import sys, time
begin_s = time.perf_counter()
from llem_sweep import load_results
table = load_results(sys.argv[1])
took_s = time.perf_counter() - begin_s
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(took_s, time.process_time(), int(status["VmHWM"].split()[0]) / 1e3, table.num_rows, table.num_columns)
"""


class Load(NamedTuple):
    """One process that loaded the folder."""

    wall_s: float
    cpu_s: float
    """Of the whole process."""
    peak_mb: float
    rows: int
    columns: int


def measured() -> ExperimentResult:
    """A result like any other, of the shortest experiment."""
    config: dict[str, Any] = {
        "model": "acme/made-up-7b",
        "backend": "synthetic",
        "n": 16,
        "synthetic": {"run_seconds": 1.0},
        "baseline": {"duration_seconds": 10.0},
        "warmup": {"n_warmup": 1, "thermal_floor_seconds": 0.0},
    }
    return run_experiment(ExperimentConfig.model_validate(config), simulate_gpus=True)[0]


def store(first: ExperimentResult, top: Path, results: int, seed: int) -> None:
    """Write ``results`` results like ``first`` into folders in ``top``: cycles of many configurations."""
    draw = random.Random(seed)
    for number in range(results):
        point, cycle = divmod(number, CYCLES)
        result = changed(first, point, cycle + 1, draw.uniform(0.9, 1.1))
        folder = top / f"made-up-7b_synthetic_n-{result.requests}_cycle-{cycle + 1}_{number:06}"
        folder.mkdir()
        (folder / "result.json").write_text(result.model_dump_json(indent=2) + "\n")
        (folder / "timeseries.parquet").touch()


def changed(first: ExperimentResult, point: int, cycle: int, factor: float) -> ExperimentResult:
    """``first`` as if it were of another configuration and cycle, its figures times ``factor``; validated."""
    fields = first.model_dump()
    fields["effective_config"]["config"] |= {"n": 16 + point, "precision": PRECISIONS[point % 3]}
    figures = ("total_energy_j", "energy_uncertainty_j", "avg_energy_per_token_j", "avg_tokens_per_second")
    fields |= {name: fields[name] * factor for name in figures if fields[name] is not None}
    fields |= {
        "experiment_id": f"{CYCLES * point + cycle:016x}",
        "measurement_config_hash": f"{point:016x}",
        "cycle": cycle,
        "requests": 16 + point,
    }
    return ExperimentResult.model_validate(fields)


def load(top: Path) -> Load:
    """Load ``top`` in a process of its own."""
    command = [sys.executable, "-c", PROBE, str(top)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return Load(float(printed[0]), float(printed[1]), float(printed[2]), int(printed[3]), int(printed[4]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--results", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=20260101)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        store(measured(), Path(name), given.results, given.seed)
        size = sum(file.stat().st_size for file in Path(name).glob("*/result.json")) / given.results
        print(f"{given.results:,} results of {size / 1e3:.1f} kB in the mean, seed {given.seed}")
        loads = [load(Path(name)) for _ in range(given.repeats)]
    if any(each.rows != given.results for each in loads):
        raise RuntimeError(f"{loads[0].rows} rows of {given.results} results")
    for each in loads:
        print(f"  {each.wall_s:6.2f} s ({each.cpu_s:.2f} s of CPU), {each.peak_mb:,.0f} MB at most")
    took_s, limit_s = median(each.wall_s for each in loads), TARGET_S_PER_RESULT * given.results
    print(f"median {took_s:.2f} s for {loads[0].columns} columns; target {limit_s:.2f} s:", end=" ")
    print("reached" if took_s <= limit_s else "MISSED")
    return int(took_s > limit_s)


if __name__ == "__main__":
    sys.exit(main())
