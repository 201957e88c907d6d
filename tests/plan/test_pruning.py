from __future__ import annotations

from typing import Any

import pytest

from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.plan.pruning import needs_at_least


def needs_more(one: dict[str, Any], other: dict[str, Any]) -> bool:
    configs = (ExperimentConfig.model_validate({"model": "m"} | fields) for fields in (one, other))
    return needs_at_least(*configs)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({"precision": "fp32"}, {"precision": "bf16"}, True),
        ({"precision": "bf16"}, {"precision": "fp32"}, False),
        ({"precision": "fp8"}, {"precision": "fp8", "max_output_tokens": 9}, True),
        # What is quantised takes memory of its own while it is: neither is sure to need less.
        ({"precision": "fp32"}, {"precision": "fp8"}, False),
        ({"precision": "fp8"}, {"precision": "fp32"}, False),
        ({"pytorch": {"cache_dtype": "fp8"}}, {}, False),
        ({}, {"pytorch": {"cache_dtype": "fp8"}}, False),
        ({"pytorch": {"cache_dtype": "fp8", "batch_size": 8}}, {"pytorch": {"cache_dtype": "fp8"}}, True),
    ],
)
def test_what_needs_as_much_memory_in_every_respect(
    one: dict[str, Any], other: dict[str, Any], expected: bool
) -> None:
    assert needs_more(one, other) is expected
