"""Results as rows for other programs: one a configuration, or one an experiment, carbon and cost beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa

from llem_sweep.report.compare import METHOD, boards_words, told
from llem_sweep.report.footprint import Rates, footprint, scaled
from llem_sweep.report.points import CONFIG, Figure, Point

PER_TOKENS = 1e6
"""Output tokens to which carbon and cost of a token are scaled."""
_ROWS_AT_ONCE = 256
_CARBON = "carbon_gco2e"
_PER_MILLION = "per_million_output_tokens"


def configuration_table(of: Sequence[Point], source: pa.Table, rates: Rates | None = None) -> pa.Table:
    """One row a configuration, whose cycles are rows of ``source``, as :func:`points` took them together.

    Figures are means over the cycles, each with ``…_half_width`` of its 95 % interval. Configuration columns are
    those of ``source``, ``sweep`` as well where it has one. What the energies were made with is text: cycles that
    differ in it have all of it, joined by "or".
    """
    kept = [name for name in source.column_names if name == "sweep" or name.startswith(CONFIG)]
    first = {
        name: pa.array([each.rows[0][name] for each in of], source.schema.field(name).type) for name in kept
    }
    columns: dict[str, pa.Array] = {"sweep": first.pop("sweep")} if "sweep" in first else {}
    columns |= {
        "model": pa.array([each.model for each in of], pa.string()),
        "backend": pa.array([each.backend for each in of], pa.string()),
        **first,
        "boards": pa.array([boards_words(each) for each in of], pa.string()),
        "measured_on": pa.array([each.kind.measured_on for each in of], pa.string()),
        "simulated": pa.array([each.kind.simulated for each in of], pa.bool_()),
        "cycles": pa.array([len(each.rows) for each in of], pa.int64()),
        "publishable": pa.array([each.publishable for each in of], pa.bool_()),
    }
    columns |= _figures("avg_energy_per_token_j", [each.energy_per_token_j for each in of])
    columns |= _figures("avg_tokens_per_second", [each.tokens_per_second for each in of])
    columns |= _figures("total_energy_j", [each.energy_j for each in of])
    columns |= _figures("energy_adjusted_j", [each.adjusted_j for each in of])
    columns |= {
        column: pa.array([" or ".join(told(each.rows, column)) for each in of], pa.string())
        for column in METHOD.values()
    }
    columns["measurement_config_hash"] = pa.array([each.config_hash for each in of], pa.string())
    if rates is not None:
        columns |= footprint_columns(
            [each.energy_j for each in of], [each.energy_per_token_j for each in of], rates
        )
    return pa.table(columns)


def with_footprint(table: pa.Table, rates: Rates) -> pa.Table:
    """``table``, one row an experiment as ``load_results`` gives it, with columns for carbon and cost."""
    window = _read(table, "total_energy_j", "energy_uncertainty_j")
    token = _read(table, "avg_energy_per_token_j", "avg_energy_per_token_uncertainty_j")
    for name, column in footprint_columns(window, token, rates).items():
        table = table.append_column(name, column)
    return table


def footprint_columns(
    window_j: Sequence[Figure | None], token_j: Sequence[Figure | None], rates: Rates
) -> dict[str, pa.Array]:
    """Carbon and cost of the windows and of a million output tokens, and what they were computed with."""
    windows = [None if each is None else footprint(each, rates) for each in window_j]
    millions = [None if each is None else footprint(scaled(each, PER_TOKENS), rates) for each in token_j]
    columns = _figures("electricity_kwh", [each and each.electricity_kwh for each in windows])
    if rates.intensity is not None:
        columns |= _figures(_CARBON, [each and each.carbon_g for each in windows])
        columns |= _figures(f"{_CARBON}_{_PER_MILLION}", [each and each.carbon_g for each in millions])
        columns |= _same(len(windows), grid_intensity_gco2e_per_kwh=rates.intensity.g_per_kwh)
        columns |= _same(len(windows), grid_intensity_source=rates.intensity.source)
    if rates.price is not None:
        columns |= _figures("cost", [each and each.cost for each in windows])
        columns |= _figures(f"cost_{_PER_MILLION}", [each and each.cost for each in millions])
        columns |= _same(len(windows), price_per_kwh=rates.price.per_kwh, currency=rates.price.currency)
    return columns | _same(len(windows), pue=1.0 if rates.pue is None else rates.pue)


def json_lines(table: pa.Table) -> str:
    """One JSON object a row, in ASCII; unknown is null, times are ISO 8601."""
    lines = []
    for batch in table.to_batches(max_chunksize=_ROWS_AT_ONCE):
        lines += [json.dumps(row, default=_as_json, allow_nan=False) + "\n" for row in batch.to_pylist()]
    return "".join(lines)


def _as_json(value: object) -> str:
    assert isinstance(value, datetime), f"no column holds a {type(value)}"
    return value.isoformat()


def _figures(name: str, figures: Sequence[Figure | None]) -> dict[str, pa.Array]:
    values = [None if each is None else each.value for each in figures]
    bounds = [None if each is None else each.half_width for each in figures]
    return {name: pa.array(values, pa.float64()), f"{name}_half_width": pa.array(bounds, pa.float64())}


def _same(number: int, **values: str | float) -> dict[str, pa.Array]:
    return {name: pa.array([value] * number) for name, value in values.items()}


def _read(table: pa.Table, value: str, bound: str) -> list[Figure | None]:
    pairs = zip(table[value].to_pylist(), table[bound].to_pylist(), strict=True)
    return [None if known is None else Figure(known, half) for known, half in pairs]
