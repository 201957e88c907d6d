"""Requests as token ids, and batches of them padded on the left."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from llem_sweep.backends.datasets import load_prompts
from llem_sweep.backends.pytorch.chat import Chat
from llem_sweep.backends.pytorch.loading import SpecialTokens, vocabulary_size
from llem_sweep.config.datasets import SyntheticDataset
from llem_sweep.config.experiment import ExperimentConfig, in_chat
from llem_sweep.errors import BackendError

RESIDENT_BYTES = 64 * 1024 * 1024
"""Inputs of one experiment up to this size are moved to the device before the window."""


class Batch(NamedTuple):
    """Inputs of one call of generate(), both of shape (requests, positions)."""

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    input_tokens: int
    """Positions that aren't padding."""
    numbers: tuple[int, ...]
    """Which requests these are, from 0."""


def request_ids(
    config: ExperimentConfig,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    special: SpecialTokens,
) -> list[list[int]]:
    """Token ids of every request, in the order they are run."""
    if isinstance(config.dataset, SyntheticDataset):
        return _exact_requests(config.dataset, model, tokenizer, special)
    prompts = load_prompts(config)
    if in_chat(config):
        chat = Chat(tokenizer, config.model)
        requests = [chat.ids(prompt, config.max_input_tokens) for prompt in prompts]
    else:
        encoded = tokenizer(list(prompts), truncation=True, max_length=config.max_input_tokens)
        requests = encoded["input_ids"]
    for prompt, ids in zip(prompts, requests, strict=True):
        if not ids:
            raise BackendError(f"the tokenizer makes no token of the prompt {prompt[:40]!r}: leave it out")
    return requests


def _exact_requests(
    dataset: SyntheticDataset,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    special: SpecialTokens,
) -> list[list[int]]:
    vocabulary = min(vocabulary_size(model), len(tokenizer))
    barred = {*tokenizer.all_special_ids, *special.eos, special.pad}
    ordinary = [token for token in range(vocabulary) if token not in barred]
    if not ordinary:
        raise BackendError("the tokenizer has no ordinary token to make a synthetic dataset of")
    generator = random.Random(dataset.seed)
    return [generator.choices(ordinary, k=dataset.input_len) for _ in range(dataset.n)]


def in_order(numbers: Sequence[int], requests: list[list[int]], config: ExperimentConfig) -> Sequence[int]:
    """``numbers`` of some of ``requests`` in the order of ``pytorch.batching``: as they are, or by length.

    The longest come first, so that the warm-up, which begins with the first batch, has seen the largest; those
    of one length stay in their order.
    """
    if config.pytorch.batching != "sorted":
        return numbers
    return sorted(numbers, key=lambda number: len(requests[number]), reverse=True)


def make_batches(requests: list[list[int]], batch_size: int, pad: int, device: torch.device) -> list[Batch]:
    """Batches in order of the requests, padded on the left to the longest of each; numbered as here."""
    batches = [
        _pad(requests, range(len(requests))[at : at + batch_size], pad)
        for at in range(0, len(requests), batch_size)
    ]
    size = sum(batch.input_ids.nbytes + batch.attention_mask.nbytes for batch in batches)
    if size > RESIDENT_BYTES:
        return batches
    return [
        batch._replace(input_ids=batch.input_ids.to(device), attention_mask=batch.attention_mask.to(device))
        for batch in batches
    ]


def _pad(every: list[list[int]], numbers: Sequence[int], pad: int) -> Batch:
    requests = [every[number] for number in numbers]
    width = max(len(ids) for ids in requests)
    gaps = [width - len(ids) for ids in requests]
    rows = [[pad] * gap + ids for gap, ids in zip(gaps, requests, strict=True)]
    mask = [[0] * gap + [1] * len(ids) for gap, ids in zip(gaps, requests, strict=True)]
    attention_mask = torch.tensor(mask)
    return Batch(torch.tensor(rows), attention_mask, int(attention_mask.sum()), tuple(numbers))


def check_positions(longest: int, config: ExperimentConfig, model: PreTrainedModel) -> None:
    """Raise BackendError where the ``longest`` prompt and its answer exceed the positions that the model was made
    for."""
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if limit is not None and longest + config.max_output_tokens > limit:
        raise BackendError(
            f"prompts of up to {longest} tokens and answers of up to {config.max_output_tokens} exceed the "
            f"{limit} positions of {config.model}: lower max_input_tokens or max_output_tokens (input_len or "
            "output_len of a synthetic dataset)"
        )
