"""What is kept of an attempt that failed."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime

from llem_sweep.results.base import JsonDict, OutsideText, ResultModel
from llem_sweep.results.outcome import Failed, FailureKind, Stage


class FailureRecord(ResultModel):
    """One failed attempt, as stored in ``failure.json``."""

    schema_version: Literal["1.0"] = "1.0"
    experiment_id: str
    attempt: int
    """From 1."""
    final: bool
    """Whether the experiment was given up after this attempt."""
    stage: Stage
    kind: FailureKind
    message: OutsideText
    traceback: OutsideText
    log_tail: OutsideText
    """The end of the worker's log."""
    worker: OutsideText
    time: AwareDatetime
    """When the failure was recorded."""
    config: JsonDict
    """Every field of the experiment's configuration, defaults written out."""

    @property
    def settles(self) -> bool:
        """Whether the experiment is done with; what a user cut off never is, and runs again on resume."""
        return self.final and self.kind is not FailureKind.INTERRUPTED

    @property
    def counts(self) -> bool:
        """Whether this uses up an attempt."""
        return self.kind is not FailureKind.INTERRUPTED

    def as_failed(self) -> Failed:
        """The failure as the worker told it."""
        return Failed(self.stage, self.kind, self.message, self.traceback, self.log_tail)
