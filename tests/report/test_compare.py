"""Configurations held against each other: counterparts, differences and what isn't compared."""

from __future__ import annotations

import math
from typing import Any

import pytest

from llem_sweep.report.compare import comparison, difference
from llem_sweep.report.points import Figure
from report_rows import row


def at(key: str, batch: int, **fields: Any) -> dict[str, Any]:
    return row(measurement_config_hash=key, **{"config.pytorch.batch_size": batch}, **fields)


def test_a_change_has_both_half_widths_in_quadrature() -> None:
    found = difference(Figure(2.0, 0.03), Figure(2.2, 0.04))
    assert found.change == pytest.approx((0.2, 0.05))
    assert found.change_pct is not None
    assert found.change_pct.value == pytest.approx(10.0)
    assert found.change_pct.half_width == pytest.approx(100 * math.hypot(0.04 / 2, 2.2 * 0.03 / 4))
    assert found.shown is True


def test_no_difference_is_shown_where_the_interval_holds_nothing() -> None:
    assert difference(Figure(2.0, 0.03), Figure(2.05, 0.04)).shown is False
    assert difference(Figure(2.0, 0.3), Figure(2.3, 0.4)).shown is False


def test_what_nothing_bounds_is_neither_shown_nor_not_shown() -> None:
    found = difference(Figure(2.0, None), Figure(3.0, 0.1))
    assert (found.change, found.shown) == (Figure(1.0, None), None)
    assert difference(None, Figure(3.0, 0.1)) == (None, Figure(3.0, 0.1), None, None)
    assert difference(Figure(0.0, 0.1), Figure(3.0, 0.1)).change_pct is None


def test_the_same_configuration_meets_itself_by_its_hash() -> None:
    found = comparison([at("a", 1), at("b", 2)], [at("b", 2, avg_energy_per_token_j=2.5), at("c", 4)])
    [pair] = found.pairs
    assert pair.label == "batch_size=2"
    assert pair.energy_per_token_j.change == pytest.approx((0.5, math.hypot(0.03, 0.03)))
    assert (found.only_a, found.only_b) == (("batch_size=1",), ("batch_size=4",))
    assert found.by_design == {}


def test_what_is_constant_on_either_side_differs_by_design() -> None:
    found = comparison(
        [at("a", 1), at("b", 2)],
        [at("c", 2, **{"config.precision": "fp16"}), at("d", 1, **{"config.precision": "fp16"})],
    )
    assert found.by_design == {"precision": ("bf16", "fp16")}
    assert [(pair.a.config_hash, pair.b.config_hash) for pair in found.pairs] == [("a", "d"), ("b", "c")]
    assert [pair.label for pair in found.pairs] == ["batch_size=1", "batch_size=2"]


def test_one_configuration_meets_its_counterpart_among_many() -> None:
    found = comparison([at("x", 2, model="n")], [at("a", 1), at("b", 2)])
    assert found.by_design == {"model": ("n", "m")}
    assert [pair.b.config_hash for pair in found.pairs] == ["b"]
    assert found.only_b == ("batch_size=1",)


def test_two_single_configurations_are_compared_whatever_differs() -> None:
    found = comparison([at("a", 1)], [at("b", 8, **{"config.precision": "fp16"})])
    assert found.by_design == {"pytorch.batch_size": (1, 8), "precision": ("bf16", "fp16")}
    assert len(found.pairs) == 1


UNLIKE = [
    ("boards", {"device_names": ["A100"]}, "A on H100, B on A100"),
    ("boards", {"device_names": ["H100", "H100"]}, "A on H100, B on 2 × H100"),
    ("measured_on", {"measured_on": "simulated", "simulated": True}, "A is measured, B is simulated"),
    (
        "measured_on",
        {"measured_on": "synthetic", "simulated": True},
        "A is measured, B is synthetic and simulated",
    ),
    ("methods", {"measurement_methodology": "windowed"}, "window: A total, B windowed"),
    ("methods", {"energy_estimator": "3"}, "estimator: A 2, B 3"),
    ("methods", {"energy_breakdown.energy_methods": ["held"]}, "sensors' method: A counter, B held"),
    ("methods", {"energy_breakdown.baseline_kind": "context"}, "idle power subtracted: A cold, B context"),
    ("methods", {"energy_coverage": None}, "coverage: A 0.95, B unknown"),
]


@pytest.mark.parametrize(("crossing", "fields", "words"), UNLIKE)
def test_unlike_measurements_are_compared_only_where_told_and_then_marked(
    crossing: str, fields: dict[str, Any], words: str
) -> None:
    without = comparison([at("a", 1)], [at("a", 1, **fields)])
    assert without.pairs == ()
    assert [pair.crossings for pair in without.refused] == [{crossing: words}]
    others = [name for name in ("boards", "measured_on", "methods") if name != crossing]
    assert comparison([at("a", 1)], [at("a", 1, **fields)], others).pairs == ()
    [pair] = comparison([at("a", 1)], [at("a", 1, **fields)], [crossing]).pairs
    assert pair.crossings == {crossing: words}


def test_a_cycle_measured_otherwise_makes_the_methods_unlike() -> None:
    found = comparison([at("a", 1)], [at("a", 1), at("a", 1, cycle=2, energy_estimator="3")])
    assert [pair.crossings for pair in found.refused] == [{"methods": "estimator: A 2, B 2 or 3"}]


def test_where_several_kinds_of_boards_ran_it_like_meets_like() -> None:
    a100 = {"device_names": ["A100"]}
    found = comparison([at("a", 1), at("a", 1, **a100)], [at("a", 1, **a100), at("a", 1)])
    assert [pair.crossings for pair in found.pairs] == [{}, {}]
    assert [pair.b.kind.boards for pair in found.pairs] == [("H100",), ("A100",)]
    assert found.refused == ()


def test_energies_of_windows_with_other_work_are_not_compared() -> None:
    [same] = comparison([at("a", 1)], [at("a", 1, total_energy_j=220.0)]).pairs
    assert same.energy_j.change == pytest.approx((20.0, math.hypot(3.0, 3.0)))
    [other] = comparison([at("a", 1)], [at("a", 1, output_tokens=200)]).pairs
    assert other.energy_j.change is None
    assert other.energy_per_token_j.change is not None
