"""What became of each request, from what the backend stamped."""

from __future__ import annotations

from collections.abc import Sequence

from llem_sweep.backends.protocol import BatchTimes
from llem_sweep.harness.window import Window
from llem_sweep.results.experiment import ExperimentResult
from llem_sweep.results.requests import RequestLog, RequestRecord, with_energy
from llem_sweep.sampling.intervals import BatchMarks
from llem_sweep.sampling.request_file import encode_requests


def read_times(window: Window) -> tuple[BatchTimes, ...]:
    """The stamps of every batch, read now; empty where a batch has none."""
    batches = [tally.times() for tally in window.tallies if tally.times is not None]
    return tuple(batches) if len(batches) == len(window.tallies) else ()


def batch_marks(batches: Sequence[BatchTimes]) -> tuple[BatchMarks, ...]:
    """When each batch began and had its first token; empty where requests don't go through prefill together."""
    if not all(batch.in_step for batch in batches):
        return ()
    return tuple(
        BatchMarks(
            batch.start_s,
            min((request.tokens_s[0] for request in batch.requests if request.tokens_s), default=None),
        )
        for batch in batches
    )


def request_log(batches: Sequence[BatchTimes], start_s: float) -> RequestLog | None:
    """Every request of a window that began at ``start_s``; None where nothing was stamped."""
    if not batches:
        return None
    # Requests of one batch share their tokens' times, which is worth keeping: there may be many of both.
    moved: dict[int, tuple[float, ...]] = {}
    for batch in batches:
        for request in batch.requests:
            if id(request.tokens_s) not in moved:
                moved[id(request.tokens_s)] = tuple(at_s - start_s for at_s in request.tokens_s)
    records = [
        RequestRecord(
            number=request.number,
            batch=number,
            input_tokens=request.input_tokens,
            start_s=request.start_s - start_s,
            tokens_s=moved[id(request.tokens_s)],
        )
        for number, batch in enumerate(batches)
        for request in batch.requests
    ]
    return RequestLog(tuple(records), max(batch.error_s for batch in batches))


def encoded_requests(log: RequestLog, result: ExperimentResult) -> bytes:
    """``log`` as parquet, with each request's share of the energy of ``result``."""
    return encode_requests(with_energy(log, result.phases), simulated=result.simulated)
