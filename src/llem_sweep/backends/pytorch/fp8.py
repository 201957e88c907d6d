"""Weights in fp8: E4M3, with a scale for each block, by transformers' FineGrainedFP8Config.

transformers brings such a model back to bf16, with a line in a log, where a board has no products in fp8. That
never happens here: boards are asked before anything is loaded, and weights afterwards.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from transformers import FineGrainedFP8Config, PreTrainedConfig, PreTrainedModel
from transformers.integrations.finegrained_fp8 import FP8Experts, FP8Linear
from transformers.quantizers.base import HfQuantizer
from transformers.quantizers.quantizer_finegrained_fp8 import FineGrainedFP8HfQuantizer

from llem_sweep.backends.pytorch.placement import Placement
from llem_sweep.errors import ModelLoadError

LEAST_CAPABILITY = (8, 9)
"""Compute capability of the first boards with products in fp8 (Ada), as transformers asks for it."""
_WEIGHT = torch.float8_e4m3fn
_MOSTLY = 0.9
_config: Callable[..., FineGrainedFP8Config] = FineGrainedFP8Config
_from_dict: Callable[[dict[str, Any]], FineGrainedFP8Config] = FineGrainedFP8Config.from_dict


def fp8_settings(outline: PreTrainedModel) -> FineGrainedFP8Config:
    """What from_pretrained() is told so that it quantises a model like ``outline``, which is on the meta device.

    A layer whose sides aren't whole blocks would be left in bf16 inside a layer for fp8: it is named instead, so
    that the result tells of it. Raises ModelLoadError where that is every layer.
    """
    told = _config()
    layers = _layers(_converted(outline, told, quantised=False))
    unfit = [name for name, layer in layers.items() if not _whole_blocks(layer, told)]
    if len(unfit) == len(layers):
        block = " × ".join(map(str, told.weight_block_size))
        raise ModelLoadError(
            f"precision: fp8 takes blocks of {block} weights, which no linear layer of it has"
        )
    if not unfit:
        return told
    kept: list[str] = HfQuantizer.get_modules_to_not_convert(outline)
    return _config(modules_to_not_convert=sorted({*kept, *unfit}))


def fp8_bytes(outline: PreTrainedModel, kept: dict[str, Any] | None) -> int:
    """Bytes that the weights of ``outline`` take in fp8, scales included, of a checkpoint whose config.json has
    ``kept`` as its quantization_config, or quantised while loading."""
    told = fp8_settings(outline) if kept is None else _from_dict(kept)
    whole = dict(outline.named_parameters())
    return sum(
        # Layers for fp8 are outlined with biases of fp32, which have the type of the rest once they are loaded.
        (whole.get(name, weight) if weight.dtype == torch.float32 else weight).nbytes
        for name, weight in _converted(outline, told, quantised=kept is not None).named_parameters()
    )


def _converted(outline: PreTrainedModel, told: FineGrainedFP8Config, *, quantised: bool) -> PreTrainedModel:
    """A copy of ``outline`` with the layers that transformers would load weights into."""
    model: PreTrainedModel = copy.deepcopy(outline)
    # The list of layers left out is rewritten in place.
    quantizer = FineGrainedFP8HfQuantizer(copy.deepcopy(told), pre_quantized=quantised)
    quantizer.preprocess_model(model)
    return model


def _layers(model: PreTrainedModel) -> dict[str, torch.nn.Module]:
    return {name: each for name, each in model.named_modules() if isinstance(each, FP8Linear | FP8Experts)}


def _whole_blocks(layer: torch.nn.Module, told: FineGrainedFP8Config) -> bool:
    return all(
        side % block == 0
        for weight in layer.parameters()
        if weight.dtype == _WEIGHT
        for side, block in zip(weight.shape[-2:], told.weight_block_size, strict=True)
    )


def kept_quantisation(shape: PreTrainedConfig) -> object | None:
    """The quantization_config of a checkpoint of ``shape``, also where that of the part for text alone has one."""
    text = shape.get_text_config(decoder=True)
    return getattr(shape, "quantization_config", None) or getattr(text, "quantization_config", None)


def is_fp8(shape: PreTrainedConfig) -> bool:
    """Whether a checkpoint of ``shape``, or a loaded model with it, is in fp8."""
    return method_of(kept_quantisation(shape)) == "fp8"


def method_of(told: object) -> str | None:
    """The quantisation that ``told`` is about: a quantization_config as in a config.json, or transformers' own."""
    method = told.get("quant_method") if isinstance(told, dict) else getattr(told, "quant_method", None)
    return None if method is None else str(getattr(method, "value", method))


def require_fp8_boards(placement: Placement) -> None:
    """Raise ModelLoadError where a device can't multiply in fp8, or the kernels that do can't be had."""
    if placement.boards == 0:
        raise ModelLoadError("precision: fp8 needs GPUs: transformers would compute in bf16 on the CPU")
    for board in range(placement.boards):
        capability = torch.cuda.get_device_capability(board)
        if capability < LEAST_CAPABILITY:
            name, found = torch.cuda.get_device_name(board), ".".join(map(str, capability))
            raise ModelLoadError(
                f"precision: fp8 needs boards of compute capability {'.'.join(map(str, LEAST_CAPABILITY))} or"
                f" more, and {name} has {found}: transformers would compute in bf16"
            )
    # Now, so that neither a download nor its failure falls into the first batch.
    _load_kernels()


def _load_kernels() -> None:
    # Earlier versions of transformers have no such function; only who wants fp8 needs it.
    from transformers.integrations import finegrained_fp8

    load: Callable[[], object] = finegrained_fp8.load_finegrained_fp8_kernel
    load()


def require_fp8_weights(model: PreTrainedModel) -> None:
    """Raise ModelLoadError where no weight of a loaded ``model`` is in fp8, whatever transformers was told."""
    if not any(parameter.dtype == _WEIGHT for parameter in model.parameters()):
        raise ModelLoadError("precision: fp8: transformers has loaded it without any weight in fp8")


def multiplies_in_fp8(model: PreTrainedModel) -> bool:
    """Whether nine tenths or more of a loaded ``model``'s weights in linear layers but the last are in fp8."""
    find: Callable[[], torch.nn.Module | None] = model.get_output_embeddings
    head = find()
    layers = (each for each in model.modules() if isinstance(each, torch.nn.Linear | FP8Experts))
    weights = [
        each
        for layer in layers
        if layer is not head
        for each in layer.parameters(recurse=False)
        if each.ndim > 1
    ]
    quantised = sum(weight.numel() for weight in weights if weight.dtype == _WEIGHT)
    return quantised >= _MOSTLY * sum(weight.numel() for weight in weights)


def effective_fp8(model: PreTrainedModel) -> dict[str, Any]:
    """How much is in fp8, and what multiplies it: DeepGEMM where that can be compiled and takes the layer, else
    kernels of Triton. JSON-ready."""
    from transformers.integrations.deepgemm import is_deepgemm_loadable

    weights = [each for each in model.parameters() if each.dtype == _WEIGHT]
    return {"deepgemm": is_deepgemm_loadable(), "fp8_weights": sum(each.numel() for each in weights)}
