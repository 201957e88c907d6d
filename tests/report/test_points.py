"""Configurations: cycles together, bounds, Pareto front and the best of each model."""

from __future__ import annotations

import math
from typing import Any

import pytest

from llem_sweep.report.points import Figure, Point, best_of_each_model, figure, pareto_front, points


def row(**fields: Any) -> dict[str, Any]:
    return {
        "status": "completed",
        "measurement_config_hash": "a",
        "model": "m",
        "backend": "pytorch",
        "config.pytorch.batch_size": 1,
        "config.precision": "bf16",
        "cycle": 1,
        "measured_on": "board",
        "simulated": False,
        "device_names": ["H100"],
        "avg_tokens_per_second": 100.0,
        "avg_energy_per_token_j": 2.0,
        "avg_energy_per_token_uncertainty_j": 0.1,
        "total_energy_j": 200.0,
        "energy_uncertainty_j": 10.0,
        "energy_adjusted_j": 150.0,
        "energy_adjusted_uncertainty_j": 12.0,
        "verdict.publishable": True,
    } | fields


def test_one_cycle_keeps_its_own_bound_and_a_rate_has_none() -> None:
    [point] = points([row()])
    assert point.energy_per_token_j == Figure(2.0, 0.1)
    assert point.tokens_per_second == Figure(100.0, None)
    assert (point.energy_per_token_j.low, point.energy_per_token_j.high) == (1.9, 2.1)
    assert point.label == "m"


def test_cycles_are_a_mean_whose_bound_holds_their_spread_and_their_own_bounds() -> None:
    cycles = [row(cycle=n, avg_energy_per_token_j=value) for n, value in ((1, 1.9), (2, 2.0), (3, 2.1))]
    [point] = points(cycles)
    assert point.energy_per_token_j is not None
    assert point.energy_per_token_j.value == pytest.approx(2.0)
    assert point.energy_per_token_j.half_width == pytest.approx(math.hypot(4.303 * 0.1 / math.sqrt(3), 0.1))
    assert point.tokens_per_second == Figure(100.0, 0.0)
    assert len(point.rows) == 3


def test_a_cycle_without_known_energy_leaves_the_point_without() -> None:
    [point] = points([row(), row(cycle=2, avg_energy_per_token_j=None)])
    assert point.energy_per_token_j is None
    assert pareto_front([point]) == ()


def test_a_bound_that_is_not_known_of_every_cycle_is_not_known() -> None:
    assert figure([1.0, 3.0], [None, 0.1]) == Figure(2.0, None)
    assert figure([1.0, 3.0], [None, None]) == Figure(2.0, None)
    assert figure([1.0], [None]) == Figure(1.0, None)


def test_rates_have_their_spread_alone() -> None:
    spread = figure([1.0, 3.0])
    assert spread is not None
    assert spread == pytest.approx((2.0, 12.706))
    assert figure([1.0]) == Figure(1.0, None)
    assert figure([]) is None


def test_only_completed_rows_count_and_rows_without_a_status_are_completed() -> None:
    stored = row(measurement_config_hash="b")
    del stored["status"]
    found = points([row(status="failed"), row(status="pending"), stored])
    assert [point.config_hash for point in found] == ["b"]


def test_what_varies_is_what_differs_between_the_points() -> None:
    one, other = points([row(), row(measurement_config_hash="b", **{"config.pytorch.batch_size": 8})])
    assert one.varied == {"pytorch.batch_size": 1}
    assert other.varied == {"pytorch.batch_size": 8}
    assert other.label == "batch_size=8"


@pytest.mark.parametrize(
    "fields",
    [
        {"measured_on": "simulated", "simulated": True},
        {"device_names": ["A100"]},
        {"measured_on": "off-board"},
    ],
)
def test_what_was_measured_otherwise_is_another_point(fields: dict[str, Any]) -> None:
    found = points([row(), row(cycle=2, **fields)])
    assert [len(point.rows) for point in found] == [1, 1]
    assert found[0].kind != found[1].kind


def _at(key: str, energy: float, rate: float, **fields: Any) -> dict[str, Any]:
    return row(
        measurement_config_hash=key, avg_energy_per_token_j=energy, avg_tokens_per_second=rate, **fields
    )


def names(front: tuple[Point, ...]) -> list[str]:
    return [point.config_hash for point in front]


def test_the_front_holds_what_nothing_beats() -> None:
    found = points([_at("slow", 1.0, 10), _at("beaten", 2.0, 10), _at("fast", 2.0, 50), _at("twin", 2.0, 50)])
    assert names(pareto_front(found)) == ["slow", "fast"]


def test_kinds_have_fronts_of_their_own() -> None:
    found = points([_at("real", 3.0, 10), _at("simulated", 1.0, 50, measured_on="simulated", simulated=True)])
    assert names(pareto_front(found)) == ["real", "simulated"]


def test_the_best_of_each_model() -> None:
    found = points([_at("a", 3.0, 10), _at("b", 1.0, 5), _at("c", 2.0, 5, model="n")])
    assert names(tuple(best_of_each_model(found).values())) == ["b", "c"]


def test_publishable_is_every_cycle() -> None:
    [point] = points([row(), row(cycle=2, **{"verdict.publishable": False})])
    assert not point.publishable


def test_the_phases_of_a_token_are_shares_of_its_energy_with_their_own_bounds() -> None:
    phases = {
        "output_tokens": 100,
        "phases.prefill.energy_j": 50.0,
        "phases.prefill.energy_uncertainty_j": 5.0,
        "phases.decode.energy_j": 150.0,
        "phases.decode.energy_uncertainty_j": 10.0,
    }
    [point] = points([row(**phases)])
    assert (point.prefill_per_token_j, point.decode_per_token_j) == (Figure(0.5, 0.05), Figure(1.5, 0.1))
    [point] = points([row(**phases), row(**phases | {"cycle": 2, "phases.decode.energy_j": None})])
    assert point.prefill_per_token_j == Figure(0.5, 0.05)
    assert point.decode_per_token_j is None


def test_without_phases_or_tokens_nothing_is_said_of_them() -> None:
    [point] = points([row()])
    assert (point.prefill_per_token_j, point.decode_per_token_j) == (None, None)
    [point] = points([row(**{"output_tokens": 0, "phases.prefill.energy_j": 1.0})])
    assert point.prefill_per_token_j is None
