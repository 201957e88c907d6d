from __future__ import annotations

from typing import Any

import pytest

from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.plan.workload import planned_workload


@pytest.mark.parametrize(
    ("options", "batches", "rows"),
    [
        ({}, 10, 1),
        ({"batch_size": 4}, 3, 4),
        ({"batch_size": 4, "batching": "sorted", "num_beams": 2}, 3, 8),
        ({"batching": "continuous"}, 1, 10),
        ({"batching": "continuous", "max_batch_tokens": 6}, 1, 6),
    ],
)
def test_batches_and_their_rows_follow_the_batching(options: dict[str, Any], batches: int, rows: int) -> None:
    work = planned_workload(ExperimentConfig.model_validate({"model": "m", "n": 10, "pytorch": options}))
    assert (work.batches, work.rows) == (batches, rows)


@pytest.mark.parametrize(
    ("measurement", "least_s", "limit_s"),
    [
        ({"min_duration_seconds": 60}, 60, 0),
        ({"min_duration_seconds": 60, "window": "windowed", "start_seconds": 40}, 100, 0),
        ({"min_duration_seconds": 60, "window": "windowed", "start_seconds": 40, "end_seconds": 50}, 60, 0),
        ({"min_duration_seconds": 60, "window": "steady_state"}, 60, 240),
        ({"window": "steady_state"}, 0, 0),
        ({"window": "windowed", "start_seconds": 40}, 0, 0),
    ],
)
def test_a_run_lasts_until_its_window_is_long_enough(
    measurement: dict[str, Any], least_s: float, limit_s: float
) -> None:
    work = planned_workload(ExperimentConfig.model_validate({"model": "m", "measurement": measurement}))
    assert (work.least_run_s, work.steady_limit_s) == (least_s, limit_s)
