"""Nodes that come and go under a sweep."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from .conftest import WriteSweep
from .local_cluster import LocalCluster, drain, kill_raylet
from .watching import journal, results, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(240)]


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    cluster = LocalCluster(2, 2)
    try:
        yield cluster
    finally:
        cluster.close()


def test_a_node_that_dies_and_one_that_joins_leave_every_experiment_exactly_once(
    cluster: LocalCluster, write_sweep: WriteSweep, tmp_path: Path
) -> None:
    grid = write_sweep(
        energy={"backend": "null"},
        synthetic={"run_seconds": 1.0},
        sweep={"n": list(range(1, 41))},
        execution={"cycle_order": "interleaved"},
    )
    output = tmp_path / "out"
    driver = cluster.drive(grid, output)
    wait_until(lambda: len(results(output)) >= 4)
    killed_s = time.time()
    kill_raylet(cluster.nodes[0])
    cluster.add(2)
    text, _ = driver.communicate(timeout=150)
    assert driver.returncode == 0, text
    assert len(results(output)) == 40
    assert max(results(output).values()) == 1
    events = journal(output)
    (left,) = [event for event in events if event["event"] == "node_left"]
    assert len([event for event in events if event["event"] == "node_joined"]) == 1
    lost = [event for event in events if event["event"] == "worker_lost"]
    assert {event["kind"] for event in lost} == {"node_lost"}
    print(f"node missed after {_seconds(left) - killed_s:.1f} s: {left['reason']}; {lost[0]['reason']}")
    assert _seconds(left) - killed_s < 10.0
    failures = [json.loads(path.read_text()) for path in output.rglob("failure.json")]
    assert not [failure for failure in failures if failure["final"]]


def test_a_drained_node_gets_nothing_new(
    cluster: LocalCluster, write_sweep: WriteSweep, tmp_path: Path
) -> None:
    grid = write_sweep(
        energy={"backend": "null"}, synthetic={"run_seconds": 1.0}, sweep={"n": list(range(1, 25))}
    )
    output = tmp_path / "out"
    driver = cluster.drive(grid, output)
    wait_until(lambda: len(results(output)) >= 2)
    drain(cluster, cluster.nodes[1])
    wait_until(lambda: any(event["event"] == "node_draining" for event in journal(output)), 20.0)
    text, _ = driver.communicate(timeout=150)
    assert driver.returncode == 0, text
    events = journal(output)
    told = next(number for number, event in enumerate(events) if event["event"] == "node_draining")
    node = events[told]["node"]
    assert not [e for e in events[told:] if e["event"] == "dispatched" and e["worker"].startswith(node)]
    assert not list(output.rglob("failure.json")), "what ran there was allowed to finish"


def _seconds(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()
