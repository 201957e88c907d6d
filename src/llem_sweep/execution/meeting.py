"""Where the processes of a gang wait for each other, free of Ray: an actor, or a thread in tests, runs it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Protocol

from llem_sweep.clock import Clock
from llem_sweep.config.options import Parallelism
from llem_sweep.errors import GangError

LEAD_S = 0.05
"""From the last one's arrival to the agreed time: longer than an answer takes to reach a busy process."""


class _Point:
    """One thing that every process says something to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.said: dict[int, Any] = {}
        self.complete = asyncio.Event()


class Meeting:
    """One for each gang. Its methods are coroutines of one event loop, so that nothing here needs a lock.

    Processes make the same calls in the same order and wait at each, so that one point is open at a time. Whoever
    waits is freed with GangError by the first failure of the run; ``fail`` without a run is for good, as when a
    process died.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._run = ""
        self._open: _Point | None = None
        self._done: set[int] = set()
        self._failed: tuple[int, str] | None = None
        self._ended: tuple[int, str] | None = None

    async def meet(self, rank: int, run: str, point: str, now_s: float) -> float:
        """The time to go on: ``LEAD_S`` after the latest of all processes' ``now_s``. Raises GangError."""
        return float(max((await self._gather(rank, run, point, now_s)).values())) + LEAD_S

    async def agree(self, rank: int, run: str, point: str, done: bool) -> bool:
        """Whether all say so. Raises GangError."""
        return all((await self._gather(rank, run, point, done)).values())

    async def all_done(self, rank: int, run: str, done: bool) -> bool:
        """Whether all have been done at one time; waits for nobody. Raises GangError."""
        self._enter(run)
        self._raise_failure()
        if len(self._done) < self._size:
            (self._done.add if done else self._done.discard)(rank)
        return len(self._done) == self._size

    async def share(self, rank: int, run: str, point: str, value: str | None) -> str:
        """The first process's value. Raises GangError."""
        return str((await self._gather(rank, run, point, value))[0])

    async def fail(self, rank: int, reason: str, run: str | None = None) -> bool:
        """Free everyone with ``reason``, in ``run`` or without it for good. Whether another had failed before."""
        if run is None:
            self._ended = self._ended or (rank, reason)
        else:
            self._enter(run)
        self._failed = self._failed or self._ended or (rank, reason)
        self._free()
        return self._failed[0] != rank

    async def _gather(self, rank: int, run: str, name: str, value: Any) -> dict[int, Any]:
        self._enter(run)
        self._raise_failure()
        point = self._open = self._open or _Point(name)
        if point.name != name:
            await self.fail(rank, f"out of step: it came to {name}, others to {point.name}", run)
            self._raise_failure()
        point.said[rank] = value
        if len(point.said) == self._size:
            self._free()
        await point.complete.wait()
        if len(point.said) < self._size:
            self._raise_failure()
            raise GangError("the other processes went on to another experiment")
        return point.said

    def _enter(self, run: str) -> None:
        """The first to begin another run ends the one before, in which nobody is left but by mistake."""
        if run != self._run:
            self._free()
            self._run, self._failed = run, None
            self._done.clear()

    def _free(self) -> None:
        if self._open is not None:
            self._open.complete.set()
            self._open = None

    def _raise_failure(self) -> None:
        failure = self._failed or self._ended
        if failure is not None:
            raise GangError(f"process {failure[0]} failed: {failure[1]}")


class Call(Protocol):
    """How a method of a :class:`Meeting` elsewhere is called: waits for its answer, and raises its GangError."""

    def __call__(self, method: str, *arguments: Any) -> Any: ...


class Member:
    """One process's place in a gang: a :class:`~llem_sweep.harness.gang.Gang` over a meeting elsewhere."""

    def __init__(self, rank: int, size: int, parallelism: Parallelism, call: Call, clock: Clock) -> None:
        self.rank = rank
        self.size = size
        self.parallelism: Parallelism = parallelism
        self._call = call
        self._clock = clock
        self._run = ""
        self._count = 0

    def begin(self, run: str) -> None:
        self._run, self._count = run, 0

    def meet(self, point: str) -> float:
        now_s = self._clock.monotonic()
        return float(self._call("meet", self.rank, self._run, self._next(point), now_s))

    def agree(self, done: bool) -> bool:
        if self.parallelism == "data":
            return done
        return bool(self._call("agree", self.rank, self._run, self._next("agree"), done))

    def all_done(self, done: bool) -> bool:
        if self.parallelism == "tensor":
            return self.agree(done)
        return bool(self._call("all_done", self.rank, self._run, done))

    def share(self, value: str | None) -> str:
        return str(self._call("share", self.rank, self._run, self._next("share"), value))

    def fail(self, reason: str) -> bool:
        return bool(self._call("fail", self.rank, reason, self._run))

    def _next(self, point: str) -> str:
        """Numbered, since a loop comes to the same point again."""
        self._count += 1
        return f"{self._count} {point}"


class MeetingThread:
    """A meeting on an event loop in a thread of its own, for gangs of threads within one process."""

    def __init__(self, size: int) -> None:
        self._meeting = Meeting(size)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="llem-sweep-meeting", daemon=True)
        self._thread.start()

    def __call__(self, method: str, *arguments: Any) -> Any:
        coroutine: Callable[..., Any] = getattr(self._meeting, method)
        return asyncio.run_coroutine_threadsafe(coroutine(*arguments), self._loop).result()

    def close(self) -> None:
        """End the thread. Whoever still waits is freed first."""
        self("fail", -1, "the meeting was closed")
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
