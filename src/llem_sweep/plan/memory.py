"""The memory that an experiment needs at least: weights, cache, and what is computed between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from llem_sweep.config.datasets import SyntheticDataset
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.options import CacheType
from llem_sweep.plan.precision import VALUE_BYTES
from llem_sweep.plan.types import ActivationBytes, CacheLayers, ModelFacts
from llem_sweep.plan.workload import planned_workload

_BITS: dict[CacheType, int] = {"fp8": 8, "int4": 4, "int2": 2}
_GROUP = 64
"""Numbers of a cache of integers that share a scale and an offset (transformers' ``q_group_size``)."""
_RESIDUAL = 128
"""Tokens after which such a cache packs those that have come since (its ``residual_length``)."""
_FLOAT = 4
"""Bytes of a number that is brought back from fp8, before it has the type of what is computed."""


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
    layers = facts.cache or ()
    cache = _cache(config, layers, batch)
    # What a growing cache will let go of is there until the next pass, since it is a part of one tensor.
    whole = layers if batch.static is not None else [each._replace(window=None) for each in layers]
    first = _cache(config, whole, batch._replace(steps=0))
    prompt = first + _activations(facts.activations, batch.rows, batch.width)
    passes = (batch._replace(steps=steps) for steps in _fullest(config, batch.steps))
    last = max(
        (_cache(config, layers, one) + _later_pass(config, facts.activations, one) for one in passes),
        default=0,
    )
    return MemoryEstimate(facts.weight_bytes, cache, max(prompt, last, cache) - cache)


def _fullest(config: ExperimentConfig, steps: int) -> Iterator[int]:
    """Passes after the first, of ``steps``, at which most is held: the last, and that before tokens are packed."""
    if steps:
        yield steps
    if config.pytorch.cache_dtype in ("int4", "int2") and steps >= _RESIDUAL:
        yield steps - steps % _RESIDUAL - 1


def _cache(config: ExperimentConfig, layers: Sequence[CacheLayers], batch: _Batch) -> int:
    """Keys and values of all rows after ``batch.steps``, of ``layers`` that say what they are as computed."""
    kind, whole = config.pytorch.cache_dtype, batch.length
    if kind is None or config.backend != "pytorch":
        return batch.rows * sum(each.bytes(whole) for each in layers)
    token = sum(each.token_bytes for each in layers)
    value = VALUE_BYTES[config.precision]
    numbers = token / value
    if kind == "fp8":
        return int(batch.rows * whole * numbers)
    # A prompt is packed at once, with a scale and an offset of the type that is computed.
    recent = batch.steps % _RESIDUAL
    packed = numbers * (_BITS[kind] / 8 + 2 * value / _GROUP)
    return int(batch.rows * ((whole - recent) * packed + recent * token))


def _later_pass(config: ExperimentConfig, known: ActivationBytes | None, batch: _Batch) -> int:
    """The most that the last pass of ``batch`` holds: keys and values of a layer brought back from their type, or
    the rest."""
    rest, kind = _activations(known, batch.rows, 1), config.pytorch.cache_dtype
    if known is None or kind is None or config.backend != "pytorch":
        return rest
    value = VALUE_BYTES[config.precision]
    # fp8: keys brought back, values as two floats on their way, and both as they were before the new token.
    # Integers: both brought back, and once more joined to the latest tokens.
    number = value + 2 * _FLOAT + 2 if kind == "fp8" else 4 * value
    return max(rest, batch.rows * (batch.width + batch.steps) * known.layer_keys * number)


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
