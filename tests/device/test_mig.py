"""A board in MIG mode, and a slice of one, are refused on every path, with what to do and before any reading.

Every reading of the stand-in fails as on a board that fell off the bus: had one been taken, that would be the
error.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llem_sweep.device.assigned import confirm_identity, resolve_assigned
from llem_sweep.errors import IdentityError
from llem_sweep.results.environment import BoardInfo
from standin.truth import StandIn

BOARDS = StandIn(powers_w=(120.0, 180.0, 240.0))
SLICES = ("MIG-57a4d100-0000-4000-8000-000000000002", "MIG-GPU-57a4d100-0000-4000-8000-000000000001/1/0")
UNREADABLE = {"WITHOUT": "energy,power,fields,temperature,utilization,clock,processes", "WITHOUT_CODE": "15"}
MIXED = {"MIG": "1,0,1"}
"""Board 1 alone isn't in MIG mode."""


def mode_refusal(board: int) -> str:
    return (
        f"board {board} ({BOARDS.uuid(board)}) is in MIG mode: its energy can't be told apart by slice; switch"
        f" that off with `sudo nvidia-smi -i {board} -mig 0`, or leave the board out with CUDA_VISIBLE_DEVICES"
    )


def slice_refusal(name: str) -> str:
    return (
        f"{name} is a MIG slice, whose energy NVML doesn't tell apart; name whole boards in CUDA_VISIBLE_DEVICES,"
        " by index or UUID (`nvidia-smi -L`)"
    )


def process(
    folder: Path, *command: str, visible: str | None = None, **settings: str
) -> subprocess.CompletedProcess[str]:
    """A process of its own that sees the stand-in's boards."""
    environ = BOARDS.environ(folder, **settings)
    environ.pop("CUDA_VISIBLE_DEVICES", None)
    if visible is not None:
        environ["CUDA_VISIBLE_DEVICES"] = visible
    return subprocess.run(
        [sys.executable, *command], env=environ, capture_output=True, text=True, timeout=90, check=False
    )


def printed(folder: Path, script: str, visible: str | None = None, **settings: str) -> Any:
    done = process(folder, "-c", script, visible=visible, **settings)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


START = """
import json
from llem_sweep.clock import SystemClock
from llem_sweep.execution.worker import Worker, WorkerSpec
spec = WorkerSpec("here/gpu0", "here", {gpus}, None, baseline_s=0.5, takes_first={takes_first})
worker = Worker(spec, SystemClock())
report = worker.start()
worker.close()
print(json.dumps(report.message if hasattr(report, "message") else report.uuids))
"""

RUN = """
import json
from llem_sweep import DeviceError, ExperimentConfig, run_experiment
config = ExperimentConfig(model="acme/a", backend="synthetic", n=2)
try:
    run_experiment(config)
except DeviceError as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""


def test_boards_in_mig_mode_are_listed_so_that_they_can_be_named(standin_folder: Path) -> None:
    script = """
import json
from llem_sweep.device.nvml import NvmlGpu, list_boards
from llem_sweep.errors import DeviceError
def opened(uuid):
    try:
        NvmlGpu.open(uuid).close()
    except DeviceError as error:
        return str(error)
print(json.dumps([[board.index, opened(board.uuid)] for board in list_boards()]))
"""
    found = printed(standin_folder, script, **MIXED)
    assert found == [[0, mode_refusal(0)], [1, None], [2, mode_refusal(2)]]


@pytest.mark.parametrize(
    ("visible", "board"),
    [(None, 0), ("2", 2), (BOARDS.uuid(2), 2), ("1,0", 0)],
    ids=["all", "index", "uuid", "second"],
)
def test_a_worker_does_not_start_on_a_board_in_mig_mode(
    standin_folder: Path, visible: str | None, board: int
) -> None:
    start = START.format(gpus=2 if visible == "1,0" else 1, takes_first=visible is None)
    found = printed(standin_folder, start, visible, **MIXED, **UNREADABLE)
    assert found == f"DeviceError: {mode_refusal(board)}"


@pytest.mark.parametrize("name", SLICES)
@pytest.mark.parametrize("mig", ["0", "1"])
def test_a_worker_does_not_start_on_a_slice(standin_folder: Path, name: str, mig: str) -> None:
    for visible in (name, f"0,{name}"):
        start = START.format(gpus=len(visible.split(",")), takes_first=False)
        found = printed(standin_folder, start, visible, MIG=mig, **UNREADABLE)
        assert found == f"IdentityError: {slice_refusal(name)}"


def test_a_worker_starts_on_the_board_beside_those_in_mig_mode(standin_folder: Path) -> None:
    assert printed(standin_folder, START.format(gpus=1, takes_first=False), "1", **MIXED) == [BOARDS.uuid(1)]


@pytest.mark.parametrize(
    ("visible", "error"),
    [
        (None, ["DeviceError", mode_refusal(0)]),
        ("2,1", ["DeviceError", mode_refusal(2)]),
        (SLICES[0], ["IdentityError", slice_refusal(SLICES[0])]),
    ],
    ids=["all", "index", "slice"],
)
def test_an_experiment_in_this_process_is_refused(
    standin_folder: Path, visible: str | None, error: list[str]
) -> None:
    assert printed(standin_folder, RUN, visible, **MIXED, **UNREADABLE) == error


@pytest.mark.parametrize("how", ["--inline", "--dry-run"])
def test_the_command_line_refuses_a_slice_as_an_unfit_environment(
    standin_folder: Path, tmp_path: Path, how: str
) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text("model: acme/a\nbackend: synthetic\nn: 2\n")
    command = ("-m", "llem_sweep", str(grid), how, "--output", str(tmp_path / "out"))
    done = process(standin_folder, *command, visible=SLICES[0], MIG="1", **UNREADABLE)
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == f"error: {slice_refusal(SLICES[0])}"
    assert not list(tmp_path.rglob("result.json"))


def test_the_command_line_refuses_boards_in_mig_mode_as_an_unfit_environment(
    standin_folder: Path, tmp_path: Path
) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text("model: acme/a\nbackend: synthetic\nn: 2\n")
    command = ("-m", "llem_sweep", str(grid), "--inline", "--output", str(tmp_path / "out"))
    done = process(standin_folder, *command, MIG="1", **UNREADABLE)
    assert done.returncode == 3
    assert mode_refusal(0) in done.stderr
    assert not list(tmp_path.rglob("result.json"))


EXAMINE = """
import json
from llem_sweep.execution.doctor import examine
found = examine()
print(json.dumps([[[each.board.index, each.problem] for each in found.boards], found.problems]))
"""


@pytest.mark.parametrize(
    ("visible", "problems"),
    [
        (None, [mode_refusal(0), None, mode_refusal(2)]),
        (SLICES[0], [slice_refusal(SLICES[0])] * 3),
    ],
    ids=["mode", "slice"],
)
def test_the_doctor_tells_of_every_board_why_it_is_refused(
    standin_folder: Path, visible: str | None, problems: list[str | None]
) -> None:
    boards, general = printed(standin_folder, EXAMINE, visible, **MIXED)
    assert boards == [[index, problem] for index, problem in enumerate(problems)]
    assert ("none of the boards can be measured on" in general) is (None not in problems)


@pytest.mark.parametrize("name", [*SLICES, SLICES[0].lower(), f" {SLICES[0]}"])
def test_a_slice_is_refused_in_every_spelling(name: str) -> None:
    board = BoardInfo(uuid=BOARDS.uuid(0), name="board", index=0)
    with pytest.raises(IdentityError, match="is a MIG slice"):
        resolve_assigned((name,), (board,))
    with pytest.raises(IdentityError, match="is a MIG slice"):
        confirm_identity((board.uuid,), (name,))
    with pytest.raises(IdentityError, match="is a MIG slice"):
        confirm_identity((board.uuid,), (board.uuid, name))
