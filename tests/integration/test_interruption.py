"""Whatever happens to the driver, a resume ends with every experiment exactly once."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from llem_sweep import load_result

from .conftest import WriteSweep

pytestmark = pytest.mark.integration

EXPERIMENTS = 60
KILLS = 10


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "llem_sweep", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def the_folder(output: Path) -> Path:
    (folder,) = output.iterdir()
    return folder


def wait_for(folder: Path, experiments: int, limit_s: float = 60.0) -> None:
    """Wait until at least so many results are there."""
    deadline_s = time.monotonic() + limit_s
    while len(list(folder.glob("*/*/result.json"))) < experiments:
        assert time.monotonic() < deadline_s, "the sweep makes no progress"
        time.sleep(0.02)


def completed(folder: Path) -> Counter[str]:
    return Counter(load_result(path).experiment_id for path in folder.rglob("result.json"))


def dispatches(folder: Path) -> list[dict[str, object]]:
    lines = (folder / "journal.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == "dispatched"]


@pytest.mark.long
@pytest.mark.timeout(240)
def test_a_driver_killed_at_random_moments_leaves_every_experiment_exactly_once(
    ray_address: str, write_sweep: WriteSweep, tmp_path: Path
) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    grid = write_sweep(
        gpus=0,
        synthetic={"run_seconds": 0.05},
        sweep={"n": list(range(1, EXPERIMENTS + 1))},
        execution={"cpu_workers": 4},
    )
    output = tmp_path / "out"
    arguments: tuple[object, ...] = (grid, "--output", output, "--address", ray_address)
    settled_before: set[str] = set()
    for kill in range(KILLS):
        driver = start(*arguments)
        done = len(list(output.rglob("result.json"))) if kill else 0
        # Some kills fall into the start, before anything has run; the others between and within saves.
        if moments.random() < 0.7:
            wait_for(output, min(done + moments.randint(1, 4), EXPERIMENTS))
        else:
            time.sleep(moments.uniform(1.5, 3.5))
        time.sleep(moments.uniform(0.0, 0.03))
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
        folder = the_folder(output)
        now_complete = completed(folder)
        assert max(now_complete.values(), default=1) == 1
        assert settled_before <= set(now_complete), "a result was lost"
        settled_before = set(now_complete)
        arguments = ("--resume", folder)
    last = start(*arguments)
    text, _ = last.communicate(timeout=120)
    assert last.returncode == 0, text
    assert len(completed(folder)) == EXPERIMENTS
    assert max(completed(folder).values()) == 1
    assert not list((folder / ".staging").iterdir())


def test_ctrl_c_lets_running_experiments_finish_and_a_resume_completes(
    ray_address: str, write_sweep: WriteSweep, tmp_path: Path
) -> None:
    grid = write_sweep(
        gpus=0,
        synthetic={"run_seconds": 1.0},
        sweep={"n": list(range(1, 9))},
        execution={"cpu_workers": 2},
    )
    driver = start(grid, "--output", tmp_path / "out", "--address", ray_address)
    wait_for(tmp_path / "out", 1)
    driver.send_signal(signal.SIGINT)
    text, _ = driver.communicate(timeout=60)
    assert driver.returncode == 130, text
    folder = the_folder(tmp_path / "out")
    after_stop = completed(folder)
    assert 1 < len(after_stop) < 8
    assert len(dispatches(folder)) == len(after_stop), "what ran was allowed to finish"
    assert not list(folder.rglob("failure.json"))

    again = start("--resume", folder)
    text, _ = again.communicate(timeout=120)
    assert again.returncode == 0, text
    assert len(completed(folder)) == 8
    assert max(Counter(event["experiment_id"] for event in dispatches(folder)).values()) == 1


def test_a_second_ctrl_c_stops_at_once(ray_address: str, write_sweep: WriteSweep, tmp_path: Path) -> None:
    grid = write_sweep(gpus=0, synthetic={"run_seconds": 60.0}, warmup={"enabled": False})
    driver = start(grid, "--output", tmp_path / "out", "--address", ray_address)
    deadline_s = time.monotonic() + 60
    while not any("dispatched" in path.read_text() for path in tmp_path.rglob("journal.jsonl")):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    driver.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert driver.poll() is None, "the first one waits"
    driver.send_signal(signal.SIGINT)
    text, _ = driver.communicate(timeout=60)
    assert driver.returncode == 130, text
    assert "--resume" in text


def test_a_second_ctrl_c_ends_a_model_that_computes_in_this_process(tmp_path: Path) -> None:
    model = Path(__file__).parents[2] / "sweeps" / "models" / "tiny-llama"
    grid = tmp_path / "grid.yaml"
    grid.write_text(
        f"{{model: {model}, weights: random, precision: fp32, dataset: {{n: 4000, input_len: 64, output_len: 64}},"
        " pytorch: {batch_size: 16}, warmup: {enabled: false}, baseline: {enabled: false}}"
    )
    driver = start(grid, "--inline", "--simulate-gpus", 1, "--output", tmp_path / "out")
    deadline_s = time.monotonic() + 60
    while not any("dispatched" in path.read_text() for path in tmp_path.rglob("journal.jsonl")):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    time.sleep(8.0)
    driver.send_signal(signal.SIGINT)
    time.sleep(0.5)
    driver.send_signal(signal.SIGINT)
    text, _ = driver.communicate(timeout=90)
    assert driver.returncode == 130, text
    assert "terminate called" not in text
