"""What a cluster's autoscaler is asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from threading import Event, Thread

from ray.autoscaler.sdk import request_resources
from ray.exceptions import RayError

from llem_sweep.plan.need import Need

MOST_BUNDLES = 1000
"""Beyond this many workers at once, the autoscaler's own limits decide anyway."""
EVERY_S = 0.5
"""Least time between two requests."""
CLOSE_LIMIT_S = 5.0
"""How long taking the request back may take."""
_log = logging.getLogger(__name__)


class Scaling:
    """Asks for what the queue needs, and takes the request back at the end.

    A request stands until the next one; a cluster that doesn't scale ignores it. The head is asked from a thread
    of its own, so that nothing waits for one that doesn't answer.
    """

    def __init__(
        self, request: Callable[..., object] = request_resources, close_limit_s: float = CLOSE_LIMIT_S
    ) -> None:
        self._close_limit_s = close_limit_s
        self._request = request
        self._wanted: Mapping[Need, int] = {}
        self._changed = Event()
        self._closing = Event()
        self._thread: Thread | None = None

    def want(self, needs: Mapping[Need, int]) -> None:
        """So many workers for each need would find work at once. Returns at once."""
        self._wanted = dict(needs)
        self._changed.set()
        if self._thread is None:
            self._thread = Thread(target=self._ask, name="scaling", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Nothing is needed any more. Safe to call twice."""
        if self._thread is None:
            return
        self._wanted = {}
        self._closing.set()
        self._changed.set()
        self._thread.join(self._close_limit_s)
        self._thread = None

    def _ask(self) -> None:
        while True:
            self._changed.wait()
            self._changed.clear()
            # In this order: what is wanted at the end is there before the end is told.
            closing, wanted = self._closing.is_set(), self._wanted
            bundles, selectors = requested(wanted)
            try:
                self._request(bundles=bundles, bundle_label_selectors=selectors)
            except (RayError, RuntimeError, OSError) as error:
                _log.warning("the cluster couldn't be asked for nodes: %s", error)
                self._changed.set()
            if closing:
                return
            self._closing.wait(EVERY_S)


def requested(needs: Mapping[Need, int]) -> tuple[list[dict[str, float]], list[dict[str, str]]]:
    """Resources and labels of every worker that would find work, up to MOST_BUNDLES of them."""
    bundles: list[dict[str, float]] = []
    selectors: list[dict[str, str]] = []
    for need, count in needs.items():
        for _ in range(min(count, MOST_BUNDLES - len(bundles))):
            bundles.append(bundle(need))
            selectors.append(selector(need))
    return bundles, selectors


def bundle(need: Need) -> dict[str, float]:
    """Resources of one worker, on one node."""
    return {"GPU": float(need.boards)} if need.boards else {"CPU": 1.0}


def selector(need: Need) -> dict[str, str]:
    """Labels of the nodes that will do; empty for any."""
    kinds = need.accelerators
    return {"ray.io/accelerator-type": f"in({','.join(kinds)})"} if kinds else {}
