"""Mistakes of earlier tools where one process runs everything: the wrong board metered, a model left behind."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from llem_sweep import BackendError, ExperimentConfig, SweepConfig, load_result, run_experiment, run_sweep
from llem_sweep.sweep import SweepResult
from probe_backend import Probe, install_probe
from standin.truth import StandIn

BOARDS = StandIn()
GRID = """
model: acme/made-up-7b
backend: synthetic
gpus: 2
n: 8
baseline: {duration_seconds: 1}
warmup: {enabled: false}
synthetic: {run_seconds: 2.0}
"""


@pytest.fixture
def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Probe:
    return install_probe(tmp_path / "site", monkeypatch)


def config(**fields: Any) -> dict[str, Any]:
    return {
        "model": "acme/a",
        "backend": "probe",
        "n": 4,
        "baseline": {"duration_seconds": 0.5},
        "warmup": {"enabled": False},
        **fields,
    }


def run(output: Path, **fields: Any) -> SweepResult:
    sweep = SweepConfig(shared=config(energy={"backend": "null"}, **fields))
    return run_sweep(sweep, output=output, inline=True, simulate_gpus=1)


def test_the_boards_metered_are_those_this_process_may_use(tmp_path: Path, standin_folder: Path) -> None:
    """Boards 3 and 1, in that order: neither the first ones of the machine nor one for both."""
    grid = tmp_path / "grid.yaml"
    grid.write_text(GRID)
    command = [sys.executable, "-m", "llem_sweep", str(grid), "--inline", "--output", str(tmp_path / "out")]
    environ = BOARDS.environ(standin_folder) | {"CUDA_VISIBLE_DEVICES": "3,1"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = tmp_path.rglob("result.json")
    result = load_result(path)
    devices = result.environment_snapshot.devices
    assert [(device.index, device.uuid) for device in devices] == [(3, BOARDS.uuid(3)), (1, BOARDS.uuid(1))]
    truth_j = [BOARDS.energy_j(board, 0.0, result.total_inference_time_sec) for board in (3, 1)]
    assert result.energy_per_device_j == pytest.approx(truth_j, rel=0.05)
    assert result.total_energy_j == pytest.approx(sum(truth_j), rel=0.05)
    assert result.baseline_power_w == pytest.approx(BOARDS.powers_w[3] + BOARDS.powers_w[1], rel=0.05)


def test_one_experiment_leaves_neither_a_model_nor_a_sampler(probe: Probe) -> None:
    probe.batch_s = 0.3
    result, _ = run_experiment(ExperimentConfig.model_validate(config()), simulate_gpus=True)
    assert result.sampler is not None
    assert probe.closed == probe.loads == ["acme/a"]
    assert "llem-sweep-ticker" not in {thread.name for thread in threading.enumerate()}


def test_an_inference_that_raises_leaves_neither_a_model_nor_a_sampler(probe: Probe) -> None:
    probe.fails = frozenset({"bf16"})
    with pytest.raises(BackendError, match="was to fail"):
        run_experiment(ExperimentConfig.model_validate(config()), simulate_gpus=True)
    assert probe.closed == probe.loads == ["acme/a"]
    assert "llem-sweep-ticker" not in {thread.name for thread in threading.enumerate()}


def test_a_sweep_has_let_its_model_go_when_it_returns(probe: Probe, tmp_path: Path) -> None:
    probe.close_s = 0.3
    assert run(tmp_path).completed == 1
    assert probe.closed == ["acme/a"]
