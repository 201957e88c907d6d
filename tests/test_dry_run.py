"""What a dry run forecasts, from the file to the numbers."""

from __future__ import annotations

from typing import Any

import pytest

from llem_sweep.config.sweep import SweepConfig
from llem_sweep.sweep import DryRun, dry_run

PARTS: dict[str, Any] = {
    "shared": {
        "backend": "synthetic",
        "synthetic": {"run_seconds": 100, "load_seconds": 20},
        "warmup": {"enabled": False},
        "energy": {"backend": "null"},
    },
    "sweep": {"model": ["a", "b"], "random_seed": list(range(10))},
    "execution": {"n_cycles": 3},
}


def forecast_of(**changes: Any) -> DryRun:
    return dry_run(SweepConfig.model_validate(PARTS | changes), simulate_gpus=4)


def test_a_dry_run_forecasts_time_loads_and_the_least_possible() -> None:
    forecast = forecast_of().forecast
    assert forecast is not None
    assert forecast.bound_s == pytest.approx((60 * 100 + 2 * 20) / 4, rel=0.01)
    assert forecast.makespan_s.expected == pytest.approx(15 * 100 + 20, rel=0.01)
    assert forecast.loads == 4
    assert forecast.energy_j is None, "simulated boards draw nothing"


def test_a_fixed_order_costs_loads() -> None:
    fixed = forecast_of(execution={"n_cycles": 3, "cycle_order": "shuffled"}).forecast
    assert fixed is not None
    assert fixed.loads > 10


def test_where_nothing_can_run_nothing_is_forecast() -> None:
    assert forecast_of(shared=PARTS["shared"] | {"gpus": 8}).forecast is None
