"""One plan that takes in another."""

from __future__ import annotations

from typing import Any

import pytest

from llem_sweep.config.sweep import SweepConfig
from llem_sweep.errors import ConfigError, ResumeError
from llem_sweep.plan.expand import plan_sweep
from llem_sweep.plan.extension import extend_plan
from llem_sweep.plan.serial import plan_from_json, plan_to_json
from llem_sweep.plan.types import SweepPlan


def plan(name: str = "grid", **sections: Any) -> SweepPlan:
    given: dict[str, Any] = {
        "shared": {"model": "org/m", "backend": "synthetic"},
        "execution": {"cycle_order": "sequential"},
    }
    return plan_sweep(SweepConfig.model_validate({"name": name} | given | sections))


def ids(plan: SweepPlan) -> list[str]:
    return [each.experiment_id for each in plan.experiments]


def test_a_file_that_holds_everything_gives_its_own_plan_under_the_old_name() -> None:
    old = plan(sweep={"n": [1, 2]})
    new = plan("other", sweep={"n": [1, 2, 3], "random_seed": [42, 43]})
    extension = extend_plan(old, new)
    assert extension.plan == new._replace(name="grid")
    assert len(extension.added) == 4
    assert extension.left == ()
    assert extension.settings == ()


def test_nothing_planned_is_taken_away() -> None:
    old, new = plan(sweep={"n": [1, 2]}), plan(sweep={"n": [2, 3]})
    extension = extend_plan(old, new)
    assert ids(extension.plan) == [*ids(new), ids(old)[0]]
    assert [each.varied for each in extension.plan.experiments] == [{"n": 2}, {"n": 3}, {"n": 1}]
    assert [each.varied["n"] for each in extension.added] == [3]
    assert [each.varied["n"] for each in extension.left] == [1]


def test_extending_again_with_the_same_file_adds_nothing() -> None:
    old, new = plan(sweep={"n": [1, 2]}), plan(sweep={"n": [2, 3]})
    once = extend_plan(old, new).plan
    again = extend_plan(once, new)
    assert again.added == ()
    assert again.plan == once


def test_an_extended_plan_comes_back_from_json() -> None:
    extended = extend_plan(
        plan(sweep={"n": [1, 2]}, execution={"n_cycles": 2}), plan(sweep={"random_seed": [1, 2]})
    ).plan
    assert plan_from_json(plan_to_json(extended)) == extended


def test_what_only_one_file_varies_is_told_of_the_points_of_both() -> None:
    old = plan(sweep={"n": [1, 2]})
    new = plan(
        shared={"model": "org/m", "backend": "synthetic", "n": 1}, sweep={"precision": ["fp16", "fp32"]}
    )
    varied = [each.varied for each in extend_plan(old, new).plan.experiments]
    assert varied == [
        {"precision": "fp16", "n": 1},
        {"precision": "fp32", "n": 1},
        {"precision": "bf16", "n": 1},
        {"precision": "bf16", "n": 2},
    ]


def test_what_neither_file_varies_but_both_share_differently_tells_their_points_apart() -> None:
    old = plan(sweep={"n": [1, 2]})
    new = plan(shared={"model": "org/m", "backend": "synthetic", "random_seed": 7}, sweep={"n": [1, 2]})
    varied = [each.varied for each in extend_plan(old, new).plan.experiments]
    assert [(each["random_seed"], each["n"]) for each in varied] == [(7, 1), (7, 2), (42, 1), (42, 2)]


def test_another_model_tells_points_apart_by_the_model() -> None:
    new = plan(shared={"model": "org/other", "backend": "synthetic"}, sweep={"n": [1, 2]})
    extended = extend_plan(plan(sweep={"n": [1, 2]}), new).plan
    assert [each.varied["model"] for each in extended.experiments] == ["org/other"] * 2 + ["org/m"] * 2
    assert len({str(each.varied) for each in extended.experiments}) == 4


def test_what_follows_from_a_varied_field_is_no_column_of_its_own() -> None:
    old = plan(sweep={"decoder": [{"preset": "deterministic"}, {"preset": "creative"}]})
    new = plan(sweep={"decoder": [{"preset": "creative"}, {"top_k": 3}], "n": [1, 2]})
    names = {tuple(sorted(each.varied)) for each in extend_plan(old, new).plan.experiments}
    [columns] = names
    assert "n" in columns
    assert all(column in ("n",) or column.startswith("decoder") for column in columns)


def test_more_cycles_are_added_to_the_points_of_the_file_and_fewer_take_none_away() -> None:
    thrice = {"n_cycles": 3, "cycle_order": "sequential"}
    few, many = plan(sweep={"n": [1, 2]}), plan(sweep={"n": [2, 3]}, execution=thrice)
    grown = extend_plan(few, many)
    assert [(each.varied["n"], each.cycle) for each in grown.left] == [(1, 1)]
    assert len(grown.added) == 5
    assert grown.settings == ("execution.n_cycles was 1, now 3",)
    back = extend_plan(grown.plan, few)
    assert set(ids(back.plan)) == set(ids(grown.plan))


def test_settings_are_those_of_the_new_file_and_told() -> None:
    new = plan(sweep={"n": [1]}, execution={"max_retries": 7, "cycle_order": "interleaved"})
    extension = extend_plan(plan(sweep={"n": [1]}, execution={"cycle_order": "sequential"}), new)
    assert extension.plan.execution == new.execution
    assert sorted(extension.settings) == [
        "execution.cycle_order was sequential, now interleaved",
        "execution.max_retries was 2, now 7",
    ]


def test_the_design_of_an_extended_plan_is_of_all_its_points() -> None:
    old, new = plan(sweep={"n": [1, 2]}), plan(sweep={"n": [2, 3]})
    assert extend_plan(old, new).plan.design_hash not in (old.design_hash, new.design_hash)


def test_a_path_whose_content_has_changed_is_refused() -> None:
    sections: dict[str, Any] = {"shared": {"model": "/a/m", "backend": "synthetic"}}
    old, new = (plan(**sections, contents={"/a/m": digit * 16}) for digit in "12")
    with pytest.raises(ResumeError, match="the content of /a/m has changed"):
        extend_plan(old, new)


def test_both_files_together_keep_to_the_limit() -> None:
    old, new = plan(sweep={"n": [1, 2]}), plan(sweep={"n": [3, 4]}, execution={"max_experiments": 3})
    with pytest.raises(
        ConfigError, match=r"4 experiments, more than execution\.max_experiments allows \(3\)"
    ):
        extend_plan(old, new)
