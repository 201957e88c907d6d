"""What is known of a model from its configuration alone, on the meta device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from transformers import AutoConfig, PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from llem_sweep.backends.pytorch.faults import Translated
from llem_sweep.backends.pytorch.loading import DTYPES, from_config
from llem_sweep.backends.pytorch.tensor import divided_heads, has_tensor_plan
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.errors import BackendError
from llem_sweep.plan.types import ModelFacts


class HubUnreachableError(Exception):
    """The Hub doesn't answer; whether the model exists is unknown."""


def describe(config: ExperimentConfig) -> ModelFacts:
    """Facts on the model of ``config``; a problem only where it is certain.

    Runs no code of the model's. Raises HubUnreachableError, after the Hub client's own retries.
    """
    missing = _missing_folder(config.model)
    if missing:
        return ModelFacts(problem=missing)
    revision = {"revision": config.pytorch.revision} if config.pytorch.revision else {}
    try:
        with Translated("config.json can't be read"):
            raw, _ = PreTrainedConfig.get_config_dict(config.model, **revision)
    except BackendError as exc:
        return _unreadable(config.model, exc)
    refused = _refused(raw, config)
    if refused or "auto_map" in raw:
        return ModelFacts(problem=refused)
    try:
        with Translated("config.json makes no causal language model"):
            return _measure(config, raw, revision)._replace(problem=_missing_weights(config))
    except BackendError as exc:
        return ModelFacts(problem=f"{config.model}: {exc}")


def _missing_folder(model: str) -> str | None:
    if not model.startswith(("./", "../", "/")):
        return None
    if not Path(model).is_dir():
        return f"{model}: there is no such folder"
    return None if (Path(model) / "config.json").is_file() else f"{model}: the folder holds no config.json"


def _missing_weights(config: ExperimentConfig) -> str | None:
    if config.weights == "random" or not config.model.startswith(("./", "../", "/")):
        return None
    kinds = ("*.safetensors",) if config.pytorch.use_safetensors else ("*.safetensors", "*.bin", "*.pt")
    if any(next(Path(config.model).glob(kind), None) for kind in kinds):
        return None
    return (
        f"{config.model}: the folder holds no {' or '.join(kinds)}: add the weights, or set weights: random"
    )


def _unreadable(model: str, exc: BackendError) -> ModelFacts:
    """A local file that can't be parsed is a problem; a Hub model may still be in a worker's cache or reach."""
    if model.startswith(("./", "../", "/")):
        return ModelFacts(problem=f"{model}: {exc}")
    if exc.__cause__ is not None and isinstance(exc.__cause__.__cause__, LocalEntryNotFoundError):
        raise HubUnreachableError(str(exc)) from exc
    return ModelFacts()


def _refused(raw: dict[str, Any], config: ExperimentConfig) -> str | None:
    kind = raw.get("model_type")
    if kind in CONFIG_MAPPING:
        return None
    if "auto_map" not in raw:
        return f"{config.model}: this version of transformers doesn't know the architecture {kind!r}"
    if config.pytorch.trust_remote_code:
        return None
    return (
        f"{config.model}: the architecture {kind!r} needs code from the model's folder: set "
        "pytorch.trust_remote_code and give --allow-remote-code"
    )


def _measure(config: ExperimentConfig, raw: dict[str, Any], revision: dict[str, Any]) -> ModelFacts:
    shape = AutoConfig.from_pretrained(config.model, trust_remote_code=False, **revision)
    dtype = DTYPES[config.precision]
    with torch.device("meta"):
        outline = from_config(shape, dtype=dtype, trust_remote_code=False)
    parameters = tuple(outline.parameters())
    # Quantised checkpoints hold other types than the architecture: their size isn't known from here.
    quantised = "quantization_config" in raw and config.weights == "pretrained"
    return ModelFacts(
        parameters=sum(parameter.numel() for parameter in parameters),
        weight_bytes=None if quantised else sum(parameter.nbytes for parameter in parameters),
        cache_bytes_per_token=_cache_bytes(shape.get_text_config(), dtype),
        tensor_plan=has_tensor_plan(shape),
        divided_heads=divided_heads(shape),
    )


def _cache_bytes(shape: PreTrainedConfig, dtype: torch.dtype) -> int | None:
    """Keys and values: 2 × layers × key-value heads × head size × bytes per value.

    None for models whose cache isn't of that shape: sliding windows, recurrent states, compressed keys.
    """
    layers = getattr(shape, "num_hidden_layers", None)
    heads = getattr(shape, "num_attention_heads", None)
    kinds = set(getattr(shape, "layer_types", None) or ("full_attention",))
    special = any(getattr(shape, name, None) for name in ("sliding_window", "kv_lora_rank"))
    if not isinstance(layers, int) or not isinstance(heads, int) or special or kinds != {"full_attention"}:
        return None
    kv_heads = getattr(shape, "num_key_value_heads", None) or heads
    head_size = getattr(shape, "head_dim", None) or shape.hidden_size // heads
    return int(2 * layers * kv_heads * head_size * dtype.itemsize)
