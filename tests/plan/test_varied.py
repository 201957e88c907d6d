from __future__ import annotations

from typing import Any

from llem_sweep.config.sweep import SweepConfig
from llem_sweep.plan.expand import plan_sweep


def varied(**parts: Any) -> list[dict[str, Any]]:
    in_order = {"cycle_order": "sequential"}
    plan = plan_sweep(SweepConfig.model_validate({"shared": {"model": "x"}, "execution": in_order} | parts))
    return [experiment.varied for experiment in plan.experiments]


def test_a_dimension_of_one_value_does_not_vary() -> None:
    assert varied(sweep={"n": [1, 2], "gpus": [2]}) == [{"n": 1}, {"n": 2}]


def test_every_varied_field_is_there_in_every_point() -> None:
    assert varied(sweep={"n": [1, 2]}, include=[{"precision": "fp16", "n": 1}]) == [
        {"n": 1, "precision": "bf16"},
        {"n": 2, "precision": "bf16"},
        {"n": 1, "precision": "fp16"},
    ]


def test_sections_given_whole_are_told_by_their_fields() -> None:
    assert varied(sweep={"decoder": [{"preset": "factual"}, {"top_k": 3}]}) == [
        {"decoder.preset": "factual", "decoder.top_k": 50},
        {"decoder.preset": None, "decoder.top_k": 3},
    ]


def test_values_are_told_as_written() -> None:
    assert varied(sweep={"decoder.temperature": [0, 1]}) == [
        {"decoder.temperature": 0},
        {"decoder.temperature": 1},
    ]


def test_a_mapping_is_told_compactly() -> None:
    assert varied(sweep={"dataset": ["builtin", {"n": 3, "input_len": 4}, {}]}) == [
        {"dataset": "builtin"},
        {"dataset": "n=3,input_len=4"},
        {"dataset": "n=100,input_len=512,output_len=128,seed=42"},
    ]


def test_datasets_that_differ_in_a_length_are_told_by_it() -> None:
    assert varied(sweep={"dataset.input_len": [3, 4], "dataset.n": [2]}) == [
        {"dataset.input_len": 3},
        {"dataset.input_len": 4},
    ]
