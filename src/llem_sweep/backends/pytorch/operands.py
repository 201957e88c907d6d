"""What the products of a loaded model take, and what a forward pass has to read for them."""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedModel

from llem_sweep.backends.protocol import Operands
from llem_sweep.backends.pytorch.architecture import output_head
from llem_sweep.backends.pytorch.fp8 import is_fp8, multiplies_in_fp8
from llem_sweep.backends.pytorch.tensor import local_part
from llem_sweep.config.options import PyTorchOptions
from llem_sweep.plan.architecture import Architecture, Uncounted

_TYPES = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}
_NONE = Operands(None, None, None)


def operands_of(model: PreTrainedModel, architecture: Architecture | Uncounted, processes: int) -> Operands:
    """Those of ``model``, of which this is one of ``processes`` parts."""
    fp8 = getattr(model, "is_quantized", False) and is_fp8(model.config)
    if getattr(model, "is_quantized", False) and not fp8:
        told = model.config.quantization_config
        # Four bits are unpacked before they are multiplied; eight are multiplied as they are, but for outliers.
        unpacked = told.bnb_4bit_compute_dtype if getattr(told, "load_in_4bit", False) else None
        return _NONE._replace(
            product_type=_TYPES.get(unpacked) if unpacked is not None else None,
            reason="bytes read of quantised weights, and of the scales beside them, aren't counted",
        )
    # That of the layers between; the last layer and attention stay in bf16.
    in_fp8 = "fp8" if fp8 and multiplies_in_fp8(model) else None
    product_type = in_fp8 if fp8 else _TYPES.get(model.dtype)
    if isinstance(architecture, Uncounted):
        return _NONE._replace(product_type=product_type, reason=architecture.reason)
    if architecture.active_parameters < architecture.parameters:
        return _NONE._replace(
            product_type=product_type,
            reason="which experts a batch reads isn't known: their bytes aren't counted",
        )
    if len({parameter.device.type for parameter in model.parameters()}) > 1:
        return _NONE._replace(
            product_type=product_type, reason="some of the weights aren't in the boards' memory"
        )
    return Operands(product_type, _weight_bytes(model), model.dtype.itemsize / processes)


def beside_cache(operands: Operands, options: PyTorchOptions, processes: int) -> Operands:
    """``operands`` of one of ``processes`` parts of a model, with the cache that ``options`` ask for."""
    if operands.cache_value_bytes is None or not options.quantises_cache:
        return operands
    if options.cache_dtype == "fp8":
        return operands._replace(cache_value_bytes=1 / processes)
    return operands._replace(
        cache_value_bytes=None,
        reason="bytes read of a cache of integers, and of the scales beside them, aren't counted",
    )


def _weight_bytes(model: PreTrainedModel) -> int:
    """All weights but an embedding of its own, of which a pass reads a few rows."""
    looked_up = {id(each.weight) for each in model.modules() if isinstance(each, nn.Embedding)}
    head = output_head(model)
    looked_up -= {id(each) for each in head.parameters()} if head is not None else set()
    return sum(
        local_part(parameter).nbytes for parameter in model.parameters() if id(parameter) not in looked_up
    )
