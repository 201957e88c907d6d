"""When a sweep is better stopped early."""

from __future__ import annotations

import re

from llem_sweep.results.outcome import Completed, Failed, Outcome, Stage

_CHANGING = re.compile(r"0x[0-9a-f]+|[0-9a-f]{8,}|\d+(\.\d+)?", re.IGNORECASE)
"""Addresses, hashes and numbers, which differ between failures for one reason."""


class FailFast:
    """Watches the first outcomes: when they are all failures for one reason, the rest would fail as well."""

    def __init__(self, after: int, *, completed_before: bool) -> None:
        """``after`` failures, or never at 0; never either when something was completed before."""
        self._left = 0 if completed_before else after
        self._after = after
        self._reason: tuple[str, ...] | None = None
        self.because: str | None = None
        """Why to stop, once that is known."""

    def note(self, outcome: Outcome) -> None:
        """An experiment has come to its end with ``outcome``."""
        if not self._left or (isinstance(outcome, Failed) and outcome.stage is Stage.QUEUE):
            return
        reason = None if isinstance(outcome, Completed) else _reason(outcome)
        if reason is None or (self._reason is not None and reason != self._reason):
            self._left = 0
            return
        self._reason = reason
        self._left -= 1
        if not self._left and isinstance(outcome, Failed):
            self.because = (
                f"the first {self._after} experiments all failed at {outcome.stage} for the same reason:"
                f" {outcome.message}"
            )


def _reason(outcome: Failed) -> tuple[str, ...]:
    return (outcome.stage, outcome.kind, _CHANGING.sub("#", outcome.message))
