"""Which real boards there are, and what each is."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pynvml

from llem_sweep.device.assigned import VISIBLE_DEVICES
from llem_sweep.device.nvml_errors import NO_BOARDS_HERE, optional, shut_down, translated, translation
from llem_sweep.errors import BoardLostError, DeviceError
from llem_sweep.results.environment import BoardInfo

_LOGGER = logging.getLogger(__name__)

_BYTES_PER_MB = 1e6
_PREFIX = "NVML_DEVICE_ARCH_"
_ARCHITECTURES = {
    value: name.removeprefix(_PREFIX).lower()
    for name, value in vars(pynvml).items()
    if name.startswith(_PREFIX) and value != pynvml.NVML_DEVICE_ARCH_UNKNOWN
}
_GA100 = re.compile(r"\b(A(100X?|30X?|800)|PG50[69])\b")
"""Boards whose chip is the GA100, PG506 and PG509 by their board numbers alone; their sensors are unlike those of
the other Ampere chips."""


def list_boards() -> tuple[BoardInfo, ...]:
    """All boards of this machine in NVML's order, which is PCI order; empty without library, driver or boards.

    Boards that this process may not use or that no longer answer are left out, with a line in the log. Raises
    DeviceError when NVML itself fails.
    """
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        if error.value in NO_BOARDS_HERE:
            return ()
        raise translation(error, "initialising NVML") from error
    try:
        with translated("counting the boards"):
            count = int(pynvml.nvmlDeviceGetCount())
        boards = tuple(_board_at(index) for index in range(count))
    finally:
        shut_down()
    return tuple(board for board in boards if board is not None)


def library_path() -> str | None:
    """Path of the NVML library that this process has loaded; None before that, or where it can't be told."""
    try:
        mapped = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = (line.split(maxsplit=5) for line in mapped.splitlines() if "libnvidia-ml.so" in line)
    return next((field[5] for field in fields if len(field) == 6), None)


def _board_at(index: int) -> BoardInfo | None:
    try:
        handle = optional(lambda: pynvml.nvmlDeviceGetHandleByIndex(index), f"opening board {index}")
        if handle is not None:
            return describe(handle)
        _LOGGER.warning("board %d is left out: this process may not use it", index)
    except BoardLostError as error:
        _LOGGER.warning("board %d is left out: %s", index, error)
    return None


def describe(handle: Any) -> BoardInfo:
    """What the board is. Raises DeviceError."""
    with translated("identifying a board"):
        uuid = str(pynvml.nvmlDeviceGetUUID(handle))
        name = str(pynvml.nvmlDeviceGetName(handle))
        index = int(pynvml.nvmlDeviceGetIndex(handle))
    doing = f"describing board {uuid}"
    memory = optional(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle), doing)
    pci = optional(lambda: pynvml.nvmlDeviceGetPciInfo_v3(handle), doing)
    limit_mw = optional(lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(handle), doing)
    if limit_mw is None:
        limit_mw = optional(lambda: pynvml.nvmlDeviceGetPowerManagementLimit(handle), doing)
    cuda = optional(pynvml.nvmlSystemGetCudaDriverVersion_v2, doing)
    architecture = optional(lambda: pynvml.nvmlDeviceGetArchitecture(handle), doing)
    persistence = optional(lambda: pynvml.nvmlDeviceGetPersistenceMode(handle), doing)
    return BoardInfo(
        uuid=uuid,
        name=name,
        index=index,
        pci_bus_id=str(pci.busId) if pci is not None else None,
        memory_total_mb=memory.total / _BYTES_PER_MB if memory is not None else None,
        power_limit_w=limit_mw / 1000 if limit_mw is not None else None,
        driver_version=optional(pynvml.nvmlSystemGetDriverVersion, doing),
        cuda_driver_version=f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda is not None else None,
        persistence_mode=bool(persistence) if persistence is not None else None,
        generation=generation_of(architecture, name),
    )


def generation_of(architecture: int | None, name: str) -> str | None:
    """Generation as in the table of sensors, from NVML's architecture and the board's name; None if unknown."""
    known = _ARCHITECTURES.get(architecture) if architecture is not None else None
    return "ga100" if known == "ampere" and _GA100.search(name) else known


def refuse_mig(handle: Any, info: BoardInfo) -> None:
    """Raises DeviceError when the board is in MIG mode."""
    mode = optional(lambda: pynvml.nvmlDeviceGetMigMode(handle), f"describing board {info.uuid}")
    if mode is not None and mode[0] == pynvml.NVML_DEVICE_MIG_ENABLE:
        raise DeviceError(
            f"board {info.index} ({info.uuid}) is in MIG mode: its energy can't be told apart by slice;"
            f" switch that off with `sudo nvidia-smi -i {info.index} -mig 0`, or leave the board out with"
            f" {VISIBLE_DEVICES}"
        )
