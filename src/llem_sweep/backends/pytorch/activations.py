"""What a pass holds besides weights and cache, from the shape of a model."""

from __future__ import annotations

import inspect

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from llem_sweep.backends.pytorch.architecture import routed_experts
from llem_sweep.plan.types import ActivationBytes

_STREAMS = 4
"""Copies of the hidden states alive in a layer's widest part: its input, kept for the sum at its end, and what was
normalised, each with the reference that a caller still holds."""
_ATTENTION_STREAMS = 3
_FLOAT = 4
"""Bytes of a number in fp32: the softmax's, and the chosen logits'."""


def activations_of(outline: PreTrainedModel, *, written_out: bool) -> ActivationBytes | None:
    """What a pass of ``outline`` (on any device) holds; ``written_out`` when attention keeps its scores (eager).

    Counted for layers of a gated product, as of nearly all current models: at its product the gate, the other half
    and their product are alive, and of mixtures of experts the states sent to them as well. None where the
    configuration says no such sizes.
    """
    shape: PreTrainedConfig = outline.config.get_text_config()
    hidden, heads, vocabulary = (
        getattr(shape, name, None) for name in ("hidden_size", "num_attention_heads", "vocab_size")
    )
    if not (isinstance(hidden, int) and isinstance(heads, int) and isinstance(vocabulary, int)):
        return None
    if (inner := _inner(shape, hidden)) is None:
        return None
    size = outline.dtype.itemsize
    head_size = getattr(shape, "head_dim", None) or hidden // heads
    last_only = "logits_to_keep" in inspect.signature(outline.forward).parameters
    return ActivationBytes(
        layer_token=size * (_STREAMS * hidden + inner),
        attention_token=size * (_ATTENTION_STREAMS * hidden + 3 * heads * head_size),
        pair=heads * _score_bytes(outline.dtype) if written_out else 0,
        chosen_logits=vocabulary * (size + _FLOAT),
        further_logits=0 if last_only else vocabulary * size,
        layer_keys=(getattr(shape, "num_key_value_heads", None) or heads) * head_size,
    )


def _inner(shape: PreTrainedConfig, hidden: int) -> int | None:
    """Numbers alive inside the wide part of a layer, for one token."""
    dense, routed = getattr(shape, "intermediate_size", None), routed_experts(shape)
    width = getattr(shape, "moe_intermediate_size", None) or dense
    if routed is not None and isinstance(width, int):
        # Both halves stay as views of one product.
        return routed * (hidden + 4 * width)
    return 3 * dense if isinstance(dense, int) else None


def _score_bytes(dtype: torch.dtype) -> int:
    """Scores, their softmax in fp32, and that brought back to ``dtype``, which is nothing to do in fp32."""
    return 2 * _FLOAT if dtype == torch.float32 else 2 * dtype.itemsize + _FLOAT
