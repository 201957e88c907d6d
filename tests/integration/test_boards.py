"""Which board is metered, through the true NVML binding and Ray's own GPU detection, on a stand-in library."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from llem_sweep import ExperimentResult, load_result
from standin.truth import StandIn

from .conftest import WriteSweep

pytestmark = pytest.mark.integration

BOARDS = StandIn()
WINDOW_S = 3.0


@pytest.fixture
def ray_folder() -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="llem", dir="/tmp")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def sweep_on_boards(
    grid: Path, output: Path, standin: Path, ray_folder: str, visible: str | None
) -> list[ExperimentResult]:
    """Run the command in a process of its own, on the stand-in's boards; the results it left."""
    environ = BOARDS.environ(standin)
    environ.pop("CUDA_VISIBLE_DEVICES", None)
    environ |= {"RAY_TMPDIR": ray_folder} | ({"CUDA_VISIBLE_DEVICES": visible} if visible else {})
    command = [sys.executable, "-m", "llem_sweep", str(grid), "--output", str(output)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [load_result(path) for path in output.rglob("result.json")]


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        pytest.param(None, {0, 1, 2, 3}, id="all", marks=pytest.mark.long),
        pytest.param("3,1,0,2", {0, 1, 2, 3}, id="permuted", marks=pytest.mark.long),
        pytest.param(",".join(BOARDS.uuid(board) for board in (2, 3, 0, 1)), {0, 1, 2, 3}, id="uuids"),
        pytest.param("3,1", {1, 3}, id="two hidden", marks=pytest.mark.long),
    ],
)
def test_each_result_carries_the_energy_of_its_own_board(
    visible: str | None,
    expected: set[int],
    write_sweep: WriteSweep,
    tmp_path: Path,
    standin_folder: Path,
    ray_folder: str,
) -> None:
    grid = write_sweep(
        synthetic={"run_seconds": WINDOW_S},
        baseline={"duration_seconds": 1},
        sweep={"synthetic.output_tokens": list(range(1, 1 + len(expected)))},
        # Whoever is up takes the next one: else a worker that is up late had better not load at all.
        execution={"cycle_order": "sequential"},
    )
    results = sweep_on_boards(grid, tmp_path / "out", standin_folder, ray_folder, visible)
    assert len(results) == len(expected)
    boards = {BOARDS.uuid(number): number for number in expected}
    seen = set()
    for result in results:
        (device,) = result.environment_snapshot.devices
        board = boards[device.uuid]
        seen.add(board)
        assert device.index == board
        assert not result.simulated
        assert result.environment_snapshot.nvml_library == str(standin_folder / "libnvidia-ml.so.1")
        truth_j = BOARDS.energy_j(board, 0.0, result.total_inference_time_sec)
        assert result.total_inference_time_sec >= WINDOW_S
        assert result.total_energy_j == pytest.approx(truth_j, rel=0.05)
        assert result.baseline_power_w == pytest.approx(BOARDS.powers_w[board], rel=0.05)
    assert seen == expected, "every board had a worker of its own"
