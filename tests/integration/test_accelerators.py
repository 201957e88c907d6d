"""Nodes that differ in the kind of their boards, as their labels say."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from .conftest import WriteSweep
from .local_cluster import LocalCluster

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(180)]

LABEL = "ray.io/accelerator-type"


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    cluster = LocalCluster()
    try:
        for kind in ("H100", "A100"):
            cluster.nodes.append(cluster.add(1, labels={LABEL: kind}))
        yield cluster
    finally:
        cluster.close()


def test_points_go_to_their_kind_of_board_and_what_nobody_has_is_refused_at_once(
    cluster: LocalCluster, write_sweep: WriteSweep, tmp_path: Path
) -> None:
    h100, a100 = (str(node.node_id)[:6] for node in cluster.nodes)
    grid = write_sweep(
        baseline={"enabled": False},
        synthetic={"run_seconds": 0.5},
        sweep={"accelerator": ["H100", "A100", ["A100", "H100"], "B200"], "n": [1, 2, 3, 4]},
    )
    output = tmp_path / "out"
    driver = cluster.drive(grid, output)
    text, _ = driver.communicate(timeout=120)
    assert driver.returncode == 1, text
    (summary,) = output.rglob("summary.parquet")
    rows = pq.read_table(summary).to_pylist()
    refused = [row for row in rows if row["status"] == "refused"]
    assert len(refused) == 4
    for row in refused:
        assert row["failure_kind"] == "no_such_gpu"
        assert "accelerator: B200, but" in row["failure_message"]
        assert f"{h100} has 1 of H100" in row["failure_message"]
        assert f"{a100} has 1 of A100" in row["failure_message"]
    nodes = defaultdict(set)
    for row in rows:
        if row["status"] == "completed":
            nodes[str(row["config.accelerator"])].add(row["node"][-6:])
    print(dict(nodes))
    assert list(nodes.values()) == [{h100}, {a100}, {h100, a100}]
    assert len(rows) - len(refused) == 12
    (folder,) = output.iterdir()
    asked = [json.loads(line)["event"] for line in (folder / "journal.jsonl").read_text().splitlines()]
    assert asked.count("dispatched") == 12, "what nobody has waited for nothing"
