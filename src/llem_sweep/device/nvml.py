"""Real boards, through NVML. The binding is imported here and in the two modules beside this one, nowhere else."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pynvml

from llem_sweep.device.assigned import refuse_slice
from llem_sweep.device.nvml_boards import describe, library_path, list_boards, refuse_mig
from llem_sweep.device.nvml_errors import (
    LOST,
    NEVER_OFFERED,
    NOT_OFFERED,
    shut_down,
    translated,
    translation,
)
from llem_sweep.device.protocol import Health, Reading
from llem_sweep.device.sensors import prior
from llem_sweep.errors import DeviceError, IdentityError
from llem_sweep.phases import PhaseMark
from llem_sweep.results.environment import BoardInfo
from llem_sweep.results.sensors import BoardSensors

__all__ = ["NvmlGpu", "library_path", "list_boards"]

Call = Callable[[Any], Any]
"""A question to a board, given its handle."""

_BYTES_PER_MB = 1e6
_WHOLE_BOARD = 0
"""Scope of a field; 1 is the module, 2 the memory."""
_VALUE_NAMES = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
"""Member of a field's value by its type, which NVML numbers in this order."""


def _field(field: int) -> Call:
    """The call that reads one field; each has its own return code."""

    def ask(handle: Any) -> Any:
        (answer,) = pynvml.nvmlDeviceGetFieldValues(handle, [(field, _WHOLE_BOARD)])
        if answer.nvmlReturn != pynvml.NVML_SUCCESS:
            raise pynvml.NVMLError(answer.nvmlReturn)
        if answer.valueType >= len(_VALUE_NAMES):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return getattr(answer.value, _VALUE_NAMES[answer.valueType])

    return ask


_instant_mw = _field(pynvml.NVML_FI_DEV_POWER_INSTANT)
_power_throttle_ns = _field(pynvml.NVML_FI_DEV_PERF_POLICY_POWER)
_thermal_throttle_ns = _field(pynvml.NVML_FI_DEV_PERF_POLICY_THERMAL)


def _temperature_c(handle: Any) -> Any:
    return pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)


def _sm_clock_mhz(handle: Any) -> Any:
    return pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM)


def _ecc_errors(handle: Any) -> Any:
    return pynvml.nvmlDeviceGetTotalEccErrors(
        handle, pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC
    )


class NvmlGpu:
    """A real board. Reading and closing may happen in different threads, but not at the same time."""

    def __init__(self, handle: Any, info: BoardInfo) -> None:
        """Use :meth:`open`."""
        self._handle = handle
        self._info = info
        self._has_answered = False
        self._lacking: set[Call] = set()
        """Calls that this board will never answer: each would cost as much as a reading."""
        self._open = True

    @classmethod
    def open(cls, uuid: str) -> NvmlGpu:
        """The board with this full UUID (``GPU-…``).

        Raises DeviceError when there is no such board, it can't be used, or MIG is on: energy and power are then
        the whole board's, whichever slice computes.
        """
        refuse_slice(uuid)
        with translated(f"initialising NVML for board {uuid}"):
            pynvml.nvmlInit()
        try:
            with translated(f"opening board {uuid} (compare with `nvidia-smi -L`)"):
                handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
            info = describe(handle)
            if info.uuid.lower() != uuid.lower():
                raise IdentityError(
                    f"NVML opened board {info.uuid} when asked for {uuid}; give the full UUID"
                )
            refuse_mig(handle, info)
        except DeviceError:
            shut_down()
            raise
        return cls(handle, info)

    @property
    def info(self) -> BoardInfo:
        return self._info

    @property
    def sensors(self) -> BoardSensors:
        return prior(self._info.generation)

    def read(self, *, slow: bool = True) -> Reading:
        self._refuse_closed()
        if not slow:
            fast = Reading(*self._energy_and_power(), None, None, None, None, self._ask(_instant_mw))
            self._has_answered = True
            return fast
        # The counter and power are read in the middle of the calls, where the sample is stamped.
        temperature = self._ask(_temperature_c)
        utilisation = self._ask(pynvml.nvmlDeviceGetUtilizationRates)
        clock = self._ask(_sm_clock_mhz)
        energy_mj, power_mw = self._energy_and_power()
        instant_mw = self._ask(_instant_mw)
        memory = self._ask(pynvml.nvmlDeviceGetMemoryInfo)
        reasons = self._first(
            pynvml.nvmlDeviceGetCurrentClocksEventReasons, pynvml.nvmlDeviceGetCurrentClocksThrottleReasons
        )
        self._has_answered = True
        return Reading(
            energy_mj=energy_mj,
            power_mw=power_mw,
            temperature_c=temperature,
            memory_used_mb=memory.used / _BYTES_PER_MB if memory is not None else None,
            sm_utilisation_pct=utilisation.gpu if utilisation is not None else None,
            throttle_reasons=reasons,
            instant_mw=instant_mw,
            sm_clock_mhz=clock,
        )

    def health(self) -> Health:
        self._refuse_closed()
        mig = self._ask(pynvml.nvmlDeviceGetMigMode)
        return Health(
            foreign=self._foreign(),
            ecc_errors=self._ask(_ecc_errors),
            mig=mig[0] == pynvml.NVML_DEVICE_MIG_ENABLE if mig is not None else None,
            power_throttle_ns=self._ask(_power_throttle_ns),
            thermal_throttle_ns=self._ask(_thermal_throttle_ns),
        )

    def close(self) -> None:
        if self._open:
            self._open = False
            shut_down()

    def on_phase(self, mark: PhaseMark) -> None:
        """A real board needs no telling."""

    def _foreign(self) -> tuple[int, ...] | None:
        """Process ids, other than this process's, with a compute context on the board; None when it can't be told.

        The driver tells of processes in this process's own namespace: inside a container others may be missing, or
        all of them, so an empty answer there is no proof that the board is free.
        """
        processes = self._first(
            pynvml.nvmlDeviceGetComputeRunningProcesses_v3, pynvml.nvmlDeviceGetComputeRunningProcesses_v2
        )
        if processes is None:
            return None
        return tuple(sorted({int(process.pid) for process in processes} - {os.getpid()}))

    def _energy_and_power(self) -> tuple[int | None, int | None]:
        return self._ask(pynvml.nvmlDeviceGetTotalEnergyConsumption), self._ask(
            pynvml.nvmlDeviceGetPowerUsage
        )

    def _first(self, *calls: Call) -> Any:
        """The answer to the first of the calls that the driver offers; None when it offers none."""
        return next((answer for call in calls if (answer := self._ask(call)) is not None), None)

    def _ask(self, call: Call) -> Any:
        """``call`` on the board; None when the driver doesn't offer it."""
        if call in self._lacking:
            return None
        try:
            return call(self._handle)
        except pynvml.NVMLError as error:
            if error.value in NEVER_OFFERED:
                self._lacking.add(call)
            if error.value in NOT_OFFERED:
                return None
            # A board that fell off the bus answers "unknown error" to calls that worked before.
            lost = LOST if not self._has_answered else (*LOST, pynvml.NVML_ERROR_UNKNOWN)
            raise translation(error, f"reading board {self._info.uuid}", lost) from error

    def _refuse_closed(self) -> None:
        if not self._open:
            raise DeviceError(f"board {self._info.uuid} was closed; open it again before reading")
