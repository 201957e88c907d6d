"""What can go wrong on a simulated board, described beforehand."""

from __future__ import annotations

import math
from typing import NamedTuple

from llem_sweep.device.traces import Constant, Trace, Within


class ForeignProcess(NamedTuple):
    """Somebody else's process on the board, between two monotonic times."""

    pid: int
    begin_s: float = -math.inf
    end_s: float = math.inf
    extra_w: float = 0.0
    """Power that it adds to the board's."""
    memory_mb: float = 2_000.0

    def present(self, at_s: float) -> bool:
        """Whether it is on the board at a moment."""
        return self.begin_s <= at_s < self.end_s

    @property
    def extra(self) -> Trace:
        """Its power over time."""
        if math.isinf(self.begin_s) and math.isinf(self.end_s):
            return Constant(self.extra_w)
        # An infinite beginning would make its integral so; before any clock's zero is early enough.
        return Within(Constant(self.extra_w), 0.0, max(self.begin_s, -1e9), self.end_s)


class Faults(NamedTuple):
    """Everything that goes wrong on one board; nothing by default."""

    foreign: tuple[ForeignProcess, ...] = ()
    lost_at_s: float | None = None
    """Monotonic time from which the board no longer answers."""
    ecc_errors_at_s: tuple[float, ...] = ()
    """Monotonic time of each uncorrected ECC error."""
    mig: bool = False
    """Whether the board is in MIG mode."""
    stalls: tuple[tuple[float, float], ...] = ()
    """``((begin_s, seconds), …)``: whoever asks the board meanwhile gets the answer of the moment it ends."""

    def lost(self, at_s: float) -> bool:
        """Whether the board has stopped answering."""
        return self.lost_at_s is not None and at_s >= self.lost_at_s

    def stalled_s(self, at_s: float) -> float:
        """How long an answer takes that is asked for at ``at_s``."""
        ends_s = (begin_s + seconds for begin_s, seconds in self.stalls if begin_s <= at_s)
        return max(0.0, max(ends_s, default=at_s) - at_s)

    def present(self, at_s: float) -> tuple[ForeignProcess, ...]:
        """The foreign processes on the board at a moment."""
        return tuple(process for process in self.foreign if process.present(at_s))

    def ecc_errors(self, at_s: float) -> int:
        """Uncorrected ECC errors so far."""
        return sum(error_s <= at_s for error_s in self.ecc_errors_at_s)
