"""What torch and transformers raise, translated into this package's errors in one place."""

from __future__ import annotations

import gc
import traceback
from types import TracebackType

import torch

from llem_sweep.errors import BackendError, DeviceFaultError, GpuMemoryError, LlemSweepError

_MEMORY_MARKS = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "bad_alloc",
    "_status_alloc_failed",
)
_FAULT_MARKS = ("cuda error", "cublas_status_", "cudnn_status_", "cudnn error", "device-side assert")


class Translated:
    """Raise what the libraries raise inside as GpuMemoryError, DeviceFaultError or ``otherwise``.

    ``doing`` opens the message, for example ``loading ./models/tiny``. Every exception that isn't this package's
    own is a library's here: they have no common base, and some raise ``Exception`` itself.
    """

    def __init__(self, doing: str, otherwise: type[BackendError] = BackendError) -> None:
        self._doing = doing
        self._otherwise = otherwise

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(exc, Exception) and not isinstance(exc, LlemSweepError):
            raise _translate(exc, self._doing, self._otherwise) from exc


def _translate(exc: Exception, doing: str, otherwise: type[BackendError]) -> BackendError:
    text = f"{doing}: {type(exc).__name__}: {exc}"
    lowered = str(exc).lower()
    if isinstance(exc, torch.OutOfMemoryError | MemoryError) or any(m in lowered for m in _MEMORY_MARKS):
        _release(exc)
        return GpuMemoryError(
            f"{text}\nmemory didn't suffice: lower pytorch.batch_size, max_input_tokens or max_output_tokens, "
            "take a smaller precision, or raise gpus"
        )
    if isinstance(exc, torch.AcceleratorError) or any(mark in lowered for mark in _FAULT_MARKS):
        return DeviceFaultError(text)
    return otherwise(text)


def _release(exc: BaseException) -> None:
    """Free what a traceback's frames hold, weights and activations, which else lasts as long as the error."""
    link: BaseException | None = exc
    while link is not None:
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__
    gc.collect()
    torch.cuda.empty_cache()
