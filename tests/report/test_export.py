"""Rows for other programs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from llem_sweep.report.export import configuration_table, json_lines, with_footprint
from llem_sweep.report.footprint import Rates, read_rates
from llem_sweep.report.points import points
from report_rows import row


def rates(*given: Any) -> Rates:
    found = read_rates(*given)
    assert found is not None
    return found


def exported(*rows: dict[str, Any], using: Rates | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = configuration_table(
        points(rows), pa.Table.from_pylist(list(rows)), using
    ).to_pylist()
    return found


def test_a_configuration_is_a_row_with_its_means_and_bounds() -> None:
    cycles = [row(cycle=n, total_energy_j=value, sweep="s") for n, value in ((1, 199.0), (2, 201.0))]
    [found] = exported(*cycles)
    assert list(found)[:3] == ["sweep", "model", "backend"]
    assert found["config.precision"] == "bf16"
    assert (found["cycles"], found["boards"], found["simulated"]) == (2, "H100", False)
    assert found["total_energy_j"] == 200.0
    assert found["total_energy_j_half_width"] == pytest.approx((12.706**2 + 9) ** 0.5)
    assert found["avg_energy_per_token_j_half_width"] == pytest.approx(0.03)
    assert (found["measurement_methodology"], found["energy_coverage"]) == ("total", "0.95")
    assert not [name for name in found if "carbon" in name or "cost" in name]


def test_what_is_unknown_stays_unknown_and_methods_that_differ_are_all_told() -> None:
    [found] = exported(row(total_energy_j=None), row(cycle=2, energy_estimator="3"))
    assert (found["total_energy_j"], found["total_energy_j_half_width"]) == (None, None)
    assert found["energy_estimator"] == "2 or 3"


def test_carbon_and_cost_are_columns_beside_their_rates() -> None:
    [found] = exported(
        row(total_energy_j=7.2e6, energy_uncertainty_j=3.6e5), using=rates("400", "0.25 EUR", 1.5)
    )
    assert found["electricity_kwh"] == pytest.approx(3.0)
    assert (found["carbon_gco2e"], found["carbon_gco2e_half_width"]) == pytest.approx((1200.0, 60.0))
    assert found["carbon_gco2e_per_million_output_tokens"] == pytest.approx(2e6 * 1.5 / 3.6e6 * 400)
    assert (found["cost"], found["cost_half_width"]) == pytest.approx((0.75, 0.0375))
    assert found["cost_per_million_output_tokens"] == pytest.approx(2e6 * 1.5 / 3.6e6 * 0.25)
    assert (found["grid_intensity_gco2e_per_kwh"], found["grid_intensity_source"]) == (400.0, "as given")
    assert (found["price_per_kwh"], found["currency"], found["pue"]) == (0.25, "EUR", 1.5)
    [carbon] = exported(row(total_energy_j=None), using=rates("400", None, None))
    assert (carbon["carbon_gco2e"], carbon["electricity_kwh"], carbon["pue"]) == (None, None, 1.0)
    assert "cost" not in carbon


def test_experiments_keep_their_columns_and_get_the_same_ones() -> None:
    source = pa.Table.from_pylist(
        [row(total_energy_j=3.6e6, energy_uncertainty_j=3.6e4), row(total_energy_j=None)]
    )
    found = with_footprint(source, rates("400", None, None))
    assert found.column_names[: source.num_columns] == source.column_names
    assert found["carbon_gco2e"].to_pylist() == [pytest.approx(400.0), None]
    assert found["carbon_gco2e_half_width"].to_pylist()[0] == pytest.approx(4.0)


def test_json_lines_hold_every_row_and_keep_types() -> None:
    at = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
    rows = [{"n": n, "x": None, "many": [1.5, None], "text": "a\n\u202e\x9b", "at": at} for n in range(300)]
    text = json_lines(
        pa.Table.from_pylist(
            rows,
            schema=pa.schema(
                [
                    ("n", pa.int64()),
                    ("x", pa.float64()),
                    ("many", pa.list_(pa.float64())),
                    ("text", pa.string()),
                    ("at", pa.timestamp("us", tz="UTC")),
                ]
            ),
        )
    )
    assert text.isascii()
    lines = text.splitlines()
    assert [json.loads(line)["n"] for line in lines] == list(range(300))
    assert json.loads(lines[0]) == rows[0] | {"at": "2026-03-04T05:06:00+00:00"}
