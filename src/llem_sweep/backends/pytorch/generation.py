"""Arguments of generate(), and the exact count of what it returned."""

from __future__ import annotations

import hashlib
from typing import Any

import torch

from llem_sweep.backends.pytorch.loading import SpecialTokens
from llem_sweep.config.datasets import SyntheticDataset
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.options import STATIC_CACHES, CacheType

ASSISTANT_SETTINGS = (
    "num_assistant_tokens",
    "num_assistant_tokens_schedule",
    "assistant_confidence_threshold",
)
"""Arguments that transformers takes from the generation configuration of the assistant itself."""
CACHE_CONFIGS: dict[CacheType, dict[str, Any]] = {
    "fp8": {"backend": "fp8"},
    "int4": {"backend": "quanto", "nbits": 4},
    "int2": {"backend": "quanto", "nbits": 2},
}
"""What makes transformers keep keys and values in each type."""


def generation_arguments(config: ExperimentConfig, special: SpecialTokens) -> dict[str, Any]:
    """Everything of ``config`` that generate() is told, as fields of a GenerationConfig.

    Sampling arguments are there only with sampling on, beam arguments only with several beams. A synthetic
    dataset fixes the length of every answer, so that an end of sequence can't cut it short. A static cache would
    make transformers compile the model on its own accord, which ``torch_compile`` alone decides here.
    """
    options = config.pytorch
    arguments: dict[str, Any] = {
        "max_new_tokens": config.max_output_tokens,
        "do_sample": config.decoder.do_sample,
        "num_beams": options.num_beams,
        "use_cache": options.use_cache,
        "repetition_penalty": config.decoder.repetition_penalty,
        "no_repeat_ngram_size": options.no_repeat_ngram_size,
        "pad_token_id": special.pad,
        "eos_token_id": list(special.eos) or None,
        "bos_token_id": special.bos,
    }
    fixed = isinstance(config.dataset, SyntheticDataset)
    shortest = config.max_output_tokens if fixed else config.decoder.min_new_tokens
    if shortest is not None:
        arguments["min_new_tokens"] = shortest
    if options.num_beams > 1:
        arguments |= {"early_stopping": options.early_stopping, "length_penalty": options.length_penalty}
    if options.cache_implementation is not None:
        arguments["cache_implementation"] = options.cache_implementation
    if options.cache_dtype is not None:
        told = dict(CACHE_CONFIGS[options.cache_dtype])
        arguments |= {"cache_implementation": "quantized", "cache_config": told}
    if options.cache_implementation in STATIC_CACHES and not options.torch_compile:
        arguments["disable_compile"] = True
    if options.prompt_lookup_num_tokens is not None:
        arguments["prompt_lookup_num_tokens"] = options.prompt_lookup_num_tokens
    sampling = _sampling(config) if config.decoder.do_sample else {}
    # What concerns an assistant is told to it alone.
    further = {
        name: value for name, value in config.passthrough_kwargs.items() if name not in ASSISTANT_SETTINGS
    }
    return arguments | sampling | further


def cache_size(config: ExperimentConfig, longest: int) -> dict[str, int]:
    """The length of a static cache, as an argument of generate(): one for all batches, whose prompts have up to
    ``longest`` positions, so that a batch's cache doesn't depend on what ran before it."""
    if config.pytorch.cache_implementation not in STATIC_CACHES:
        return {}
    # The last token generated is never read, so it isn't cached.
    return {"max_cache_len": longest + config.max_output_tokens - 1}


def _sampling(config: ExperimentConfig) -> dict[str, Any]:
    decoder = config.decoder
    arguments: dict[str, Any] = {
        "temperature": decoder.temperature,
        "top_k": decoder.top_k,
        "top_p": decoder.top_p,
    }
    return arguments | ({"min_p": decoder.min_p} if decoder.min_p is not None else {})


def batch_seed(random_seed: int, index: int) -> int:
    """Seed of batch ``index``: from both numbers alone, and unrelated between neighbours."""
    digest = hashlib.sha256(f"{random_seed}:{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def output_lengths(generated: torch.Tensor, eos: tuple[int, ...]) -> list[int]:
    """Tokens of each row of ``generated`` (rows × positions) up to and including its first end of sequence.

    Counted by position: what follows a row's end is padding whatever its id, and padding may share that id.
    """
    rows, width = generated.shape
    if not eos or width == 0:
        return [width] * rows
    ends = torch.isin(generated, torch.tensor(eos, device=generated.device))
    first = torch.where(ends.any(dim=1), ends.int().argmax(dim=1) + 1, width)
    lengths: list[int] = first.tolist()
    return lengths
