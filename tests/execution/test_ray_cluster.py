"""What is decided about nodes before anything is started on them."""

from __future__ import annotations

import pytest

from llem_sweep.execution.ray_actor import NodeReport, versions
from llem_sweep.execution.ray_cluster import Node, mismatch, node_names, node_seats
from llem_sweep.plan.types import NodeShape


def report(**changed: str) -> NodeReport:
    return NodeReport("node7", versions() | changed, (), None)


def test_a_node_with_our_versions_fits() -> None:
    assert mismatch(report()) is None


@pytest.mark.parametrize("package", ["llem-sweep", "torch", "transformers"])
def test_a_node_with_another_version_is_told_apart_with_both_versions(package: str) -> None:
    why = mismatch(report(**{package: "0.0.1"}))
    assert why is not None
    assert f"{package} 0.0.1 there, {versions()[package]} here" in why


def test_builds_for_cpu_and_cuda_are_one_version() -> None:
    assert "+" not in versions()["torch"]


def test_nodes_of_one_host_are_told_apart() -> None:
    alive = {
        "aaaaaaaa": {"NodeManagerHostname": "big"},
        "bbbbbbbb": {"NodeManagerHostname": "big"},
        "cccccccc": {"NodeManagerHostname": "small"},
    }
    assert node_names(alive) == {"aaaaaaaa": "big-aaaaaa", "bbbbbbbb": "big-bbbbbb", "cccccccc": "small"}


@pytest.mark.parametrize(
    ("gpus", "cpu_workers", "workers", "cpus"),
    [(1, 1, 8, 16.0), (2, 1, 4, 32.0), (3, 1, 2, 48.0), (0, 4, 4, 32.0)],
)
def test_a_nodes_boards_and_cpus_are_shared_out(
    gpus: int, cpu_workers: int, workers: int, cpus: float
) -> None:
    node = Node("id", NodeShape("big", 8, 128.0))
    seats = list(node_seats(node, gpus, 1.0, cpu_workers, simulated=False))
    assert [seat.spec.name for seat in seats] == [f"big/worker{number}" for number in range(workers)]
    assert {seat.cpus for seat in seats} == {cpus}
    assert sum(seat.spec.gpus for seat in seats) <= 8


def test_more_boards_than_cpus_share_them() -> None:
    node = Node("id", NodeShape("laptop", 4, 2.0))
    assert [seat.cpus for seat in node_seats(node, 1, 1.0, 1, simulated=True)] == [0.5] * 4
