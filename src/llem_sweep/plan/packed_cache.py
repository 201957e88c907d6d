"""A cache that keeps keys and values in another type than they are computed in (``pytorch.cache_dtype``)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.options import CacheType
from llem_sweep.plan.precision import VALUE_BYTES

_BITS: dict[CacheType, int] = {"fp8": 8, "int4": 4, "int2": 2}
_GROUP = 64
"""Numbers of a cache of integers that share a scale and an offset (transformers' ``q_group_size``)."""
_RESIDUAL = 128
"""Tokens after which such a cache packs those that have come since (its ``residual_length``)."""
_FLOAT = 4
"""Bytes of a number that is brought back from fp8, before it has the type of what is computed."""


class PackedCache(NamedTuple):
    """The type that it keeps, and the bytes of a number as it is computed."""

    kind: CacheType
    value_bytes: int

    def bytes(self, token_bytes: int, width: int, steps: int) -> float:
        """Of one row, after a prompt of ``width`` tokens and ``steps`` more passes; ``token_bytes`` is what one
        token takes as it is computed."""
        numbers = token_bytes / self.value_bytes
        if self.kind == "fp8":
            return (width + steps) * numbers
        # A prompt is packed at once, with a scale and an offset of the type that is computed.
        recent = steps % _RESIDUAL
        packed = numbers * (_BITS[self.kind] / 8 + 2 * self.value_bytes / _GROUP)
        return (width + steps - recent) * packed + recent * token_bytes

    def fullest(self, steps: int) -> Iterator[int]:
        """Passes after the first, of ``steps``, at which most is held: the last, and that before tokens are
        packed."""
        if steps:
            yield steps
        if self.kind != "fp8" and steps >= _RESIDUAL:
            yield steps - steps % _RESIDUAL - 1

    @property
    def brought_back(self) -> int:
        """Bytes that a pass holds at most for each key of the layer it is in, and its value.

        fp8: keys brought back, values as two floats on their way, and both as they were before the new token.
        Integers: both brought back, and once more joined to the latest tokens.
        """
        return self.value_bytes + 2 * _FLOAT + 2 if self.kind == "fp8" else 4 * self.value_bytes


def packed_cache(config: ExperimentConfig) -> PackedCache | None:
    """That of ``config``; None where keys and values are kept as they are computed."""
    kind = config.pytorch.cache_dtype
    if kind is None or config.backend != "pytorch":
        return None
    return PackedCache(kind, VALUE_BYTES[config.precision])
