"""The memory that an experiment needs at least: weights, cache, and what is computed between them."""

from __future__ import annotations

from typing import NamedTuple

from llem_sweep.config.datasets import SyntheticDataset
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.plan.packed_cache import PackedCache, packed_cache
from llem_sweep.plan.types import ActivationBytes, ModelFacts
from llem_sweep.plan.workload import planned_workload


class MemoryEstimate(NamedTuple):
    """Bytes of one model and a batch that it works on, on all of its devices together."""

    weights: int
    cache: int
    """Keys and values at the end of the batch, of all rows."""
    activations: int
    """On top of both, at the moment of most memory; then the cache may not have grown to its end yet, or layers
    that keep the last tokens alone may still have whole prompts."""

    @property
    def total(self) -> int:
        """The most held at any time."""
        return self.weights + self.cache + self.activations


class _Batch(NamedTuple):
    rows: int
    width: int
    """Positions of each prompt."""
    steps: int
    """Passes after the first."""
    static: int | None
    """Positions of a cache that is made whole before the first pass; None for one that grows."""

    @property
    def length(self) -> int:
        """Positions of each row in the cache at the end."""
        return self.width + self.steps if self.static is None else self.static


def memory_estimate(config: ExperimentConfig, facts: ModelFacts) -> MemoryEstimate | None:
    """What ``config`` needs at least; None where its weights aren't known.

    Requests of a synthetic dataset have their exact lengths. Others may be of one token, and answers end after
    the fewest that are asked for, so that nothing is counted that may not be needed; a static cache has room for
    the longest answer. Of a cache or activations of which nothing is known, nothing is counted either.
    """
    if facts.weight_bytes is None:
        return None
    batch = _least_batch(config)
    if config.backend == "pytorch" and not _keeps_cache(config):
        last = _activations(facts.activations, batch.rows, batch.width + batch.steps)
        return MemoryEstimate(facts.weight_bytes, 0, last)
    if (packed := packed_cache(config)) is not None:
        return _with_packed(facts, facts.weight_bytes, batch, packed)
    layers = facts.cache or ()
    cache = batch.rows * sum(each.bytes(batch.length) for each in layers)
    # What a growing cache will let go of is there until the next pass, since it is a part of one tensor.
    prompts = batch.rows * batch.width * sum(each.token_bytes for each in layers)
    prompt = _activations(facts.activations, batch.rows, batch.width)
    prompt += prompts if batch.static is None else cache
    last = cache + (_activations(facts.activations, batch.rows, 1) if batch.steps else 0)
    return MemoryEstimate(facts.weight_bytes, cache, max(prompt, last) - cache)


def _with_packed(facts: ModelFacts, weights: int, batch: _Batch, packed: PackedCache) -> MemoryEstimate:
    """With a cache that grows and keeps all tokens, packed: each later pass brings one layer's back."""
    rows, width, known = batch.rows, batch.width, facts.activations
    token_bytes = sum(each.token_bytes for each in facts.cache or ())
    brought_back = known.layer_keys * packed.brought_back if known else 0

    def held(steps: int) -> int:
        return int(rows * packed.bytes(token_bytes, width, steps))

    prompt = held(0) + _activations(known, rows, width)
    passes = (
        held(steps) + max(_activations(known, rows, 1), rows * (width + steps) * brought_back)
        for steps in packed.fullest(batch.steps)
    )
    cache = held(batch.steps)
    return MemoryEstimate(weights, cache, max(prompt, cache, *passes) - cache)


def _least_batch(config: ExperimentConfig) -> _Batch:
    exact = isinstance(config.dataset, SyntheticDataset)
    width = config.max_input_tokens if exact else 1
    longest = config.max_output_tokens - 1
    steps = longest if exact else (config.decoder.min_new_tokens or 1) - 1
    static = width + longest if _is_static(config) else None
    return _Batch(planned_workload(config).rows, width, steps, static)


def _is_static(config: ExperimentConfig) -> bool:
    options = config.pytorch
    chosen = options.cache_implementation or ("static" if options.torch_compile else None)
    return config.backend == "pytorch" and chosen == "static"


def _keeps_cache(config: ExperimentConfig) -> bool:
    """Whether keys and values stay beside the weights as they are: not without a cache, nor with one that is moved
    to the host or packed."""
    return config.pytorch.use_cache and config.pytorch.cache_implementation in (None, "static")


def _activations(known: ActivationBytes | None, rows: int, width: int) -> int:
    """The most that one pass over ``width`` positions of each row holds: inside the widest part of a layer, inside
    attention where its scores are written out, or with the logits."""
    if known is None:
        return 0
    tokens = rows * width
    logits = rows * known.chosen_logits + (tokens - rows) * known.further_logits
    scores = tokens * known.attention_token + tokens * width * known.pair if known.pair else 0
    return max(tokens * known.layer_token, scores, logits)
