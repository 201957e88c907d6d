from __future__ import annotations

from typing import Any

import pytest

from llem_sweep.config.sweep import ExecutionConfig, SweepConfig
from llem_sweep.plan.cycles import run_order
from llem_sweep.plan.expand import plan_sweep


def order(points: int, **settings: Any) -> list[tuple[int, int]]:
    return list(run_order(["x"] * points, ExecutionConfig(**settings), "0123456789abcdef"))


def test_sequential_repeats_a_point_before_the_next() -> None:
    assert order(2, n_cycles=2, cycle_order="sequential") == [(0, 1), (0, 2), (1, 1), (1, 2)]


def test_interleaved_goes_through_all_points_in_each_cycle() -> None:
    assert order(2, n_cycles=2, cycle_order="interleaved") == [(0, 1), (1, 1), (0, 2), (1, 2)]


def test_each_shuffled_cycle_is_a_full_permutation_of_its_own() -> None:
    runs = order(30, n_cycles=3, cycle_order="shuffled", shuffle_seed=5)
    assert [cycle for _, cycle in runs] == [1] * 30 + [2] * 30 + [3] * 30
    cycles = [[point for point, cycle in runs if cycle == number] for number in (1, 2, 3)]
    assert all(sorted(points) == list(range(30)) for points in cycles)
    assert cycles[0] != cycles[1] != cycles[2]
    assert cycles[0] != list(range(30))


def test_blocked_is_the_default_and_permutes_each_cycle_of_one_model_after_the_other() -> None:
    models = ["b", "a"] * 20
    runs = list(run_order(models, ExecutionConfig(n_cycles=2), "0123456789abcdef"))
    assert [(models[point], cycle) for point, cycle in runs] == [
        *(("b", 1),) * 20,
        *(("b", 2),) * 20,
        *(("a", 1),) * 20,
        *(("a", 2),) * 20,
    ]
    blocks = [[point for point, _ in runs[start : start + 20]] for start in range(0, 80, 20)]
    assert sorted(blocks[0]) == sorted(blocks[1]) == list(range(0, 40, 2))
    assert blocks[0] != blocks[1]
    assert blocks[0] != sorted(blocks[0])


def test_longest_first_is_planned_as_interleaved() -> None:
    assert order(3, n_cycles=2, cycle_order="longest_first") == order(
        3, n_cycles=2, cycle_order="interleaved"
    )


@pytest.mark.parametrize("cycle_order", ["blocked", "shuffled"])
def test_a_permuted_order_is_the_same_every_time(cycle_order: str) -> None:
    assert order(30, cycle_order=cycle_order) == order(30, cycle_order=cycle_order)
    assert order(30, cycle_order=cycle_order, shuffle_seed=1) != order(30, cycle_order=cycle_order)


def test_a_seed_fixes_the_order_and_another_changes_it() -> None:
    settings = {"cycle_order": "shuffled", "n_cycles": 2}
    assert order(9, **settings, shuffle_seed=1) == order(9, **settings, shuffle_seed=1)
    assert order(9, **settings, shuffle_seed=1) != order(9, **settings, shuffle_seed=2)


@pytest.mark.parametrize(
    "change", [{"sweep": {"n": [1, 2, 3, 4]}}, {"execution": {"cycle_order": "shuffled", "n_cycles": 3}}]
)
def test_the_default_seed_follows_the_design(change: dict[str, Any]) -> None:
    parts: dict[str, Any] = {
        "shared": {"model": "x"},
        "sweep": {"n": [1, 2, 3]},
        "execution": {"cycle_order": "shuffled", "n_cycles": 2},
    }
    plan = plan_sweep(SweepConfig.model_validate(parts))
    assert plan.design_hash == plan_sweep(SweepConfig.model_validate(parts | {"name": "other"})).design_hash
    assert plan.design_hash != plan_sweep(SweepConfig.model_validate(parts | change)).design_hash


def test_cycles_share_a_configuration_and_have_ids_of_their_own() -> None:
    plan = plan_sweep(SweepConfig.model_validate({"shared": {"model": "x"}, "execution": {"n_cycles": 3}}))
    assert [experiment.cycle for experiment in plan.experiments] == [1, 2, 3]
    assert len({experiment.config_hash for experiment in plan.experiments}) == 1
    assert len({experiment.experiment_id for experiment in plan.experiments}) == 3
