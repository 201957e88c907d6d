"""What a window produced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from llem_sweep.backends.protocol import BatchTally
from llem_sweep.sampling.run import Batch


class Work(NamedTuple):
    """What the window produced, padding not counted."""

    requests: int
    input_tokens: int
    output_tokens: int
    padded_tokens: int
    batches: int
    places: int
    """Requests counted once for every batch that they were in."""


def work_of(batches: Sequence[BatchTally] | Sequence[Batch]) -> Work:
    """What ``batches`` produced together."""
    return Work(
        requests=sum(batch.requests for batch in batches),
        input_tokens=sum(batch.input_tokens for batch in batches),
        output_tokens=sum(batch.output_tokens for batch in batches),
        padded_tokens=sum(batch.padded_tokens for batch in batches),
        batches=sum(batch.batches for batch in batches),
        places=sum(batch.requests if batch.places is None else batch.places for batch in batches),
    )
