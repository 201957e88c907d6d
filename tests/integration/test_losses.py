"""Workers lost through no fault of their own: the node's memory runs out, or the cloud takes the node back."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import WriteSweep
from .local_cluster import LocalCluster, drain, kill_raylet, raylet_pid
from .processes import children
from .watching import results, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(180)]

STEP_BYTES, SLACK_BYTES, MARGIN_BYTES, MOST_BYTES = 1 << 26, 1 << 28, 5 << 29, 6 << 30


def memory() -> tuple[int, int]:
    """Bytes of this machine's memory: all, and in use."""
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    known = {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines}
    return known["MemTotal"], known["MemTotal"] - known["MemAvailable"]


@pytest.fixture
def limit_bytes() -> int:
    """A little above what the machine has in use now."""
    total, used = memory()
    if total - used < 2 * MOST_BYTES:
        pytest.skip("too little memory is free to fill it up on purpose")
    return used + MARGIN_BYTES


@pytest.fixture
def cluster(limit_bytes: int) -> Iterator[LocalCluster]:
    """Two nodes on which workers are ended when the machine has more than ``limit_bytes`` in use."""
    total, _ = memory()
    cluster = LocalCluster(2, 2, memory_usage_threshold=limit_bytes / total, memory_monitor_refresh_ms=100)
    try:
        yield cluster
    finally:
        cluster.close()


def test_what_a_full_memory_and_a_preempted_node_cost_is_run_again_and_told_apart(
    cluster: LocalCluster, limit_bytes: int, write_sweep: WriteSweep, tmp_path: Path
) -> None:
    grid = write_sweep(
        energy={"backend": "null"}, synthetic={"run_seconds": 4.0}, sweep={"n": list(range(1, 17))}
    )
    output = tmp_path / "out"
    driver = cluster.drive(grid, output)
    wait_for(output, "dispatched")
    time.sleep(1.0)
    fill_memory_until_a_worker_is_lost(cluster, limit_bytes)
    wait_for(output, "worker_lost")
    wait_for(output, "completed")
    drain(cluster, cluster.nodes[1], within_s=1.0)
    node = wait_for(output, "node_draining")["node"]
    kill_raylet(cluster.nodes.pop())
    text, _ = driver.communicate(timeout=120)
    assert driver.returncode == 0, text
    found = results(output)
    assert len(found) == 16
    assert max(found.values()) == 1
    failures = [json.loads(path.read_text()) for path in output.rglob("failure.json")]
    kinds = Counter(failure["kind"] for failure in failures)
    print(kinds)
    assert kinds.keys() == {"host_memory", "node_lost"}
    assert all(
        failure["worker"].startswith(f"{node}/") for failure in failures if failure["kind"] == "node_lost"
    )
    full = next(failure for failure in failures if failure["kind"] == "host_memory")
    assert "low on memory" in full["message"]


def fill_memory_until_a_worker_is_lost(cluster: LocalCluster, limit_bytes: int) -> None:
    """At once up to near the limit, then in steps smaller than a worker, so that the end of one is enough."""
    before = workers(cluster)
    assert before
    held: list[bytearray] = []
    while before <= workers(cluster):
        _, used = memory()
        held.append(bytearray(b"x") * max(STEP_BYTES, limit_bytes - SLACK_BYTES - used))
        assert sum(map(len, held)) < MOST_BYTES, "nobody was ended for want of memory"
        time.sleep(0.2)


def workers(cluster: LocalCluster) -> set[int]:
    raylets = [raylet_pid(node) for node in cluster.nodes]
    return {each.pid for raylet in raylets for each in children(raylet) if "GpuWorker" in each.command}
