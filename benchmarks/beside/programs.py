"""Both programs as their users start them: a command, a folder of results, and what was measured in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
import yaml
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging as transformers_logging

from beside.grid import SEED, Grid, Point, our_point, our_sweep, their_point, their_sweep

OPTIMUM = Path(__file__).parents[2] / "build" / "optimum"
TINY = Path(__file__).parents[2] / "sweeps" / "models" / "tiny-llama"
LIMIT_S = 1800.0
_LAST = 2000
"""Characters of a failed command's output that are shown."""


class Run(NamedTuple):
    """One whole sweep."""

    wall_s: float
    """From starting the command to its end."""
    measured_s: float
    """In its measured windows or tracked iterations, all points together."""


class Done(NamedTuple):
    """One point, as a program has stored it."""

    point: Point
    measured_s: float
    threads: int | None = None
    """That torch computed with; None where the program doesn't tell."""


class Program(NamedTuple):
    """One way of running a grid."""

    name: str
    write: Callable[[Grid, Path, Path], list[str]]
    """Writes grid and model down in a folder, and returns the command to run there."""
    read: Callable[[Path], Iterator[Done]]
    """Every completed point in that folder."""


def save_checkpoint(folder: Path) -> None:
    """The tiny model that ships with the program, with random weights, for both programs to load."""
    disable_progress_bar: Callable[[], None] = transformers_logging.disable_progress_bar
    disable_progress_bar()
    shutil.copytree(TINY, folder)
    torch.manual_seed(SEED)
    build = cast("Callable[..., PreTrainedModel]", AutoModelForCausalLM.from_config)
    model = build(AutoConfig.from_pretrained(folder), dtype=torch.float32)
    model.save_pretrained(folder)
    # That wrote a config.json too, which another version of transformers may read otherwise.
    shutil.copy(TINY / "config.json", folder)


def run(program: Program, grid: Grid, model: Path, folder: Path, threads: int) -> Run:
    """Run ``grid`` in the new ``folder``; RuntimeError when it fails or did other work than the grid says."""
    folder.mkdir()
    command = program.write(grid, model, folder)
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        # Sockets lie below it, and their paths are short of room.
        "RAY_TMPDIR": str(folder),
    }
    environment.pop("RAY_ADDRESS", None)
    log = folder / "log"
    with log.open("w") as out:
        begun_s = time.perf_counter()
        code = subprocess.run(
            command, cwd=folder, env=environment, stdout=out, stderr=out, timeout=LIMIT_S, check=False
        ).returncode
        wall_s = time.perf_counter() - begun_s
    if code:
        raise RuntimeError(f"{program.name} ended with {code}:\n{_tail(log)}")
    done = list(program.read(folder))
    points = sorted(each.point for each in done)
    if points != sorted(grid.points):
        raise RuntimeError(f"{program.name} ran {points}, not {sorted(grid.points)}:\n{_tail(log)}")
    if odd := {each.threads for each in done} - {threads, None}:
        raise RuntimeError(f"{program.name} computed on {odd} threads, not {threads}")
    return Run(wall_s, sum(each.measured_s for each in done))


def _tail(log: Path) -> str:
    return log.read_text()[-_LAST:]


def ours(name: str, *flags: str) -> Program:
    """``llem-sweep`` with ``flags``, results persisted."""

    def write(grid: Grid, model: Path, folder: Path) -> list[str]:
        (folder / "grid.yaml").write_text(yaml.safe_dump(our_sweep(grid, model)))
        return [sys.executable, "-m", "llem_sweep", "grid.yaml", *flags]

    return Program(name, write, _read_ours)


def theirs(name: str, start_method: str) -> Program:
    """A Hydra multirun of ``optimum-benchmark``, one process for every point."""

    def write(grid: Grid, model: Path, folder: Path) -> list[str]:
        sweep = their_sweep(grid, model, start_method, folder / "out")
        (folder / "grid.yaml").write_text(yaml.safe_dump(sweep))
        return [str(OPTIMUM / "bin" / "optimum-benchmark"), "--config-dir", ".", "--config-name", "grid"]

    return Program(name, write, _read_theirs)


def _read_ours(folder: Path) -> Iterator[Done]:
    for path in folder.glob("results/*/*/result.json"):
        result = json.loads(path.read_text())
        effective = result["effective_config"]
        point = our_point(effective["config"])
        if result["output_tokens"] != point.batch_size * point.output_len * point.iterations:
            raise RuntimeError(f"{path}: {result['output_tokens']} output tokens for {point}")
        yield Done(point, result["total_inference_time_sec"], effective["backend"]["cpu_threads"])


def _read_theirs(folder: Path) -> Iterator[Done]:
    for path in folder.glob("out/*/benchmark.json"):
        job: dict[str, Any] = json.loads(path.read_text())
        tracked = job["report"]["generate"]["latency"]
        point = their_point(job["config"])._replace(iterations=tracked["count"])
        yield Done(point, tracked["total"])
