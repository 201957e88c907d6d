"""The estimate by hand, for facts of round numbers."""

from __future__ import annotations

from typing import Any

import pytest

from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.plan.memory import MemoryEstimate, memory_estimate
from llem_sweep.plan.types import ActivationBytes, CacheLayers, ModelFacts

ACTIVATIONS = ActivationBytes(
    layer_token=1000, attention_token=500, pair=0, chosen_logits=3000, further_logits=0
)
FACTS = ModelFacts(weight_bytes=1_000_000, cache=(CacheLayers(100),), activations=ACTIVATIONS)


def parts(facts: ModelFacts = FACTS, **fields: Any) -> MemoryEstimate:
    known: dict[str, Any] = {
        "model": "x",
        "dataset": {"n": 8, "input_len": 10, "output_len": 5},
        "pytorch": {"batch_size": 4},
    }
    estimate = memory_estimate(ExperimentConfig.model_validate(known | fields), facts)
    assert estimate is not None
    assert estimate.total == sum(estimate)
    return estimate


def test_the_cache_holds_every_token_of_the_batch_but_the_last() -> None:
    assert parts().weights == 1_000_000
    assert parts().cache == 4 * (10 + 4) * 100


def test_layers_with_a_window_hold_no_more_than_it_but_whole_prompts_at_first() -> None:
    sliding = FACTS._replace(cache=(CacheLayers(60), CacheLayers(40, window=6)))
    assert parts(sliding).cache == 4 * (14 * 60 + 6 * 40)
    assert sum(parts(sliding)) == 1_000_000 + 4 * 10 * 100 + 4 * 10 * 1000
    wide = FACTS._replace(cache=(CacheLayers(60), CacheLayers(40, window=14)))
    assert parts(wide) == parts()


@pytest.mark.parametrize(
    "options", [{"cache_implementation": "static"}, {"torch_compile": True, "use_cache": True}]
)
def test_a_static_cache_is_whole_from_the_first_pass_on(options: dict[str, Any]) -> None:
    sliding = FACTS._replace(cache=(CacheLayers(60), CacheLayers(40, window=6)))
    cache = 4 * (14 * 60 + 6 * 40)
    assert parts(sliding, pytorch={"batch_size": 4} | options) == (1_000_000, cache, 4 * 10 * 1000)
    short: dict[str, Any] = {"dataset": "builtin", "n": 8, "max_input_tokens": 10, "max_output_tokens": 5}
    room = parts(pytorch={"batch_size": 4} | options, **short)
    assert room == (1_000_000, 4 * 5 * 100, 4 * 3000), "for the longest answer, of whatever prompts"


def test_the_prompts_come_before_the_cache_has_grown() -> None:
    prompt = 4 * 10 * 100 + 4 * 10 * 1000
    assert sum(parts()) == 1_000_000 + prompt


def test_at_the_end_of_long_answers_the_cache_is_most() -> None:
    long = parts(dataset={"n": 8, "input_len": 1, "output_len": 1000})
    assert long == (1_000_000, 4 * 1000 * 100, 4 * 3000)


@pytest.mark.parametrize(
    ("fields", "rows"),
    [
        ({"pytorch": {"batch_size": 4, "num_beams": 3}}, 12),
        ({"pytorch": {"batch_size": 100}}, 8),
        ({"pytorch": {"batch_size": 100, "num_processes": 2}}, 4),
    ],
)
def test_rows_are_those_that_a_process_works_on_at_once(fields: dict[str, Any], rows: int) -> None:
    assert parts(**fields).cache == rows * 14 * 100


def test_attention_that_writes_scores_out_grows_with_the_square() -> None:
    eager = FACTS._replace(activations=ACTIVATIONS._replace(pair=200))
    assert sum(parts(eager)) == 1_000_000 + 4 * 10 * 100 + 4 * 10 * 500 + 4 * 10 * 10 * 200


def test_logits_of_every_position_count_where_a_model_makes_them() -> None:
    every = FACTS._replace(activations=ACTIVATIONS._replace(further_logits=2000))
    assert sum(parts(every)) == 1_000_000 + 4 * 10 * 100 + 4 * 3000 + 4 * 9 * 2000


def test_without_a_cache_the_last_pass_goes_over_everything() -> None:
    assert parts(pytorch={"batch_size": 4, "use_cache": False}) == (1_000_000, 0, 4 * 14 * 1000)


def test_nothing_is_counted_of_requests_that_may_be_short() -> None:
    short: dict[str, Any] = {"dataset": "builtin", "n": 8, "max_input_tokens": 10, "max_output_tokens": 5}
    assert parts(**short) == (1_000_000, 4 * 100, 4 * 3000)
    longer = short | {"decoder": {"min_new_tokens": 5}}
    assert parts(**longer) == (1_000_000, 4 * 5 * 100, 4 * 3000)


def test_what_isnt_known_isnt_counted() -> None:
    assert parts(ModelFacts(weight_bytes=7)) == (7, 0, 0)
    assert memory_estimate(ExperimentConfig(model="x"), ModelFacts()) is None
