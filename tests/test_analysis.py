"""Stored sweeps compared and exported: what a side may be, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from factories import make_board, make_config, make_environment, make_result
from llem_sweep import compare, load_results
from llem_sweep.analysis import export
from llem_sweep.errors import ConfigError, OutputError, StoreError
from llem_sweep.report.footprint import read_rates
from llem_sweep.store.write import save_result
from object_stores import S3Server, store_at


def stored(top: Path, key: str, precision: str, energy: float, cycle: int = 1, **fields: Any) -> Path:
    """The folder of a result of a configuration with ``precision``."""
    return save_result(
        make_result(
            config=make_config(precision=precision),
            measurement_config_hash=key,
            cycle=cycle,
            avg_energy_per_token_j=energy,
            avg_energy_per_token_uncertainty_j=0.03,
            **fields,
        ),
        top,
    )


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """A sweep of two configurations, two cycles each."""
    for cycle in (1, 2):
        stored(tmp_path / "one", "a", "bf16", 5.0, cycle)
        stored(tmp_path / "one", "b", "fp16", 4.0, cycle)
    (tmp_path / "one" / "plan.json").write_text("{}")
    return tmp_path / "one"


def experiment(sweep: Path, precision: str) -> Path:
    return next(
        file.parent for file in sorted(sweep.glob("*/result.json")) if f'"{precision}"' in file.read_text()
    )


def test_two_sweeps_are_compared_configuration_by_configuration(sweep: Path, tmp_path: Path) -> None:
    for cycle in (1, 2):
        stored(tmp_path / "two", "a", "bf16", 5.5, cycle)
        stored(tmp_path / "two", "c", "fp32", 9.0, cycle)
    found = compare(sweep, str(tmp_path / "two"))
    [pair] = found.pairs
    assert pair.label == "precision=bf16"
    assert pair.energy_per_token_j.change == pytest.approx((0.5, 0.03 * 2**0.5))
    assert (len(pair.a.rows), len(pair.b.rows)) == (2, 2)
    assert (found.only_a, found.only_b) == (("precision=fp16",), ("precision=fp32",))


def test_two_experiments_of_a_sweep_stand_for_their_configurations(sweep: Path) -> None:
    found = compare(experiment(sweep, "bf16"), experiment(sweep, "fp16"))
    assert found.by_design == {"precision": ("bf16", "fp16")}
    [pair] = found.pairs
    assert (len(pair.a.rows), len(pair.b.rows)) == (2, 2)
    assert pair.energy_per_token_j.change is not None
    assert pair.energy_per_token_j.change.value == pytest.approx(-1.0)


def test_an_experiment_outside_a_sweep_stands_for_itself(sweep: Path, tmp_path: Path) -> None:
    (sweep / "plan.json").unlink()
    [pair] = compare(experiment(sweep, "bf16"), experiment(sweep, "fp16")).pairs
    assert (len(pair.a.rows), len(pair.b.rows)) == (1, 1)


def test_a_configuration_is_compared_with_its_counterpart_in_its_own_sweep(sweep: Path) -> None:
    [pair] = compare(experiment(sweep, "bf16"), sweep).pairs
    assert pair.a.config_hash == pair.b.config_hash == "a"
    assert pair.energy_per_token_j.shown is False


def test_a_folder_may_be_written_in_any_way(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sweep)
    [pair] = compare(experiment(sweep, "bf16").name, f"../{sweep.name}/").pairs
    assert pair.a.config_hash == pair.b.config_hash == "a"
    assert len(compare(".", sweep).pairs) == 2


def test_other_boards_are_refused_with_the_way_out(sweep: Path, tmp_path: Path) -> None:
    boards = make_environment(boards=[make_board(name="A100"), make_board(name="A100", index=1)])
    stored(tmp_path / "two", "a", "bf16", 5.5, environment_snapshot=boards)
    with pytest.raises(ConfigError, match="boards: A on 2 × NVIDIA H100 80GB HBM3, B on 2 × A100") as caught:
        compare(sweep, tmp_path / "two")
    caught.match("--across boards")
    [pair] = compare(sweep, tmp_path / "two", across=["boards"]).pairs
    assert list(pair.crossings) == ["boards"]


def test_nothing_in_common_is_an_error_that_names_both_sides(sweep: Path, tmp_path: Path) -> None:
    stored(tmp_path / "two", "c", "fp32", 5.5)
    stored(tmp_path / "two", "d", "fp8", 5.5)
    with pytest.raises(
        ConfigError, match=r"only in A: precision=bf16; precision=fp16\nonly in B: precision=f"
    ):
        compare(sweep, tmp_path / "two")


def test_what_cannot_be_crossed_and_what_is_empty_are_refused(sweep: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="--across models: no such thing; there are boards, measured_on, methods"
    ):
        compare(sweep, sweep, across=["models"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match=r"no result in .*empty"):
        compare(sweep, tmp_path / "empty")
    with pytest.raises(StoreError, match="no folder at"):
        compare(sweep, tmp_path / "nowhere")


def test_an_export_has_a_row_a_configuration_or_a_row_an_experiment(sweep: Path) -> None:
    configurations = list(csv.DictReader(io.StringIO(export([sweep], "csv"))))
    assert [(each["config.precision"], each["cycles"]) for each in configurations] == [
        ("bf16", "2"),
        ("fp16", "2"),
    ]
    assert "sweep" not in configurations[0]
    experiments = list(csv.DictReader(io.StringIO(export([sweep], "csv", per="experiment"))))
    assert len(experiments) == 4
    assert list(experiments[0]) == load_results(sweep).column_names
    lines = export([sweep], "jsonl", per="experiment").splitlines()
    assert [json.loads(line) for line in lines] == [
        json.loads(json.dumps(row, default=datetime.isoformat)) for row in load_results(sweep).to_pylist()
    ]


def test_the_same_configuration_in_two_sweeps_is_two_rows(sweep: Path, tmp_path: Path) -> None:
    stored(tmp_path / "two", "a", "bf16", 5.5)
    lines = [json.loads(line) for line in export([sweep, tmp_path / "two"], "jsonl").splitlines()]
    assert [(Path(line["sweep"]).name, line["config.precision"], line["cycles"]) for line in lines] == [
        ("one", "bf16", 2),
        ("one", "fp16", 2),
        ("two", "bf16", 1),
    ]
    assert "Sweep & precision & J/token" in export([sweep, tmp_path / "two"], "latex")


def test_a_latex_table_tells_configurations_or_cycles_apart(sweep: Path) -> None:
    text = export([sweep], "latex")
    assert "precision & J/token" in text
    assert text.count(r"$5.000 \pm 0.030$") == 1
    cycles = export([sweep], "latex", per="experiment")
    assert "precision & cycle & J/token" in cycles
    assert cycles.count(r"$5.000 \pm 0.030$") == 2


def test_no_cell_of_an_exported_csv_can_act_as_a_formula(tmp_path: Path) -> None:
    save_result(make_result(model="=HYPERLINK(1)", backend_version="+1"), tmp_path / "one")
    for per in ("configuration", "experiment"):
        text = export([tmp_path / "one"], "csv", per=per)
        assert "'=HYPERLINK(1)" in text
        assert not re.search(r"(^|,)[=+@-](?!\d)", text, re.MULTILINE)


def test_rates_are_columns_of_an_export_and_never_of_a_result(sweep: Path) -> None:
    rates = read_rates("400", None, None)
    before = {file: file.read_bytes() for file in sweep.glob("*/*")}
    for per in ("configuration", "experiment"):
        [first, *_] = export([sweep], "jsonl", per=per, rates=rates).splitlines()
        assert json.loads(first)["carbon_gco2e"] == pytest.approx(5000.0 / 3.6e6 * 400)
    assert {file: file.read_bytes() for file in sweep.glob("*/*")} == before


def test_an_export_is_written_in_place_of_what_was_there(sweep: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    target.write_text("before")
    text = export([sweep], "csv", output=target)
    assert target.read_text() == text == export([sweep], "csv")


def test_what_cannot_be_exported_is_an_error(sweep: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="nowhere"):
        export([sweep], "csv", output=tmp_path / "nowhere" / "out.csv")
    with pytest.raises(ConfigError, match="an export is written to a path"):
        export([sweep], "csv", output="s3://bucket/out.csv")
    with pytest.raises(ConfigError, match="no folder to load"):
        export([], "csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="no result in"):
        export([tmp_path / "empty"], "csv")


def test_sweeps_and_experiments_in_an_object_store_are_compared_and_exported(
    sweep: Path, s3: S3Server
) -> None:
    place = s3.folder()
    store = store_at(place)
    for file in sweep.rglob("*.json"):
        store.put(file.relative_to(sweep).as_posix(), file.read_bytes())
    names = [experiment(sweep, precision).name for precision in ("bf16", "fp16")]
    one, other = (store.uri.below(name).whole for name in names)
    [pair] = compare(one, other).pairs
    assert (len(pair.a.rows), len(pair.b.rows)) == (2, 2)
    assert pair.energy_per_token_j.change is not None
    assert pair.energy_per_token_j.change.value == pytest.approx(-1.0)
    [same, both] = compare(place, sweep).pairs
    assert (same.energy_per_token_j.shown, both.energy_per_token_j.shown) == (False, False)
    store.delete("plan.json")
    [alone] = compare(one, other).pairs
    assert (len(alone.a.rows), len(alone.b.rows)) == (1, 1)
    assert export([place], "csv") == export([sweep], "csv")
