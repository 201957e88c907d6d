from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from llem_sweep.config.sweep import SweepConfig
from llem_sweep.errors import ResumeError
from llem_sweep.plan.changes import plan_changes
from llem_sweep.plan.expand import plan_sweep
from llem_sweep.plan.serial import plan_from_json, plan_to_json
from llem_sweep.plan.types import SweepPlan

PARTS: dict[str, Any] = {
    "name": "größe",
    "shared": {"dataset": {"n": 4}, "passthrough_kwargs": {"x": [1, {"y": 2.0}]}},
    "sweep": {
        "model": ["/a/m", "org/m"],
        "precision": ["fp16", "fp6"],
        "decoder": [{"preset": "deterministic", "temperature": 1.0}, {"preset": "creative"}, {"top_k": 3}],
    },
    "include": [{"model": "org/m", "dataset": "org/d"}, {"model": "org/m", "dataset": {}}],
    "execution": {"n_cycles": 2, "cycle_order": "shuffled", "experiment_gap_seconds": 1},
    "contents": {"/a/m": "1" * 16},
    "warnings": ["something"],
}


def plan(**changes: Any) -> SweepPlan:
    return plan_sweep(SweepConfig.model_validate(PARTS | changes))


def test_a_plan_comes_back_from_json_equal() -> None:
    before = plan()
    assert before.skipped
    after = plan_from_json(plan_to_json(before))
    assert after == before
    assert plan_to_json(after) == plan_to_json(before)


def test_a_plan_that_names_no_order_is_one_of_those_whose_default_was_sequential() -> None:
    document = json.loads(plan_to_json(plan(execution={"n_cycles": 2})))
    assert document["execution"].pop("cycle_order") == "blocked"
    assert plan_from_json(json.dumps(document)).execution.cycle_order == "sequential"


def edited(change: Callable[[Any], object]) -> str:
    document = json.loads(plan_to_json(plan()))
    change(document)
    return json.dumps(document)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "isn't valid JSON"),
        ("[]", "version None"),
        ("{}", "version None"),
        (edited(lambda d: d.update(plan_version=99)), "version 99"),
        ("[" * 100_000, "isn't valid JSON"),
        (edited(lambda d: d.pop("points")), "damaged: points: is missing"),
        (edited(lambda d: d.update(points=7)), "damaged: points"),
        (edited(lambda d: d.update(contents=7)), "damaged: contents"),
        (edited(lambda d: d.update(experiments=[])), "damaged: experiments"),
        (edited(lambda d: d["points"][0].update(varied=7)), "damaged: points.varied"),
        (edited(lambda d: d["skipped"].append(7)), "damaged: skipped"),
        (edited(lambda d: d["experiments"][0].update(point=-1)), "damaged: experiments.point"),
        (
            edited(lambda d: d["points"][0]["config"].update(n=5)),
            "isn't valid here: n is 5 but dataset.n is 4",
        ),
        (edited(lambda d: d["points"][0]["config"].update(random_seed=5)), "the plan was edited"),
        (
            edited(lambda d: d["points"][0]["config"].update(precision="fp6")),
            "point 1 of the plan isn't valid here",
        ),
        (edited(lambda d: d["contents"].clear()), "isn't known"),
        (edited(lambda d: d["contents"].update({"/a/m": "2" * 16})), "recorded as"),
        (edited(lambda d: d["experiments"][0].update(cycle=7)), "the plan was edited"),
        (edited(lambda d: d["experiments"][0].update(point=700)), "damaged: it has no point 701"),
        (edited(lambda d: d["execution"].update(n_cycles=0)), "damaged: execution.n_cycles"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(ResumeError, match=message):
        plan_from_json(text)


def test_a_plan_does_not_differ_from_itself() -> None:
    assert plan_changes(plan(), plan_from_json(plan_to_json(plan()))) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "other"}, ["the name was größe, now other"]),
        ({"execution": PARTS["execution"] | {"max_retries": 5}}, ["execution.max_retries was 2, now 5"]),
        ({"contents": {"/a/m": "3" * 16}}, ["the content of /a/m has changed"]),
        (
            {"shared": PARTS["shared"] | {"random_seed": 1}},
            ["random_seed was 42, now 1 in 8 points"],
        ),
        (
            {"include": [{"model": "org/m", "dataset": "org/d"}]},
            ["is no longer there"],
        ),
        (
            {"include": [*PARTS["include"], {"model": "org/m", "dataset": "org/e"}]},
            ["dataset=org/e", "is new"],
        ),
    ],
)
def test_changes_are_told_in_words(changes: dict[str, Any], words: list[str]) -> None:
    (told,) = plan_changes(plan(), plan(**changes))
    assert all(word in told for word in words)


def test_another_order_is_a_change() -> None:
    parts = {"shared": {"model": "x"}, "contents": {}, "execution": {}, "include": []}
    one = plan(**parts, sweep={"n": [1, 2]})
    other = plan(**parts, sweep={"n": [2, 1]})
    assert plan_changes(one, other) == ["the experiments are the same but in another order"]


def test_many_changed_points_are_summed_up() -> None:
    parts = {"shared": {"model": "x"}, "contents": {}, "execution": {}, "include": []}
    one = plan(**parts, sweep={"n": list(range(1, 40))})
    other = plan(**parts, sweep={"n": list(range(50, 90))})
    told = plan_changes(one, other)
    assert len(told) == 22
    assert told[10] == "and 29 more: each is no longer there"
