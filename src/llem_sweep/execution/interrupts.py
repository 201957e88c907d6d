"""Ctrl-C, twice."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from llem_sweep.clock import Clock


class Interrupts:
    """Counts the user's interrupts while a sweep runs.

    The first asks for a clean stop: nothing new is begun, and what runs may finish within a grace period. The
    second asks to stop now. SIGTERM, sent by schedulers before they kill, counts as the first.

    A signal comes in the midst of anything, a line that is being written among it: it is only counted, and whoever
    asks tells of it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told = False
        self._first_s: float | None = None
        self._count = 0
        self._previous: dict[int, Any] = {}

    @property
    def stopping(self) -> bool:
        """Whether nothing new may be begun."""
        return self._count > 0

    def untold(self) -> bool:
        """Whether the first interrupt has come and this is the first to ask about it."""
        told, self._told = self._told, self.stopping
        return self._told and not told

    def past_grace(self, grace_s: float) -> bool:
        """Whether what still runs is to be cut off now."""
        if self._first_s is None:
            return False
        return self._count > 1 or self._clock.monotonic() - self._first_s >= grace_s

    def interrupt(self) -> None:
        """Count one interrupt."""
        self._count += 1
        if self._first_s is None:
            self._first_s = self._clock.monotonic()

    def __enter__(self) -> Interrupts:
        # Only the main thread may set handlers; elsewhere interrupts belong to the embedding program.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.interrupt()
