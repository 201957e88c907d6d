"""Real boards, through NVML. The only module that imports the binding.

Every NVML error becomes one of this package's here. An error that says "not offered" (not supported, unknown to
this library, not permitted, no data) means None for that one quantity and nothing else.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pynvml

from llem_sweep.device.protocol import Reading
from llem_sweep.errors import BoardLostError, DeviceError, IdentityError
from llem_sweep.phases import PhaseMark
from llem_sweep.results.environment import BoardInfo

_T = TypeVar("_T")
_LOGGER = logging.getLogger(__name__)

_NO_BOARDS_HERE = (
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
    pynvml.NVML_ERROR_NOT_FOUND,
    pynvml.NVML_ERROR_GPU_NOT_FOUND,
)
_NOT_OFFERED = (
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_NO_PERMISSION,
    pynvml.NVML_ERROR_NO_DATA,
    pynvml.NVML_ERROR_NOT_READY,
    pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
    pynvml.NVML_ERROR_DEPRECATED,
)
_LOST = (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED)
_BYTES_PER_MB = 1e6


class NvmlGpu:
    """A real board. Reading and closing may happen in different threads, but not at the same time."""

    def __init__(self, handle: Any, info: BoardInfo) -> None:
        """Use :meth:`open`."""
        self._handle = handle
        self._info = info
        self._has_answered = False
        self._open = True

    @classmethod
    def open(cls, uuid: str) -> NvmlGpu:
        """The board with this full UUID (``GPU-…``).

        Raises DeviceError when there is no such board, it can't be used, or MIG is on: energy and power are then
        the whole board's, whichever slice computes.
        """
        if uuid.upper().startswith("MIG-"):
            raise DeviceError(
                f"{uuid} is a MIG slice, whose energy NVML doesn't tell apart; assign a whole board"
            )
        with _translated(f"initialising NVML for board {uuid}"):
            pynvml.nvmlInit()
        try:
            with _translated(f"opening board {uuid} (compare with `nvidia-smi -L`)"):
                handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
            info = _describe(handle)
            if info.uuid.lower() != uuid.lower():
                raise IdentityError(
                    f"NVML opened board {info.uuid} when asked for {uuid}; give the full UUID"
                )
            _refuse_mig(handle, info)
        except DeviceError:
            _shut_down()
            raise
        return cls(handle, info)

    @property
    def info(self) -> BoardInfo:
        return self._info

    def read(self) -> Reading:
        if not self._open:
            raise DeviceError(f"board {self._info.uuid} was closed; open it again before reading")
        # The counter and power are read in the middle of the calls, where the sample is stamped.
        temperature = self._ask(
            lambda handle: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)
        )
        utilisation = self._ask(pynvml.nvmlDeviceGetUtilizationRates)
        energy_mj = self._ask(pynvml.nvmlDeviceGetTotalEnergyConsumption)
        power_mw = self._ask(pynvml.nvmlDeviceGetPowerUsage)
        memory = self._ask(pynvml.nvmlDeviceGetMemoryInfo)
        reasons = self._ask(pynvml.nvmlDeviceGetCurrentClocksEventReasons)
        if reasons is None:
            reasons = self._ask(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons)
        self._has_answered = True
        return Reading(
            energy_mj=energy_mj,
            power_mw=power_mw,
            temperature_c=temperature,
            memory_used_mb=memory.used / _BYTES_PER_MB if memory is not None else None,
            sm_utilisation_pct=utilisation.gpu if utilisation is not None else None,
            throttle_reasons=reasons,
        )

    def foreign_processes(self) -> tuple[int, ...] | None:
        """Process ids, other than this process's, with a compute context on the board; None when it can't be told.

        The driver tells of processes in this process's own namespace: inside a container others may be missing, or
        all of them, so an empty answer there is no proof that the board is free.
        """
        processes = self._ask(pynvml.nvmlDeviceGetComputeRunningProcesses_v3)
        if processes is None:
            processes = self._ask(pynvml.nvmlDeviceGetComputeRunningProcesses_v2)
        if processes is None:
            return None
        return tuple(sorted({int(process.pid) for process in processes} - {os.getpid()}))

    def close(self) -> None:
        if self._open:
            self._open = False
            _shut_down()

    def on_phase(self, mark: PhaseMark) -> None:
        """A real board needs no telling."""

    def _ask(self, call: Callable[[Any], Any]) -> Any:
        """``call`` on the board; None when the driver doesn't offer it."""
        try:
            return call(self._handle)
        except pynvml.NVMLError as error:
            if error.value in _NOT_OFFERED:
                return None
            # A board that fell off the bus answers "unknown error" to calls that worked before.
            lost = _LOST if not self._has_answered else (*_LOST, pynvml.NVML_ERROR_UNKNOWN)
            raise _translation(error, f"reading board {self._info.uuid}", lost) from error


def list_boards() -> tuple[BoardInfo, ...]:
    """All boards of this machine in NVML's order, which is PCI order; empty without library, driver or boards.

    Boards that this process may not use or that no longer answer are left out, with a line in the log. Raises
    DeviceError when NVML itself fails.
    """
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        if error.value in _NO_BOARDS_HERE:
            return ()
        raise _translation(error, "initialising NVML") from error
    try:
        with _translated("counting the boards"):
            count = int(pynvml.nvmlDeviceGetCount())
        boards = tuple(_board_at(index) for index in range(count))
    finally:
        _shut_down()
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
        handle = _optional(lambda: pynvml.nvmlDeviceGetHandleByIndex(index), f"opening board {index}")
        if handle is not None:
            return _describe(handle)
        _LOGGER.warning("board %d is left out: this process may not use it", index)
    except BoardLostError as error:
        _LOGGER.warning("board %d is left out: %s", index, error)
    return None


def _describe(handle: Any) -> BoardInfo:
    with _translated("identifying a board"):
        uuid = str(pynvml.nvmlDeviceGetUUID(handle))
        name = str(pynvml.nvmlDeviceGetName(handle))
        index = int(pynvml.nvmlDeviceGetIndex(handle))
    doing = f"describing board {uuid}"
    memory = _optional(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle), doing)
    pci = _optional(lambda: pynvml.nvmlDeviceGetPciInfo_v3(handle), doing)
    limit_mw = _optional(lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(handle), doing)
    if limit_mw is None:
        limit_mw = _optional(lambda: pynvml.nvmlDeviceGetPowerManagementLimit(handle), doing)
    cuda = _optional(pynvml.nvmlSystemGetCudaDriverVersion_v2, doing)
    persistence = _optional(lambda: pynvml.nvmlDeviceGetPersistenceMode(handle), doing)
    return BoardInfo(
        uuid=uuid,
        name=name,
        index=index,
        pci_bus_id=str(pci.busId) if pci is not None else None,
        memory_total_mb=memory.total / _BYTES_PER_MB if memory is not None else None,
        power_limit_w=limit_mw / 1000 if limit_mw is not None else None,
        driver_version=_optional(pynvml.nvmlSystemGetDriverVersion, doing),
        cuda_driver_version=f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda is not None else None,
        persistence_mode=bool(persistence) if persistence is not None else None,
    )


def _refuse_mig(handle: Any, info: BoardInfo) -> None:
    mode = _optional(lambda: pynvml.nvmlDeviceGetMigMode(handle), f"describing board {info.uuid}")
    if mode is not None and mode[0] == pynvml.NVML_DEVICE_MIG_ENABLE:
        raise DeviceError(
            f"board {info.index} ({info.uuid}) is in MIG mode: its energy can't be told apart by slice;"
            f" switch it off with `nvidia-smi -i {info.index} -mig 0`"
        )


def _optional(call: Callable[[], _T], doing: str) -> _T | None:
    try:
        return call()
    except pynvml.NVMLError as error:
        if error.value in _NOT_OFFERED:
            return None
        raise _translation(error, doing) from error


def _shut_down() -> None:
    with _translated("closing NVML"):
        pynvml.nvmlShutdown()


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    try:
        yield
    except pynvml.NVMLError as error:
        raise _translation(error, doing) from error


def _translation(error: pynvml.NVMLError, doing: str, lost: tuple[int, ...] = _LOST) -> DeviceError:
    if error.value in lost:
        return BoardLostError(
            f"{doing}: the board no longer answers ({error}); see the kernel log for Xid messages"
        )
    return DeviceError(f"{doing}: {error}; check that `nvidia-smi` works here")
