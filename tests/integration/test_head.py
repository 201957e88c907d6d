"""The head of the cluster is lost under a sweep."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from llem_sweep import load_result
from llem_sweep.store.folder import SweepFolder

from .conftest import WriteSweep
from .local_cluster import LocalCluster

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(180)]


EXPERIMENTS = 60


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    cluster = LocalCluster(1, 1)
    try:
        yield cluster
    finally:
        cluster.close()


def test_a_sweep_without_its_head_ends_within_a_minute_and_can_be_gone_on_with(
    cluster: LocalCluster, write_sweep: WriteSweep, tmp_path: Path
) -> None:
    grid = write_sweep(
        baseline={"enabled": False},
        synthetic={"run_seconds": 1.0},
        sweep={"n": list(range(1, EXPERIMENTS + 1))},
    )
    output = tmp_path / "out"
    driver = cluster.drive(grid, output)
    while len(list(output.rglob("result.json"))) < 4:
        assert driver.poll() is None
        time.sleep(0.05)
    lost_s = time.monotonic()
    cluster.kill_head()
    text, _ = driver.communicate(timeout=100)
    took_s = time.monotonic() - lost_s
    print(f"ended after {took_s:.1f} s")
    assert driver.returncode == 3, text
    assert "the head of the Ray cluster hasn't been reachable" in text
    assert took_s < 60.0
    (folder,) = output.iterdir()
    stored = Counter(load_result(path).experiment_id for path in output.rglob("result.json"))
    assert max(stored.values()) == 1
    assert len(stored) > 10, "what needs no head went on"
    with SweepFolder.open(folder) as again:
        assert again.settled().keys() == stored.keys()
