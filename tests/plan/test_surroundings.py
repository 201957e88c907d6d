"""What results were measured with, against what there is now."""

from __future__ import annotations

from factories import make_board, make_environment
from llem_sweep.plan.surroundings import (
    surrounding_changes,
    surroundings_here,
    surroundings_of,
    together,
)
from llem_sweep.plan.types import ClusterShape, NodeShape

H100 = NodeShape("one", 4, 8.0, "H100", 80_000.0, driver="580")
PACKAGES = {"torch": "2.13.0+cu130", "transformers": "5.23.0", "pydantic": "2"}


def test_a_result_tells_its_driver_boards_and_the_versions_compared() -> None:
    assert surroundings_of(make_environment(installed_packages=PACKAGES)) == {
        "torch": ("2.13.0",),
        "transformers": ("5.23.0",),
        "NVIDIA driver": ("580.65.06",),
        "board": ("NVIDIA H100 80GB HBM3",),
    }


def test_simulated_and_unknown_boards_tell_nothing() -> None:
    simulated = make_environment(boards=[make_board(simulated=True)], installed_packages={})
    assert surroundings_of(simulated) == {}
    unknown = make_environment(boards=[make_board(driver_version=None)], installed_packages={})
    assert set(surroundings_of(unknown)) == {"board"}


def test_a_cluster_offers_the_boards_of_its_nodes_where_they_are_wanted() -> None:
    cluster = ClusterShape((H100, NodeShape("head", 0, 8.0, "L4", driver="570")))
    assert surroundings_here(cluster, {}, boards=True) == {"board": ("H100",), "NVIDIA driver": ("580",)}
    assert surroundings_here(cluster, PACKAGES, boards=False).keys() == {"torch", "transformers"}
    assert surroundings_here(cluster._replace(simulated=True), {}, boards=True) == {}


def test_every_difference_is_told_and_what_isnt_known_is_none() -> None:
    then = {"torch": ("2.12", "2.13"), "board": ("A100",), "ray": ("2",)}
    now = {"torch": ("2.14",), "board": ("A100", "H100"), "NVIDIA driver": ("580",), "ray": ("2",)}
    assert surrounding_changes(then, now) == [
        "torch: 2.12, 2.13 then, 2.14 now",
        "board: A100 then, H100 now",
    ]
    assert surrounding_changes({}, now) == []
    assert surrounding_changes(then, {}) == []


def test_what_was_once_accepted_no_longer_differs() -> None:
    then, now = {"torch": ("2.12",)}, {"torch": ("2.13",)}
    both = together(then, now)
    assert both == {"torch": ("2.12", "2.13")}
    assert surrounding_changes(both, then) == surrounding_changes(both, now) == []
