"""What is decided about nodes before anything is started on them."""

from __future__ import annotations

import pytest

from factories import UUIDS, make_board
from llem_sweep.execution.on_ray.actor import NodeReport, versions
from llem_sweep.execution.on_ray.nodes import mismatch, node_shape


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


def test_a_node_offers_its_boards_and_what_ray_calls_them() -> None:
    node = {"Resources": {"GPU": 4.0, "CPU": 16.0}, "Labels": {"ray.io/accelerator-type": "A100"}}
    shape = node_shape("big", node, report(), simulated=True)
    assert (shape.name, shape.gpus, shape.cpus, shape.accelerator) == ("big", 4, 16.0, "A100")


def test_a_node_tells_the_generations_of_its_boards() -> None:
    boards = (make_board(generation="hopper"), make_board(UUIDS[1], 1, generation="ga100"))
    node = {"Resources": {"GPU": 2.0, "CPU": 16.0}}
    shape = node_shape("big", node, report()._replace(boards=boards), simulated=False)
    assert shape.generations == {"hopper", "ga100"}
    assert node_shape("big", node, report(), simulated=False).generations == frozenset()
