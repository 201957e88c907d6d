"""Models brought onto nodes while others are still measured there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from llem_sweep.clock import Clock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.execution.nodes import Nodes
from llem_sweep.execution.pool import WorkerPool
from llem_sweep.execution.prefetch import FetchEnded, FetchKey, FetchOrder, Prefetcher
from llem_sweep.harness.quality import FETCH

LOOK_EVERY_S = 2.0
"""How often it is asked what is needed next: that costs more than most of what the driver does."""


class Journal(Protocol):
    """Where it is noted what was fetched when."""

    def journal(self, event: str, **fields: object) -> None: ...


class Fetching:
    """Has each model fetched once per node ahead of need, and counts a fetch as somebody at work on the node.

    Whoever is measured beside a fetch has it among its neighbours. Where experiments have nodes to themselves,
    nothing is fetched ahead: loading fetches what is missing, with nothing measured beside it.
    """

    def __init__(
        self, key_of: FetchKey | None, pool: WorkerPool, nodes: Nodes, sink: Journal, clock: Clock
    ) -> None:
        """Without ``key_of`` nothing is fetched ahead."""
        self._prefetcher = Prefetcher(key_of, clock.monotonic) if key_of and not nodes.exclusive else None
        self._pool = pool
        self._nodes = nodes
        self._sink = sink
        self._clock = clock
        self._looked_s = float("-inf")

    def look(self, nodes: Iterable[str], upcoming: Callable[[str], Iterable[ExperimentConfig]]) -> None:
        """Now and then: begin what ``upcoming``, asked by node, says will be needed."""
        now_s = self._clock.monotonic()
        if self._prefetcher is None or now_s - self._looked_s < LOOK_EVERY_S:
            return
        self._looked_s = now_s
        for order in self._prefetcher.next(nodes, upcoming):
            if not self._pool.fetch(order):
                self._prefetcher = None
                return
            self._note(order)

    def ended(self, event: FetchEnded) -> None:
        """A fetch is over. One that failed is no failure yet: loading will try again, and say why if it must."""
        if self._prefetcher is None:
            return
        self._prefetcher.ended(event)
        self._nodes.end(_fetcher(event.node))
        self._sink.journal(
            "fetch_ended", node=event.node, model=event.key, bytes=event.bytes, failure=event.failure
        )

    def lost(self, node: str) -> None:
        """What a lost node held is lost with it."""
        if self._prefetcher is not None:
            self._prefetcher.node_lost(node)
            self._nodes.end(_fetcher(node))

    def _note(self, order: FetchOrder) -> None:
        self._nodes.seat(_fetcher(order.node), order.node)
        self._nodes.begin(_fetcher(order.node), FETCH + order.config.model)
        self._sink.journal("fetch_begun", node=order.node, model=order.key)


def _fetcher(node: str) -> str:
    """A fetch among the workers of its node."""
    return f"{node}/fetch"
