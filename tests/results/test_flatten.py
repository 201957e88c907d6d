"""A result as a row."""

from __future__ import annotations

import json

from factories import UUIDS, make_config, make_result
from llem_sweep.results.columns import Column, Kind, Row, add_columns
from llem_sweep.results.experiment import ExperimentResult
from llem_sweep.results.flatten import (
    ConfigColumns,
    config_leaves,
    departures,
    flat_columns,
    flat_row,
    result_columns,
)
from llem_sweep.results.parts import EffectiveConfig


def test_every_field_of_a_result_reaches_the_table() -> None:
    tops = {column.name.split(".")[0] for column in result_columns()}
    spread = {"environment_snapshot", "measurement_warnings"}
    assert set(ExperimentResult.model_fields) - spread <= tops
    assert {"node", "identity", "device_uuids", "device_names", "warnings", "tool_version"} <= tops


def test_column_names_are_unique_and_the_same_as_the_cells() -> None:
    names = [column.name for column in result_columns()]
    assert len(set(names)) == len(names)
    assert set(flat_row(make_result())) == set(names)


def test_every_cell_of_a_whole_result_has_a_value() -> None:
    assert {name for name, cell in flat_row(make_result()).items() if cell is None} == {"timeseries"}


def test_cells_have_the_kind_of_their_column() -> None:
    kinds = {column.name: (column.kind, column.many) for column in result_columns()}
    assert kinds["simulated"] == (Kind.FLAG, False)
    assert kinds["total_tokens"] == (Kind.WHOLE, False)
    assert kinds["total_energy_j"] == (Kind.REAL, False)
    assert kinds["measured_on"] == (Kind.TEXT, False)
    assert kinds["start_time"] == (Kind.TIME, False)
    assert kinds["energy_per_device_j"] == (Kind.REAL, True)
    assert kinds["device_uuids"] == (Kind.TEXT, True)
    assert kinds["energy_breakdown.baseline_timestamp"] == (Kind.TIME, False)


def test_per_device_values_stay_lists_in_device_order() -> None:
    row = flat_row(make_result(energy_per_device_j=(None, 2.0)))
    assert row["energy_per_device_j"] == [None, 2.0]
    assert row["device_uuids"] == list(UUIDS)
    assert row["warnings"] == ["power_throttle"]


def test_a_part_that_is_missing_leaves_its_cells_unknown() -> None:
    row = flat_row(make_result(energy_breakdown=None, warmup_result=None))
    assert row["energy_breakdown.raw_j"] is None
    assert row["warmup_result.latencies_ms"] is None


def test_parts_without_a_column_type_are_json() -> None:
    row = flat_row(make_result())
    assert json.loads(str(row["effective_config.backend"])) == {"dtype": "bfloat16", "threads": 16}
    assert json.loads(str(row["process_results"]))[0]["output_tokens"] == 1000


def test_columns_hold_what_the_rows_of_their_results_hold() -> None:
    results = [make_result(), make_result(energy_breakdown=None, warmup_result=None, measurement_warnings=())]
    names = [column.name for column in result_columns()]
    columns = dict(zip(names, flat_columns(results), strict=True))
    for number, result in enumerate(results):
        assert {name: cells[number] for name, cells in columns.items()} == flat_row(result)


def test_configuration_fields_that_depart_anywhere_are_columns_for_every_row() -> None:
    configs = ConfigColumns()
    for config in (make_config(precision="fp16"), make_config(n=7)):
        configs.add(make_result(config=config))
    assert configs.typed() == [
        (Column("config.n", Kind.WHOLE), [100, 7]),
        (Column("config.precision", Kind.TEXT), ["fp16", "bf16"]),
    ]


def test_a_configuration_without_a_field_that_others_have_leaves_it_unknown() -> None:
    """As one of an earlier version does."""
    given = make_config(n=7)
    earlier = given.model_dump(mode="json")
    del earlier["precision"]
    configs = ConfigColumns()
    for config in (earlier, make_config(precision="fp16").model_dump(mode="json"), earlier):
        configs.add(make_result(effective_config=EffectiveConfig(config=config, backend={})))
    assert dict(configs.typed())[Column("config.precision", Kind.TEXT)] == [None, "fp16", None]


def test_departures_are_what_differs_from_defaults() -> None:
    leaves = config_leaves(make_config(decoder={"top_k": 5}, gpus=2).model_dump(mode="json"))
    assert departures(leaves) == {
        "model": "meta-llama/Llama-3.1-8B",
        "backend": "synthetic",
        "decoder.top_k": 5,
        "gpus": 2,
    }


def test_columns_keep_one_type_and_become_json_when_mixed() -> None:
    rows: list[Row] = [{}, {}, {}]
    columns = add_columns(
        rows,
        {
            "whole": [1, None, 3],
            "real": [1, 0.5, 2],
            "flag": [True, False, None],
            "text": ["a", None, "b"],
            "mixed": ["builtin", {"n": 4}, None],
            "list": [[1, 2], None, [3]],
            "flag_and_number": [True, 2, None],
            "huge": [2**70, 1, None],
            "none": [None, None, None],
        },
    )
    kinds = {column.name: column.kind for column in columns}
    assert kinds["whole"] is Kind.WHOLE
    assert kinds["real"] is Kind.REAL
    assert kinds["flag"] is Kind.FLAG
    assert {name for name, kind in kinds.items() if kind is Kind.TEXT} == {
        "text",
        "mixed",
        "list",
        "flag_and_number",
        "huge",
        "none",
    }
    assert rows[0]["mixed"] == '"builtin"'
    assert rows[1]["mixed"] == '{"n": 4}'
    assert rows[0]["list"] == "[1, 2]"
    assert rows[0]["flag_and_number"] == "true"
    assert rows[0]["huge"] == str(2**70)
