"""Time, injected wherever it is read, waited for, or repeated on.

A clock also owns periodic calls, because that is where real and simulated time differ: the system clock
calls from a thread, the simulated one in step with its own ``sleep``. A measurement driven by
:class:`SimulatedClock` is therefore exact and repeatable, with no thread and no waiting.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Ticker(Protocol):
    """A periodic call under way."""

    def stop(self) -> None:
        """End the calls; returns after the last one has finished, a period later at most. Safe to call twice."""


class Clock(Protocol):
    """The time a measurement runs on."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary origin, never going back."""

    def now(self) -> datetime:
        """Wall-clock time, timezone-aware (UTC)."""

    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass."""

    def every(self, period_s: float, call: Callable[[], None]) -> Ticker:
        """Call ``call`` at once and then every ``period_s`` seconds on an absolute schedule, until stopped.

        Calls that are late are made once, not made up for. ``call`` must not raise.
        """


class SystemClock:
    """Real time; periodic calls come from a daemon thread."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            time.sleep(seconds)

    def every(self, period_s: float, call: Callable[[], None]) -> Ticker:
        return _ThreadTicker(period_s, call)


class _ThreadTicker:
    def __init__(self, period_s: float, call: Callable[[], None]) -> None:
        self._period_s = period_s
        self._call = call
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="llem-sweep-ticker", daemon=True)
        self._thread.start()

    def _loop(self) -> None:
        due = time.monotonic()
        while True:
            self._call()
            late = time.monotonic() - due
            # A call that overran skips the periods it missed: bursts would cluster the samples.
            due += self._period_s * (int(late / self._period_s) + 1)
            # A plain sleep costs half of what waiting for an event does, dozens of times a second; stopping
            # waits for one period at most.
            time.sleep(max(0.0, due - time.monotonic()))
            if self._stopping.is_set():
                return

    def stop(self) -> None:
        self._stopping.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()


class SimulatedClock:
    """Time that passes only in ``sleep``; periodic calls are made at exactly their due times."""

    def __init__(self, start_s: float = 1000.0, wall: datetime | None = None) -> None:
        self._now_s = start_s
        self._start_s = start_s
        self._wall = wall or datetime(2026, 1, 1, tzinfo=UTC)
        self._due: list[tuple[float, int, _SimulatedTicker]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        return self._now_s

    def now(self) -> datetime:
        return self._wall + timedelta(seconds=self._now_s - self._start_s)

    def sleep(self, seconds: float) -> None:
        end_s = self._now_s + max(0.0, seconds)
        while self._due and self._due[0][0] <= end_s:
            due_s, _, ticker = heapq.heappop(self._due)
            if ticker.stopped:
                continue
            self._now_s = max(self._now_s, due_s)
            self._fire(ticker)
        self._now_s = max(self._now_s, end_s)

    def every(self, period_s: float, call: Callable[[], None]) -> Ticker:
        ticker = _SimulatedTicker(self._now_s, period_s, call)
        self._fire(ticker)
        return ticker

    def _fire(self, ticker: _SimulatedTicker) -> None:
        ticker.call()
        # A call that itself slept skips the periods it missed, as those of the system clock do.
        passed = int((self._now_s - ticker.start_s) / ticker.period_s)
        ticker.count = max(ticker.count, passed) + 1
        heapq.heappush(
            self._due, (ticker.start_s + ticker.count * ticker.period_s, next(self._order), ticker)
        )


class _SimulatedTicker:
    def __init__(self, start_s: float, period_s: float, call: Callable[[], None]) -> None:
        self.start_s = start_s
        self.period_s = period_s
        self.call = call
        self.count = 0
        self.stopped = False

    def stop(self) -> None:
        self.stopped = True
