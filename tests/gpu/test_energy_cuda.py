"""Energy on a real board: what its sensors are, what the samples prove, what a context costs. Needs no Ray."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from llem_sweep import ExperimentConfig, run_experiment
from llem_sweep.harness.verification import verify
from llem_sweep.results.warnings import WarningCode

pytestmark = pytest.mark.gpu

ROOT = Path(__file__).parents[2]


def make(**fields: Any) -> ExperimentConfig:
    known: dict[str, Any] = {
        "model": str(ROOT / "sweeps" / "models" / "tiny-llama-deep"),
        "weights": "random",
        "dataset": {"n": 256, "input_len": 128, "output_len": 256},
        "decoder": {"preset": "deterministic"},
        "pytorch": {"device": "cuda", "batch_size": 16},
        "baseline": {"duration_seconds": 10.0},
        "warmup": {"n_warmup": 2, "thermal_floor_seconds": 30.0, "settle_limit_seconds": 60.0},
    }
    return ExperimentConfig.model_validate(known | fields)


def test_a_result_of_a_real_board_holds_against_its_samples_and_states_its_bounds() -> None:
    assert torch.cuda.is_available(), "torch sees no GPU: install a CUDA build of torch"
    result, sidecar = run_experiment(make())
    found = verify(result, sidecar)
    assert found.problems == ()
    assert found.recomputed
    assert result.total_energy_j is not None
    assert result.energy_uncertainty_j is not None
    assert 0 < result.energy_uncertainty_j < 0.02 * result.total_energy_j
    codes = {warning.code for warning in result.measurement_warnings}
    assert not codes & {WarningCode.SENSOR_DISAGREEMENT, WarningCode.SAMPLER_GAP, WarningCode.WIDE_BOUND}
    assert result.host_energy is not None
    assert (result.host_energy.package_j is None) == (result.host_energy.reason is not None)


@pytest.mark.timeout(500)
def test_the_board_is_characterised_in_one_command(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu_characterise.py")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=480)
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "build" / "gpu_characterise").glob("*.json")
    found = json.loads(file.read_text())
    assert not found["simulated"]
    assert "counter.update_period_s" in found["sensors"]["measured"]
    assert found["context_w"] > found["cold_w"]
