"""What a model's cache of keys and values takes, from its configuration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from llem_sweep.plan.types import CacheLayers

_NOTHING = "DummyLayer"
"""Of layers that use another's keys and values, or have none; older releases of transformers have no such."""


def cache_layers(shape: PreTrainedConfig, dtype: torch.dtype) -> tuple[CacheLayers, ...] | None:
    """The layers of ``shape``, of a model of text, by how long they keep a token's keys and values.

    Each keeps 2 × key-value heads × head size values for a token. None where one keeps anything else, as recurrent
    states or compressed keys.
    """
    layers = growing_layers(shape)
    if layers is None:
        return None
    shapes = getattr(shape, "per_layer_config", None) or [shape] * len(layers)
    if len(shapes) != len(layers):
        return None
    held: Counter[int | None] = Counter()
    for layer, own in zip(layers, shapes, strict=True):
        if type(layer).__name__ == _NOTHING:
            continue
        token_bytes = _token_bytes(own, dtype)
        if type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer) or token_bytes is None:
            return None
        held[layer.sliding_window if isinstance(layer, DynamicSlidingWindowLayer) else None] += token_bytes
    return tuple(CacheLayers(token_bytes, window) for window, token_bytes in held.items())


def growing_layers(shape: PreTrainedConfig) -> Sequence[object] | None:
    """The layers of the cache that generate() makes by default for ``shape``, of a model of text; None for the few
    models of which that doesn't follow from their configuration.

    Which layers there are, and how far each looks back, is said in many ways, all of which transformers knows.
    """
    try:
        return DynamicCache(config=shape).layers
    except (AttributeError, KeyError, ValueError):
        return None


def _token_bytes(layer: PreTrainedConfig, dtype: torch.dtype) -> int | None:
    heads = getattr(layer, "num_attention_heads", None)
    if not isinstance(heads, int) or getattr(layer, "kv_lora_rank", None):
        return None
    kv_heads = getattr(layer, "num_key_value_heads", None) or heads
    head_size = getattr(layer, "head_dim", None) or layer.hidden_size // heads
    return int(2 * kv_heads * head_size * dtype.itemsize)
