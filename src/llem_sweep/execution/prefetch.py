"""Which model is brought onto which node next: once each, one at a time, ahead of need."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import NamedTuple

from llem_sweep.config.experiment import ExperimentConfig

MAX_TRIES = 3
"""Fetches of one model on one node ahead of need; after that, loading it tells why it can't be had."""
RETRY_AFTER_S = 10.0
"""Wait after the first failure; twice as long after each further one."""

FetchKey = Callable[[ExperimentConfig], str | None]
"""Equal keys need the same files on a node; None where there is nothing to fetch."""
Upcoming = Callable[[str], Iterable[ExperimentConfig]]
"""Node to the configurations that its workers are going to run, the soonest first."""


class FetchOrder(NamedTuple):
    """A fetch to begin."""

    node: str
    key: str
    config: ExperimentConfig


class FetchEnded(NamedTuple):
    """How a fetch ended."""

    node: str
    key: str
    failure: str | None = None
    """Why it failed; None when the model is on the node."""
    final: bool = False
    """Whether trying again would change nothing."""
    bytes: int = 0
    """Downloaded."""


class Presence(StrEnum):
    """Whether a model is on a node."""

    ABSENT = "absent"
    FETCHING = "fetching"
    PRESENT = "present"
    FAILED = "failed"


class _Entry:
    def __init__(self) -> None:
        self.presence = Presence.ABSENT
        self.tries = 0
        self.not_before_s = 0.0


class Prefetcher:
    """Decides; its caller runs the orders and reports their end. One fetch at a time on each node.

    Not for use from several threads. ``now_s`` reads a monotonic clock.
    """

    def __init__(self, key_of: FetchKey, now_s: Callable[[], float], *, max_tries: int = MAX_TRIES) -> None:
        self._key_of = key_of
        self._now_s = now_s
        self._max_tries = max_tries
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._running: dict[str, str] = {}
        """Key of what each node is fetching."""

    def next(self, nodes: Iterable[str], upcoming: Upcoming) -> tuple[FetchOrder, ...]:
        """Fetches to begin now, at most one a node, each for the model that the node needs soonest.

        They count as begun; :meth:`ended` or :meth:`node_lost` ends them.
        """
        orders = []
        for node in nodes:
            if node in self._running:
                continue
            order = next(filter(None, (self._order(node, config) for config in upcoming(node))), None)
            if order is not None:
                self._begin(order)
                orders.append(order)
        return tuple(orders)

    def ended(self, event: FetchEnded) -> None:
        """Note how a fetch ended. One whose node was lost meanwhile is ignored."""
        if self._running.get(event.node) != event.key:
            return
        del self._running[event.node]
        entry = self._entries[event.node, event.key]
        if event.failure is None:
            entry.presence = Presence.PRESENT
        elif event.final or entry.tries >= self._max_tries:
            entry.presence = Presence.FAILED
        else:
            entry.presence = Presence.ABSENT
            entry.not_before_s = self._now_s() + RETRY_AFTER_S * 2 ** (entry.tries - 1)

    def node_lost(self, node: str) -> None:
        """Forget what ``node`` held: what comes back under its name may be another machine."""
        self._running.pop(node, None)
        self._entries = {place: entry for place, entry in self._entries.items() if place[0] != node}

    def presence(self, node: str, config: ExperimentConfig) -> Presence:
        """Whether the model of ``config`` is on ``node``; PRESENT where there is nothing to fetch."""
        key = self._key_of(config)
        if key is None:
            return Presence.PRESENT
        entry = self._entries.get((node, key))
        return Presence.ABSENT if entry is None else entry.presence

    def _order(self, node: str, config: ExperimentConfig) -> FetchOrder | None:
        key = self._key_of(config)
        if key is None or self.presence(node, config) is not Presence.ABSENT:
            return None
        entry = self._entries.get((node, key))
        waits = entry is not None and entry.not_before_s > self._now_s()
        return None if waits else FetchOrder(node, key, config)

    def _begin(self, order: FetchOrder) -> None:
        entry = self._entries.setdefault((order.node, order.key), _Entry())
        entry.presence, entry.tries = Presence.FETCHING, entry.tries + 1
        self._running[order.node] = order.key
