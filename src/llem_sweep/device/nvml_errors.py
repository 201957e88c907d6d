"""NVML's errors as this package's, translated at the edge.

An error that says "not offered" (not supported, unknown to this library, not permitted, no data) means None for
that one quantity and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pynvml

from llem_sweep.errors import BoardLostError, DeviceError

_T = TypeVar("_T")

NO_BOARDS_HERE = (
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
    pynvml.NVML_ERROR_NOT_FOUND,
    pynvml.NVML_ERROR_GPU_NOT_FOUND,
)
NEVER_OFFERED = (pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
"""Answers that the same board won't change."""
NOT_OFFERED = (
    *NEVER_OFFERED,
    pynvml.NVML_ERROR_NO_PERMISSION,
    pynvml.NVML_ERROR_NO_DATA,
    pynvml.NVML_ERROR_NOT_READY,
    pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
    pynvml.NVML_ERROR_DEPRECATED,
)
LOST = (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED)


def optional(call: Callable[[], _T], doing: str) -> _T | None:
    """What ``call`` returns; None when the driver doesn't offer it. Raises DeviceError."""
    try:
        return call()
    except pynvml.NVMLError as error:
        if error.value in NOT_OFFERED:
            return None
        raise translation(error, doing) from error


def shut_down() -> None:
    """Undo one initialisation. Raises DeviceError."""
    with translated("closing NVML"):
        pynvml.nvmlShutdown()


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raises the DeviceError that stands for any error of NVML inside; ``doing`` begins its message."""
    try:
        yield
    except pynvml.NVMLError as error:
        raise translation(error, doing) from error


def translation(error: pynvml.NVMLError, doing: str, lost: tuple[int, ...] = LOST) -> DeviceError:
    """BoardLostError for the codes in ``lost``, else DeviceError."""
    if error.value in lost:
        return BoardLostError(
            f"{doing}: the board no longer answers ({error}); see the kernel log for Xid messages"
        )
    return DeviceError(f"{doing}: {error}; check that `nvidia-smi` works here")
