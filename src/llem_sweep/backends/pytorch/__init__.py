"""The PyTorch/transformers backend. Asking for it imports torch and transformers; its modules, what they need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llem_sweep.backends.pytorch.backend import PyTorchBackend

__all__ = ["PyTorchBackend"]


def __getattr__(name: str) -> Any:
    # Late, because the doctor asks torch alone (burst), and transformers takes longer to import than torch does.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from llem_sweep.backends.pytorch.backend import PyTorchBackend

    return PyTorchBackend
