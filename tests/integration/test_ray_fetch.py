"""Fetches and descriptions as Ray tasks on a node, beside its workers."""

from __future__ import annotations

import time
from typing import Any

import pytest

from llem_sweep.clock import SystemClock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.execution.on_ray.fetch import RayFetches, describe_on_nodes
from llem_sweep.execution.prefetch import FetchEnded, FetchOrder, Prefetcher, Presence
from llem_sweep.harness.facts import ModelCatalogue

pytestmark = pytest.mark.integration


def config(model: str, **synthetic: Any) -> ExperimentConfig:
    return ExperimentConfig.model_validate({"model": model, "backend": "synthetic", "synthetic": synthetic})


@pytest.fixture
def node_ids(ray_address: str) -> dict[str, str]:
    import ray

    return {"here": ray.get_runtime_context().get_node_id()}


def ended(fetches: RayFetches, limit_s: float = 60.0) -> FetchEnded:
    deadline_s = time.monotonic() + limit_s
    while not (events := fetches.poll()):
        assert time.monotonic() < deadline_s, "no fetch ended"
        time.sleep(0.02)
    (event,) = events
    return event


def test_what_a_node_needs_is_fetched_there_in_order_and_failures_are_told(node_ids: dict[str, str]) -> None:
    clock = SystemClock()
    prefetcher = Prefetcher(ModelCatalogue(clock, "here").fetch_key, clock.monotonic, max_tries=1)
    fetches = RayFetches(node_ids)
    good, bad = config("acme/a", fetch_seconds=0.2), config("acme/b", fail_at="fetch")
    seen = []
    for _ in range(2):
        (order,) = prefetcher.next(node_ids, lambda node: [good, bad])
        fetches.begin(order)
        assert fetches.poll() == (), "polling never waits"
        prefetcher.ended(ended(fetches))
        seen.append(order.config.model)
    assert seen == ["acme/a", "acme/b"]
    assert prefetcher.presence("here", good) is Presence.PRESENT
    assert prefetcher.presence("here", bad) is Presence.FAILED
    fetches.close()


def test_a_node_that_is_gone_fails_the_fetch(ray_address: str) -> None:
    fetches = RayFetches({"gone": "ab" * 28})
    fetches.begin(FetchOrder("gone", "key", config("acme/a", fetch_seconds=0.1)))
    event = ended(fetches)
    assert (event.node, event.key, event.final) == ("gone", "key", False)
    assert event.failure is not None
    assert "cut off" in event.failure


def test_every_node_is_asked_what_it_knows(node_ids: dict[str, str]) -> None:
    facts = describe_on_nodes(config("acme/a"), node_ids)
    assert facts.keys() == {"here"}
    assert facts["here"].problem is None
