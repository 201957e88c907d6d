from __future__ import annotations

import logging
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from factories import UUIDS, make_board
from llem_sweep.device.sensor_cache import (
    FOLDER_VARIABLE,
    cache_folder,
    known_sensors,
    load_sensors,
    save_sensors,
)
from llem_sweep.device.sensors import GENERATIONS
from llem_sweep.errors import OutputError
from llem_sweep.results.sensors import BoardSensors, SensorTiming

BOARD = make_board()
FOUND = BoardSensors(
    counter=SensorTiming(update_period_s=0.0999),
    power=SensorTiming(update_period_s=0.1001, window_s=0.997, lag_s=0.013),
    source="measured",
    generation="hopper",
    measured=("counter.update_period_s", "power.update_period_s", "power.window_s", "power.lag_s"),
    measured_at=datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC),
)


def kept(folder: Path) -> Path:
    """The file of ``BOARD``'s sensors, saved in ``folder``."""
    path = save_sensors(BOARD, FOUND, folder)
    assert path is not None
    return path


def test_what_was_kept_comes_back_the_same_but_for_its_source(tmp_path: Path) -> None:
    path = kept(tmp_path / "not" / "there" / "yet")
    assert load_sensors(BOARD, path.parent) == FOUND.model_copy(update={"source": "cached"})
    assert known_sensors(BOARD, GENERATIONS["hopper"], path.parent) == load_sensors(BOARD, path.parent)
    assert list(path.parent.iterdir()) == [path]


def test_a_later_calibration_replaces_an_earlier_one(tmp_path: Path) -> None:
    kept(tmp_path)
    newer = FOUND.model_copy(update={"counter": SensorTiming(update_period_s=0.02)})
    assert save_sensors(BOARD, newer, tmp_path) is not None
    found = load_sensors(BOARD, tmp_path)
    assert found is not None
    assert found.counter == newer.counter
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("other", [{"uuid": UUIDS[1]}, {"driver_version": "580.99.01"}])
def test_another_board_or_driver_knows_nothing_of_it(
    tmp_path: Path, other: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    path = kept(tmp_path)
    stranger = BOARD.model_copy(update=other)
    assert load_sensors(stranger, tmp_path) is None
    assert known_sensors(stranger, GENERATIONS["hopper"], tmp_path) is GENERATIONS["hopper"]
    # Not even where somebody copied the file to where the stranger's would be.
    theirs = save_sensors(stranger, FOUND, tmp_path)
    assert theirs is not None
    assert theirs != path
    theirs.write_bytes(path.read_bytes())
    assert load_sensors(stranger, tmp_path) is None
    assert caplog.records == []


@pytest.mark.parametrize("fields", [{"simulated": True}, {"driver_version": None}])
def test_a_simulated_board_or_one_of_an_unknown_driver_is_never_kept(
    tmp_path: Path, fields: dict[str, Any]
) -> None:
    board = BOARD.model_copy(update=fields)
    assert save_sensors(board, FOUND, tmp_path) is None
    assert list(tmp_path.iterdir()) == []
    assert load_sensors(board, tmp_path) is None
    # And never gets a real board's, whatever it calls itself.
    kept(tmp_path)
    assert load_sensors(board, tmp_path) is None


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut off"),
        pytest.param(b"\xff\xfe\x00", id="not text"),
        pytest.param(b"[]", id="no entry"),
        pytest.param(b'{"method": 1}', id="incomplete"),
        pytest.param(
            b'{"method":1,"uuid":"u","driver_version":"d","sensors":{},"more":1}', id="unknown field"
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_reported_and_as_good_as_none(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = kept(tmp_path)
    path.write_bytes(content)
    assert known_sensors(BOARD, GENERATIONS["hopper"], tmp_path) is GENERATIONS["hopper"]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert str(path) in record.message
    assert "llem-sweep doctor --calibrate" in record.message
    assert len(record.message.splitlines()) == 1
    kept(tmp_path)
    assert load_sensors(BOARD, tmp_path) is not None


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ('"update_period_s": 0.1001', '"update_period_s": 0.0'),
        ('"update_period_s": 0.0999', '"update_period_s": -0.1'),
        ('"window_s": 0.997', '"window_s": 0'),
        ('"lag_s": 0.013', '"lag_s": -1'),
        ('"update_period_s": 0.1001', '"update_period_s": NaN'),
    ],
)
def test_timing_that_no_sensor_can_have_is_as_good_as_none(
    tmp_path: Path, written: str, instead: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = kept(tmp_path)
    text = path.read_text()
    assert written in text
    path.write_text(text.replace(written, instead))
    assert load_sensors(BOARD, tmp_path) is None
    assert len(caplog.records) == 1


def test_what_an_earlier_method_found_is_left_out_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = kept(tmp_path)
    path.write_text(path.read_text().replace('"method": 1', '"method": 0'))
    assert load_sensors(BOARD, tmp_path) is None
    assert caplog.records == []


def test_a_folder_that_cannot_be_written_is_said_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match=FOLDER_VARIABLE) as caught:
            save_sensors(BOARD, FOUND, folder)
        assert BOARD.uuid in str(caught.value)
        assert load_sensors(BOARD, folder) is None


def test_a_place_that_is_taken_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = kept(tmp_path)
    path.unlink()
    (path / "folder").mkdir(parents=True)
    with pytest.raises(OutputError):
        save_sensors(BOARD, FOUND, tmp_path)
    assert list(tmp_path.iterdir()) == [path]
    assert load_sensors(BOARD, tmp_path) is None


def test_a_hostile_name_stays_in_the_folder(tmp_path: Path) -> None:
    board = BOARD.model_copy(update={"uuid": "../../GPU-\n\x00", "driver_version": "/etc/580"})
    path = save_sensors(board, FOUND, tmp_path / "sensors")
    assert path is not None
    assert path.parent == tmp_path / "sensors"
    assert load_sensors(board, tmp_path / "sensors") is not None


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({FOLDER_VARIABLE: "/own", "XDG_CACHE_HOME": "/xdg"}, "/own/sensors"),
        ({FOLDER_VARIABLE: "", "XDG_CACHE_HOME": "/xdg"}, "/xdg/llem-sweep/sensors"),
        ({"XDG_CACHE_HOME": ""}, "{home}/.cache/llem-sweep/sensors"),
        ({}, "{home}/.cache/llem-sweep/sensors"),
        ({FOLDER_VARIABLE: "~/own"}, "{home}/own/sensors"),
    ],
)
def test_the_environment_says_where(environ: dict[str, str], folder: str) -> None:
    assert cache_folder(environ) == Path(folder.format(home=Path.home()))


def test_without_a_folder_the_environments_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    path = save_sensors(BOARD, FOUND)
    assert path is not None
    assert path.parent == tmp_path / "sensors"
    found = load_sensors(BOARD)
    assert found is not None
    assert found.source == "cached"


HOMELESS = """
import os, pwd
from factories import make_board
from llem_sweep.device.sensor_cache import load_sensors, save_sensors
from llem_sweep.errors import OutputError
from llem_sweep.results.sensors import BoardSensors
pwd.getpwuid = lambda uid: (_ for _ in ()).throw(KeyError(uid))
assert load_sensors(make_board()) is None
try:
    save_sensors(make_board(), BoardSensors())
except OutputError as error:
    print(error)
"""


def test_a_user_without_a_home_folder_knows_nothing_and_is_told_where_to_keep_it() -> None:
    environ = {name: value for name, value in os.environ.items() if name not in ("HOME", FOLDER_VARIABLE)}
    environ.pop("XDG_CACHE_HOME", None)
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", HOMELESS], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert FOLDER_VARIABLE in done.stdout


def test_sensors_found_in_part_keep_the_source_of_the_rest(tmp_path: Path) -> None:
    partly = FOUND.model_copy(update={"source": "prior", "measured": ("counter.update_period_s",)})
    save_sensors(BOARD, partly, tmp_path)
    assert load_sensors(BOARD, tmp_path) == partly
