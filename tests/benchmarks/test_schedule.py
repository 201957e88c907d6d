"""The benchmark of the schedule, over few seeds, and that it can miss its targets."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from schedule import Shape, draw

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "schedule.py"


def run(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_targets_are_reached_and_every_policy_is_printed() -> None:
    code, said = run("--seeds", "4", "--first", "50")
    assert code == 0, said
    assert "median 60 s and sigma 0.8" in said
    assert said.count("reached") == 2
    names = ("longest_first, known", "longest_first, estimated", "blocked, known", "FIFO", "without affinity")
    assert all(name in said for name in names)


def test_where_loads_are_all_there_is_the_targets_are_missed() -> None:
    code, said = run("--seeds", "2", "--median", "1")
    assert code == 1
    assert "MISSED" in said


def test_the_bound_counts_all_work_and_each_model_once() -> None:
    case = draw(Shape(models=2, points=3, gpus=2, median_s=60, sigma=0.8, error=0.7), 1, known=True)
    work_s = math.fsum(case.took_s.values()) + math.fsum(case.load_s.values())
    assert len(case.took_s) == 6
    assert case.bound_s(1) == pytest.approx(work_s)
    longest_s = max(case.took_s[e.config_hash] + case.load_s[e.config.model] for e in case.experiments)
    assert case.bound_s(1000) == longest_s


def test_only_the_estimates_are_off() -> None:
    shape = Shape(models=2, points=3, gpus=2, median_s=60, sigma=0.8, error=0.7)
    known, estimated = draw(shape, 1, known=True), draw(shape, 1, known=False)
    assert (known.took_s, known.load_s) == (estimated.took_s, estimated.load_s)
    told = [each.config.synthetic.run_seconds for each in estimated.experiments]
    assert told != list(estimated.took_s.values())
