"""What only some configurations need: optional extras of this package, and a compiler."""

from __future__ import annotations

import os
import shutil

from transformers.utils import import_utils
from transformers.utils.import_utils import (
    BITSANDBYTES_MIN_VERSION,
    is_bitsandbytes_available,
    is_kernels_available,
    is_peft_available,
)

from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.options import INDUCTOR
from llem_sweep.errors import ModelLoadError


def lacking(config: ExperimentConfig) -> str | None:
    """What ``config`` needs that isn't installed where this runs, and what to do; None if nothing."""
    bits = config.pytorch.bits
    if bits is not None and not is_bitsandbytes_available():
        return (
            f"pytorch.load_in_{bits}bit needs bitsandbytes {BITSANDBYTES_MIN_VERSION} or newer, which isn't"
            " installed: pip install 'llem-sweep[bitsandbytes]' on every node"
        )
    if config.precision == "fp8" and not is_kernels_available():
        return (
            "precision: fp8 needs the package kernels in a version that the installed transformers takes, which"
            f" isn't installed: pip install '{_kernels()}' on every node"
        )
    if config.lora is not None and not is_peft_available():
        return "lora needs peft, which isn't installed: pip install 'llem-sweep[peft]' on every node"
    options = config.pytorch
    inductor = options.torch_compile and options.torch_compile_backend in (None, INDUCTOR)
    if inductor and (config.gpus == 0 or options.device == "cpu"):
        compiler = os.environ.get("CXX", "g++")
        if shutil.which(compiler) is None:
            return (
                f"pytorch.torch_compile needs the C++ compiler {compiler} (CXX names another), which isn't"
                " installed on this node"
            )
    return None


def _kernels() -> str:
    """The versions of kernels that transformers takes, as far as it says so."""
    bounds = ((">=", "KERNELS_MIN_VERSION"), ("<", "KERNELS_MAX_VERSION"))
    return "kernels" + ",".join(
        sign + getattr(import_utils, name) for sign, name in bounds if hasattr(import_utils, name)
    )


def require_installed(config: ExperimentConfig) -> None:
    """Raise ModelLoadError where something that ``config`` needs isn't installed."""
    if missing := lacking(config):
        raise ModelLoadError(f"loading {config.model}: {missing}")
