"""Fetches on the nodes of a Ray cluster, beside the workers: one task each, without CPUs or GPUs of its own."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from llem_sweep.clock import SystemClock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.errors import BackendError, ModelRefusedError
from llem_sweep.execution.prefetch import FetchEnded, FetchOrder
from llem_sweep.harness.facts import ModelCatalogue
from llem_sweep.plan.types import ModelFacts
from llem_sweep.redaction import redact

DESCRIBE_LIMIT_S = 120.0
"""How long a node may take to describe a model; the first process on a cold node imports torch."""


def fetch_on_node(order: FetchOrder) -> FetchEnded:
    """Fetch on the node that this runs on; a failure is told, not raised."""
    try:
        fetched = ModelCatalogue(SystemClock(), order.node).fetch(order.config)
    except BackendError as error:
        # This process may know secrets that the driver doesn't.
        return FetchEnded(
            order.node, order.key, redact(str(error)), final=isinstance(error, ModelRefusedError)
        )
    return FetchEnded(order.node, order.key, bytes=fetched.bytes)


def describe_on_node(config: ExperimentConfig) -> ModelFacts:
    """What the node that this runs on knows of a model: its cache and its way to the Hub may be its own."""
    return ModelCatalogue(SystemClock(), platform.node() or "localhost").facts(config)


class RayFetches:
    """Fetches under way. ``node_ids`` maps the names of the driver's nodes to Ray's ids; it may grow."""

    def __init__(self, node_ids: Mapping[str, str]) -> None:
        self._node_ids = node_ids
        self._task = ray.remote(num_cpus=0, max_retries=0)(fetch_on_node)
        self._running: dict[Any, FetchOrder] = {}

    def begin(self, order: FetchOrder) -> None:
        """Start ``order`` on its node."""
        there = NodeAffinitySchedulingStrategy(self._node_ids[order.node], soft=False)
        reference = self._task.options(scheduling_strategy=there, name=f"fetch {order.config.model}").remote(
            order
        )
        self._running[reference] = order

    def poll(self) -> tuple[FetchEnded, ...]:
        """What has ended since the last call; never waits."""
        if not self._running:
            return ()
        ready, _ = ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
        return tuple(self._ended(reference) for reference in ready)

    def close(self) -> None:
        """Give up what is under way; what was downloaded stays in the node's cache."""
        for reference in self._running:
            ray.cancel(reference, force=True)
        self._running.clear()

    def _ended(self, reference: Any) -> FetchEnded:
        order = self._running.pop(reference)
        try:
            ended: FetchEnded = ray.get(reference)
        except RayError as error:
            return FetchEnded(order.node, order.key, redact(f"the fetch was cut off: {error}"))
        return ended


def describe_on_nodes(config: ExperimentConfig, node_ids: Mapping[str, str]) -> dict[str, ModelFacts]:
    """:func:`describe_on_node` on every node, by the driver's names; a node that doesn't answer is left out."""
    task = ray.remote(num_cpus=0, max_retries=1)(describe_on_node)
    asked = {
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False)).remote(
            config
        ): name
        for name, node_id in node_ids.items()
    }
    ready, late = ray.wait(list(asked), num_returns=len(asked), timeout=DESCRIBE_LIMIT_S)
    for reference in late:
        ray.cancel(reference, force=True)
    return {asked[reference]: facts for reference in ready if (facts := _told(reference)) is not None}


def _told(reference: Any) -> ModelFacts | None:
    try:
        facts: ModelFacts = ray.get(reference)
    except RayError:
        return None  # a node lost while asked can't say what it has; the sweep finds that out by itself
    return facts
