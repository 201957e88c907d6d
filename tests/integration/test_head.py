"""The head of the cluster is lost under a sweep."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from llem_sweep import load_result

from .conftest import WriteSweep
from .local_cluster import LocalCluster

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(180)]


EXPERIMENTS = 60


@pytest.fixture
def clusters() -> Iterator[list[LocalCluster]]:
    made: list[LocalCluster] = []
    yield made
    for cluster in made:
        cluster.close()


def test_a_sweep_without_its_head_ends_within_a_minute_and_is_gone_on_with(
    clusters: list[LocalCluster], write_sweep: WriteSweep, tmp_path: Path
) -> None:
    first = LocalCluster(1, 1)
    clusters.append(first)
    grid = write_sweep(
        baseline={"enabled": False},
        synthetic={"run_seconds": 1.0},
        sweep={"n": list(range(1, EXPERIMENTS + 1))},
    )
    output = tmp_path / "out"
    driver = first.drive(grid, output)
    while len(list(output.rglob("result.json"))) < 4:
        assert driver.poll() is None
        time.sleep(0.05)
    lost_s = time.monotonic()
    first.kill_head()
    text, _ = driver.communicate(timeout=100)
    took_s = time.monotonic() - lost_s
    print(f"ended after {took_s:.1f} s")
    assert driver.returncode == 3, text
    assert "the head of the Ray cluster hasn't been reachable" in text
    assert took_s < 60.0
    first.close()
    (folder,) = output.iterdir()
    before = Counter(load_result(path).experiment_id for path in output.rglob("result.json"))
    assert not list((folder / ".staging").iterdir())
    assert sum(before.values()) > 10, "what needs no head went on"
    second = LocalCluster(4)
    clusters.append(second)
    text, _ = second.drive("--resume", folder).communicate(timeout=100)
    after = Counter(load_result(path).experiment_id for path in output.rglob("result.json"))
    assert max(after.values()) == 1
    assert before.keys() <= after.keys()
    assert len(after) == EXPERIMENTS, text
