"""What the doctor finds: on simulated boards, on a machine without any, and on those of the stand-in library."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from factories import make_board
from llem_sweep.device.sensor_cache import FOLDER_VARIABLE, save_sensors
from llem_sweep.device.sensors import GENERATIONS
from llem_sweep.execution.doctor import BoardFindings, Examination, examine
from llem_sweep.execution.torch_process import TorchStatus
from standin.run import run_script
from standin.truth import StandIn

STANDIN = StandIn()
BOARDS = tuple(range(4))


def test_simulated_boards_are_fit_to_rehearse_without_asking_torch_or_nvml() -> None:
    found = examine(simulate_gpus=2)
    assert (found.simulated, found.torch, found.nvml_library, found.problems) == (True, None, None, ())
    assert found.exit_code == 0
    assert [each.board.index for each in found.boards] == [0, 1]
    for each in found.boards:
        assert each.problem is None
        assert each.reading is not None
        assert each.reading.energy_mj is not None
        assert each.reading.temperature_c is not None
        assert each.health is not None
        assert each.health.foreign == ()
        assert each.sensors == each.published == GENERATIONS["hopper"]
        assert (each.calibration, each.kept, each.uncalibrated) == (None, None, None)
    assert found.packages["pydantic"]


def test_calibrating_a_simulated_board_finds_its_sensors_and_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    (found,) = examine(simulate_gpus=1, calibrate=True).boards
    assert found.calibration is not None
    assert found.sensors == found.calibration.sensors
    assert found.sensors.source == "measured"
    assert found.sensors.power is not None
    assert found.sensors.power.window_s == pytest.approx(1.0, rel=0.01)
    assert found.kept is None
    assert list(tmp_path.iterdir()) == []


SEEING = TorchStatus("2.13.0", "13.0", ("GPU-1",))
BLIND = SEEING._replace(uuids=())
BROKEN = TorchStatus(None, None, (), "torch can't be used: ImportError")
FIT = BoardFindings(make_board(), None)
UNFIT = BoardFindings(make_board(), "it is in MIG mode")


@pytest.mark.parametrize(
    ("boards", "torch", "problem", "said"),
    [
        ((FIT,), SEEING, None, []),
        ((FIT, UNFIT), SEEING, None, []),
        ((UNFIT, UNFIT), SEEING, None, ["none of the boards can be measured on"]),
        ((FIT,), BLIND, None, ["torch sees no CUDA board"]),
        ((FIT,), BROKEN, None, ["torch can't be used"]),
        ((), BLIND, "no GPU found", ["no GPU found"]),
        ((), BROKEN, "no GPU found", ["no GPU found", "torch can't be used"]),
        ((UNFIT,), BROKEN, None, ["none of the boards", "torch can't be used"]),
        ((FIT,), None, None, []),
    ],
)
def test_everything_that_keeps_a_machine_from_measuring_is_said_and_exits_3(
    boards: Sequence[BoardFindings], torch: TorchStatus | None, problem: str | None, said: Sequence[str]
) -> None:
    found = Examination("3.11.7", {}, None, tuple(boards), torch, simulated=False, problem=problem)
    assert len(found.problems) == len(said)
    assert all(words in each for words, each in zip(said, found.problems, strict=True))
    assert found.exit_code == (3 if said else 0)


EXAMINED = """
import json, sys
from llem_sweep.execution.doctor import examine
told = []
found = examine(calibrate=sys.argv[1] == "calibrate", tell=told.append)
boards = [
    {
        "uuid": each.board.uuid,
        "problem": each.problem,
        "power_mw": each.reading.power_mw if each.reading else None,
        "foreign": each.health.foreign if each.health else None,
        "source": each.sensors.source if each.sensors else None,
        "tick_s": each.sensors.counter.update_period_s if each.sensors and each.sensors.counter else None,
        "uncalibrated": each.uncalibrated,
        "calibrated": each.calibration is not None,
    }
    for each in found.boards
]
print(json.dumps([boards, found.problems, found.exit_code, found.nvml_library, told]))
"""
TORCH = """
import json, os, sys
if sys.argv[1:]:
    sys.exit("CUDA error: all CUDA-capable devices are busy or unavailable")
print(json.dumps({"version": "2.13.0", "cuda": "13.0", "uuids": json.loads(os.environ["TORCH_SEES"])}))
sys.stdout.flush()
os._exit(0)
"""
"""A torch that sees boards and can't compute on them."""


class Examined:
    """What was found by a doctor in a process of its own, and the folder it kept sensors in."""

    def __init__(self, environ: dict[str, str], *, calibrate: bool) -> None:
        found = run_script(EXAMINED, environ, "calibrate" if calibrate else "look")
        boards, problems, self.exit_code, self.library, self.told = found
        self.boards: list[dict[str, Any]] = boards
        self.problems: list[str] = problems

    def of(self, name: str) -> list[Any]:
        """One finding of every board."""
        return [board[name] for board in self.boards]


class Doctor:
    """Examines the boards of the stand-in library from another process."""

    def __init__(self, library: Path, folder: Path) -> None:
        self._library = library
        self.cache = folder / "cache"
        self._torch = folder / "torch"
        self._torch.mkdir()
        (self._torch / "torch.py").write_text(TORCH)

    def examine(
        self,
        *,
        visible: str | None = None,
        torch_sees: Sequence[str] | None = None,
        calibrate: bool = False,
        settings: dict[str, str] | None = None,
    ) -> Examined:
        """``settings`` are further ones of the library."""
        environ = STANDIN.environ(self._library, **(settings or {}))
        environ.pop("CUDA_VISIBLE_DEVICES", None)
        sees = [STANDIN.uuid(board) for board in BOARDS] if torch_sees is None else list(torch_sees)
        environ |= {
            "PYTHONPATH": os.pathsep.join([str(self._torch), *filter(None, sys.path)]),
            "TORCH_SEES": json.dumps(sees),
            FOLDER_VARIABLE: str(self.cache),
        }
        if visible is not None:
            environ["CUDA_VISIBLE_DEVICES"] = visible
        return Examined(environ, calibrate=calibrate)


@pytest.fixture
def doctor(standin_folder: Path, tmp_path: Path) -> Doctor:
    return Doctor(standin_folder, tmp_path)


def test_every_board_is_read_and_its_library_named(doctor: Doctor, standin_folder: Path) -> None:
    found = doctor.examine()
    assert found.of("uuid") == [STANDIN.uuid(board) for board in BOARDS]
    assert found.of("power_mw") == [120_000, 180_000, 240_000, 300_000]
    assert found.of("problem") == [None] * 4
    assert found.of("source") == ["prior"] * 4
    assert (found.problems, found.exit_code) == ([], 0)
    assert Path(found.library).parent == standin_folder.resolve()


def test_hidden_boards_are_named_with_the_reason_and_not_opened(doctor: Doctor) -> None:
    found = doctor.examine(visible="2,0", torch_sees=[STANDIN.uuid(2), STANDIN.uuid(0)])
    hidden = "hidden from this process by CUDA_VISIBLE_DEVICES"
    assert found.of("problem") == [None, hidden, None, hidden]
    assert found.of("power_mw") == [120_000, None, 240_000, None]
    assert (found.problems, found.exit_code) == ([], 0)


@pytest.mark.parametrize(
    ("visible", "said"), [("", "hidden from this process"), ("7", "'7' in CUDA_VISIBLE_DEVICES is no board")]
)
def test_where_every_board_is_hidden_or_misnamed_nothing_can_be_measured(
    doctor: Doctor, visible: str, said: str
) -> None:
    found = doctor.examine(visible=visible, torch_sees=[])
    assert all(said in problem for problem in found.of("problem"))
    assert found.problems[0] == "none of the boards can be measured on"
    assert "torch sees no CUDA board" in found.problems[1]
    assert found.exit_code == 3


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"MIG": "1"}, "MIG mode"), ({"WITHOUT": "name", "WITHOUT_CODE": "999"}, "identifying a board")],
)
def test_boards_that_cannot_be_metered_say_why(doctor: Doctor, settings: dict[str, str], said: str) -> None:
    found = doctor.examine(calibrate=True, settings=settings)
    assert found.exit_code == 3
    assert any(said in problem for problem in [*found.of("problem"), *found.problems])
    assert found.told == []


def test_a_machine_without_boards_says_what_may_be_missing(doctor: Doctor) -> None:
    for settings in ({"BOARDS": "0"}, {"INIT_CODE": "9"}, {"INIT_CODE": "12"}):
        found = doctor.examine(torch_sees=[], settings=settings)
        assert found.boards == []
        (problem,) = found.problems
        assert "no GPU found" in problem
        assert "--simulate-gpus" in problem
        assert found.exit_code == 3


def test_a_busy_board_is_read_and_not_calibrated(doctor: Doctor) -> None:
    found = doctor.examine(calibrate=True, settings={"PIDS": "41,7"})
    assert found.of("foreign") == [[7, 41]] * 4
    assert all("others compute on it (process 7, 41)" in why for why in found.of("uncalibrated"))
    assert found.of("calibrated") == [False] * 4
    assert (found.told, found.exit_code) == ([], 0)
    assert not doctor.cache.exists()


def test_boards_that_torch_does_not_see_or_cannot_load_are_not_calibrated_and_said_to_be_so(
    doctor: Doctor,
) -> None:
    found = doctor.examine(calibrate=True, torch_sees=[STANDIN.uuid(1)])
    assert found.told == ["calibrating board 1: about 45 s of load on and off"]
    whys = found.of("uncalibrated")
    assert all("torch can't compute on it" in whys[board] for board in (0, 2, 3))
    assert "CUDA error: all CUDA-capable devices are busy or unavailable" in whys[1]
    assert found.of("calibrated") == [False] * 4
    assert found.of("power_mw") == [120_000, 180_000, 240_000, 300_000]
    assert not doctor.cache.exists()


def test_what_was_kept_of_a_board_earlier_is_what_is_known(doctor: Doctor) -> None:
    kept = GENERATIONS["hopper"].model_copy(
        update={"source": "measured", "counter": GENERATIONS["volta"].power}
    )
    board = make_board(STANDIN.uuid(2), 2, driver_version="999.57.01")
    assert save_sensors(board, kept, doctor.cache / "sensors") is not None
    found = doctor.examine()
    assert found.of("source") == ["prior", "prior", "cached", "prior"]
    assert found.of("tick_s") == [0.1, 0.1, 0.02, 0.1]
