"""Weights quantised while they are loaded, by bitsandbytes or to fp8."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import torch
from transformers import BitsAndBytesConfig, PreTrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D
from transformers.quantizers.base import HfQuantizer
from transformers.quantizers.quantizers_utils import should_convert_module

from llem_sweep.backends.pytorch.fp8 import effective_fp8, is_fp8, method_of
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.options import PyTorchOptions

_bitsandbytes: Callable[..., BitsAndBytesConfig] = BitsAndBytesConfig

_BLOCK = 64
"""4-bit weights that share a scale (bitsandbytes' block size)."""
_NESTED_BLOCK = 256
"""Scales that share a scale of their own, where they are quantised as well."""
_FLOAT = 4
"""Bytes of a scale."""


def quantisation_arguments(options: PyTorchOptions) -> dict[str, Any]:
    """What from_pretrained() is told so that it quantises; nothing where ``options`` ask for no such thing."""
    if options.bits is None:
        return {}
    # It tells of every product whose input it casts, and of kernels that it does without.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    if options.load_in_8bit:
        return {"quantization_config": _bitsandbytes(load_in_8bit=True)}
    chosen = {
        "bnb_4bit_compute_dtype": options.bnb_4bit_compute_dtype,
        "bnb_4bit_quant_type": options.bnb_4bit_quant_type,
    }
    given = {name: value for name, value in chosen.items() if value is not None}
    told = _bitsandbytes(
        load_in_4bit=True, bnb_4bit_use_double_quant=options.bnb_4bit_use_double_quant, **given
    )
    return {"quantization_config": told}


def quantised_already(kept: object, config: ExperimentConfig) -> str | None:
    """Why a checkpoint whose config.json has ``kept`` as its quantization_config can't be loaded as ``config``
    says: transformers would load it as it is, whatever else it is told, and fp8 as bf16 on many a board."""
    if kept is None:
        return None
    method, bits, fp8 = method_of(kept), config.pytorch.bits, config.precision == "fp8"
    if method == "fp8" and bits is None and config.weights == "pretrained":
        if isinstance(kept, dict) and kept.get("dequantize"):
            return "its config.json says that its weights in fp8 are brought back to bf16: remove dequantize there"
        return None if fp8 else f"its weights are fp8, and precision is {config.precision}: set it to fp8"
    if bits is None and not fp8:
        return None
    asked = "precision: fp8" if bits is None else f"pytorch.load_in_{bits}bit"
    return f"its weights are quantised already ({method or 'by its config.json'}): leave {asked} out"


def random_quantised(
    whole: PreTrainedModel, shape: PreTrainedConfig, arguments: dict[str, Any]
) -> PreTrainedModel:
    """``whole`` with its weights quantised and placed as ``arguments`` of from_pretrained() say.

    Weights are quantised as they are read, so that a model whose weights are initialised in place stays as it is.
    """
    model: PreTrainedModel = type(whole).from_pretrained(
        None, config=shape, state_dict=whole.state_dict(), **arguments
    )
    return model


def quantised_bytes(outline: PreTrainedModel, options: PyTorchOptions) -> int:
    """Bytes that the weights of ``outline`` (on any device, not quantised) take once they are quantised.

    4 bits: n / 2 for n weights, a scale of 4 bytes for every 64 and the 16 values of the code; with scales
    quantised as well, a byte for every 64 weights, a scale for every 256 of these, their code and offset. 8 bits:
    n, and a scale for every row.
    """
    kept = HfQuantizer.get_modules_to_not_convert(outline, None, [*(outline._keep_in_fp32_modules or ())])
    linear = {
        id(module.weight): module.weight
        for name, module in outline.named_modules()
        if (type(module) is torch.nn.Linear or isinstance(module, Conv1D))
        and should_convert_module(name, kept)
    }
    rest = sum(parameter.nbytes for parameter in outline.parameters() if id(parameter) not in linear)
    double = options.bnb_4bit_use_double_quant
    size = _eight_bit_bytes if options.bits == 8 else _nested_bytes if double else _four_bit_bytes
    return rest + sum(size(weight) for weight in linear.values())


def _eight_bit_bytes(weight: torch.Tensor) -> int:
    return weight.numel() + _FLOAT * weight.shape[0]


def _four_bit_bytes(weight: torch.Tensor) -> int:
    return -(-weight.numel() // 2) + _FLOAT * -(-weight.numel() // _BLOCK) + 16 * _FLOAT


def _nested_bytes(weight: torch.Tensor) -> int:
    scales = -(-weight.numel() // _BLOCK)
    nested = _FLOAT * (-(-scales // _NESTED_BLOCK) + 256 + 1)
    return -(-weight.numel() // 2) + scales + nested + 16 * _FLOAT


def effective_quantisation(model: PreTrainedModel) -> dict[str, Any] | None:
    """The quantisation in force, JSON-ready; None for weights that aren't quantised."""
    if not getattr(model, "is_quantized", False):
        return None
    told = model.config.quantization_config.to_dict()
    plain: dict[str, Any] = json.loads(json.dumps(told, default=str))
    known = {name: value for name, value in plain.items() if not name.startswith("_")}
    return known | (effective_fp8(model) if is_fp8(model.config) else {})


def forget_scales(model: PreTrainedModel) -> None:
    """Let go of what bitsandbytes keeps of the weights beside the parameters: scales, and with 8 bits the weights
    once more."""
    for module in model.modules():
        for holder in (module, getattr(module, "weight", None), getattr(module, "state", None)):
            for name in ("CB", "SCB", "quant_state"):
                if getattr(holder, name, None) is not None:
                    setattr(holder, name, None)
