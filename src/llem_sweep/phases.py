"""The one stream that tells what an experiment is doing, and when."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from llem_sweep.clock import Clock


class Phase(StrEnum):
    """What a worker is doing."""

    IDLE = "idle"
    BASELINE = "baseline"
    LOAD = "load"
    CONTEXT = "context"
    """Model resident, nothing running: the idle power that inference starts from."""
    WARM_UP = "warm-up"
    SETTLE = "settle"
    PREFILL = "prefill"
    DECODE = "decode"
    COOL = "cool"


class PhaseMark(NamedTuple):
    """The start of a phase, which lasts until the next mark."""

    phase: Phase
    at_s: float
    """Monotonic time in seconds."""


PhaseListener = Callable[[PhaseMark], None]


class PhaseStream:
    """Phase marks as they happen, told to every listener in the order of subscription.

    Listeners run in the emitting thread, on the hot path of a measurement: they must be quick and not raise.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._listeners: list[PhaseListener] = []
        self.current = PhaseMark(Phase.IDLE, clock.monotonic())

    def subscribe(self, listener: PhaseListener) -> Callable[[], None]:
        """Call ``listener`` at every mark from now on; returns the call that ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def mark(self, phase: Phase) -> PhaseMark:
        """Begin ``phase`` now."""
        self.current = PhaseMark(phase, self._clock.monotonic())
        for listener in tuple(self._listeners):
            listener(self.current)
        return self.current
