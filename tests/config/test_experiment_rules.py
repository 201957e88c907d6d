"""Rules between fields of one experiment."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from llem_sweep.config.experiment import ExperimentConfig


def test_options_of_beams_need_beams() -> None:
    with pytest.raises(ValidationError, match="num_beams above 1"):
        ExperimentConfig.model_validate({"model": "m", "pytorch": {"length_penalty": 0.8}})
    with_beams = {"model": "m", "pytorch": {"num_beams": 2, "length_penalty": 0.8, "early_stopping": True}}
    assert ExperimentConfig.model_validate(with_beams).pytorch.length_penalty == 0.8


def test_the_least_output_fits_into_the_most() -> None:
    with pytest.raises(ValidationError, match="min_new_tokens is 9, more than the 8"):
        ExperimentConfig.model_validate(
            {"model": "m", "max_output_tokens": 8, "decoder": {"min_new_tokens": 9}}
        )
