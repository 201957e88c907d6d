"""Calibrated sensors kept from one run to the next: one file for each board and driver version.

The folder is ``$LLEM_SWEEP_CACHE``, else ``$XDG_CACHE_HOME/llem-sweep``, else ``~/.cache/llem-sweep``. Simulated
boards and boards of an unknown driver are never kept. A file that can't be read or doesn't fit is as good as none.
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from llem_sweep.errors import OutputError
from llem_sweep.results.base import ResultModel
from llem_sweep.results.environment import BoardInfo
from llem_sweep.results.sensors import BoardSensors

_LOGGER = logging.getLogger(__name__)

FOLDER_VARIABLE = "LLEM_SWEEP_CACHE"
METHOD = 1
"""Raised with every change of the calibration that makes earlier findings worth repeating."""


class _Entry(ResultModel):
    method: int
    uuid: str
    driver_version: str
    sensors: BoardSensors


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where sensors are kept; it may not exist yet. Raises OutputError for a user without a home folder."""
    try:
        if own := environ.get(FOLDER_VARIABLE):
            return Path(own).expanduser() / "sensors"
        base = environ.get("XDG_CACHE_HOME")
        return (Path(base) if base else Path.home() / ".cache") / "llem-sweep" / "sensors"
    except RuntimeError as error:
        raise OutputError(
            f"there is no home folder to keep sensors in: set {FOLDER_VARIABLE} to a folder that can be written"
        ) from error


def load_sensors(board: BoardInfo, folder: Path | None = None) -> BoardSensors | None:
    """What was found on ``board`` with its present driver earlier; None when nothing was.

    A file that can't be read or holds something else is reported in the log and left out.
    """
    try:
        path = _path(board, folder)
    except OutputError:
        return None
    if path is None:
        return None
    try:
        entry = _Entry.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError, UnicodeDecodeError) as error:
        _LOGGER.warning(
            "%s is left out (%s): run `llem-sweep doctor --calibrate` to make it anew",
            path,
            _first_line(error),
        )
        return None
    if (entry.method, entry.uuid, entry.driver_version) != (METHOD, board.uuid, board.driver_version):
        return None
    if entry.sensors.source == "measured":
        return entry.sensors.model_copy(update={"source": "cached"})
    # Found in part only: the rest is published, and may still be refined.
    return entry.sensors


def save_sensors(board: BoardInfo, sensors: BoardSensors, folder: Path | None = None) -> Path | None:
    """Keep what was found on ``board``; the file, or None for a board that isn't kept.

    The file appears whole or not at all. Raises OutputError when it can't be written.
    """
    path = _path(board, folder)
    if path is None or board.driver_version is None:
        return None
    entry = _Entry(method=METHOD, uuid=board.uuid, driver_version=board.driver_version, sensors=sensors)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, beside = tempfile.mkstemp(prefix=path.name, dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(entry.model_dump_json(indent=2))
                file.flush()
                os.fsync(file.fileno())
            Path(beside).replace(path)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(
            f"the sensors of {board.uuid} can't be kept in {path.parent}: {error};"
            f" set {FOLDER_VARIABLE} to a folder that can be written"
        ) from error
    return path


def known_sensors(board: BoardInfo, published: BoardSensors, folder: Path | None = None) -> BoardSensors:
    """The best that is known of a board's sensors before anything is measured."""
    return load_sensors(board, folder) or published


def _path(board: BoardInfo, folder: Path | None) -> Path | None:
    if board.simulated or board.driver_version is None:
        return None
    name = re.sub(r"[^A-Za-z0-9.-]", "_", f"{board.uuid}-{board.driver_version}")
    return (folder or cache_folder()) / f"{name}.json"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
