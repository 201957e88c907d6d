"""Processes that measure one experiment together: what each needs of the others."""

from __future__ import annotations

from typing import Protocol

from llem_sweep.clock import Clock
from llem_sweep.config.options import Parallelism


class Gang(Protocol):
    """The processes of one experiment, all on one node, so that their monotonic clocks are one.

    Every call but ``begin`` and ``fail`` waits for others, and raises GangError with the reason as soon as one of
    them has failed. All processes make the calls in the same order: nothing else tells one from the next.
    """

    @property
    def rank(self) -> int:
        """This process's number, from 0."""

    @property
    def size(self) -> int:
        """How many processes there are."""

    @property
    def parallelism(self) -> Parallelism:
        """data: each runs its part of the requests by itself; tensor: every batch takes all of them, in step."""

    def begin(self, run: str) -> None:
        """Start afresh for the attempt called ``run``; what failed before is forgotten."""

    def meet(self, point: str) -> float:
        """Wait until all have come to ``point``; the monotonic time, in seconds, at which all of them go on."""

    def agree(self, done: bool) -> bool:
        """Whether to end a loop over batches.

        In tensor mode when every process says that it is done, the same answer for all, so that none is left
        alone with a batch; in data mode, where batches concern nobody else, simply ``done``.
        """

    def all_done(self, done: bool) -> bool:
        """Whether every process has said that it is done: one that is goes on under load for the others' sake.

        In tensor mode the same as ``agree``; in data mode this waits for nobody.
        """

    def share(self, value: str | None) -> str:
        """The first process's ``value``, told to all of them."""

    def fail(self, reason: str) -> bool:
        """Tell the others that this process has failed. Whether one of them had failed before."""


class Alone:
    """One process by itself."""

    rank = 0
    size = 1
    parallelism: Parallelism = "data"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def begin(self, run: str) -> None:
        pass

    def meet(self, point: str) -> float:
        return self._clock.monotonic()

    def agree(self, done: bool) -> bool:
        return done

    def all_done(self, done: bool) -> bool:
        return done

    def share(self, value: str | None) -> str:
        return value or ""

    def fail(self, reason: str) -> bool:
        return False
