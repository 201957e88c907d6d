"""What a file may say about how long is measured, and which part of it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.identity import config_hash


def config(**measurement: Any) -> ExperimentConfig:
    return ExperimentConfig.model_validate({"model": "acme/made-up-7b", "measurement": measurement})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"start_seconds": 3.0}, "are for window: windowed"),
        ({"window": "steady_state", "end_seconds": 3.0}, "are for window: windowed"),
        ({"window": "windowed"}, "needs start_seconds, end_seconds or both"),
        ({"window": "windowed", "start_seconds": 5.0, "end_seconds": 5.0}, "end_seconds is 5, not after"),
        ({"window": "windowed", "end_seconds": 0.0}, "greater than 0"),
        ({"min_duration_seconds": -1.0}, "greater than or equal to 0"),
        ({"window": "middle"}, "'total', 'steady_state' or 'windowed'"),
        ({"window": "steady_state", "prefill_window": True}, "leaves parts out: leave it at total"),
    ],
)
def test_windows_that_mean_nothing_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        config(**fields)


@pytest.mark.parametrize("parallelism", ["data", "tensor"])
def test_a_part_of_the_run_is_for_one_process(parallelism: str) -> None:
    fields: dict[str, Any] = {
        "model": "acme/made-up-7b",
        "pytorch": {"num_processes": 2, "parallelism": parallelism},
        "measurement": {"window": "steady_state"},
    }
    with pytest.raises(ValidationError, match=r"measurement\.window: steady_state is for one process"):
        ExperimentConfig.model_validate(fields)
    fields["measurement"] = {"min_duration_seconds": 10.0}
    assert ExperimentConfig.model_validate(fields).measurement.min_duration_seconds == 10.0


def test_the_whole_run_is_the_default_and_changes_no_identity() -> None:
    plain = config_hash(ExperimentConfig(model="acme/made-up-7b"), {})
    assert config_hash(config(window="total", min_duration_seconds=0.0, end_seconds=None), {}) == plain
    ways: list[dict[str, Any]] = [
        {"min_duration_seconds": 1.0},
        {"window": "steady_state"},
        {"window": "windowed", "start_seconds": 1.0},
        {"window": "windowed", "start_seconds": 1.0, "end_seconds": 2.0},
        {"prefill_window": True},
    ]
    assert config_hash(config(prefill_window=False), {}) == plain
    assert len({plain, *(config_hash(config(**way), {}) for way in ways)}) == 6


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batching": "continuous"}, "continuous has no phases"),
        ({"prompt_lookup_num_tokens": 3}, r"pytorch\.prompt_lookup_num_tokens: the first pass .* guesses"),
        ({"assistant_model": "acme/small"}, r"pytorch\.assistant_model: the first pass .* guesses"),
    ],
)
def test_prefill_by_itself_is_refused_where_it_would_not_be_the_runs(
    options: dict[str, Any], words: str
) -> None:
    fields: dict[str, Any] = {
        "model": "acme/made-up-7b",
        "measurement": {"prefill_window": True},
        "pytorch": options,
    }
    with pytest.raises(ValidationError, match=rf"measurement\.prefill_window.*{words}"):
        ExperimentConfig.model_validate(fields)
    # What another backend makes of it isn't this section's concern.
    assert ExperimentConfig.model_validate(fields | {"backend": "synthetic"}).measurement.prefill_window
    assert ExperimentConfig.model_validate(fields | {"pytorch": {"num_beams": 3}}).measurement.prefill_window
