"""Reading results back."""

from __future__ import annotations

import gc
import json
from pathlib import Path

import polars
import pyarrow as pa
import pytest

from factories import START, UUIDS, make_config, make_environment, make_result
from llem_sweep.errors import ConfigError, DamagedError, StoreError
from llem_sweep.results.experiment import ExperimentResult
from llem_sweep.store.read import load_result, load_results
from llem_sweep.store.write import save_result


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """The folder of a stored result."""
    return save_result(make_result(), tmp_path / "out")


def edit(folder: Path, **fields: object) -> None:
    file = folder / "result.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def test_a_result_is_read_from_its_file_or_its_folder(saved: Path) -> None:
    assert load_result(saved) == load_result(str(saved / "result.json")) == make_result(further_files=None)


@pytest.mark.parametrize("content", [b"", b"{", b'{"schema_version": "3.0"', b"\xff\xfe"])
def test_a_file_that_is_cut_off_is_no_result(saved: Path, content: bytes) -> None:
    (saved / "result.json").write_bytes(content)
    with pytest.raises(StoreError, match=r"result\.json isn't whole JSON"):
        load_result(saved)


@pytest.mark.parametrize("content", [b"[]", b"null", b"{}", b'"text"'])
def test_json_that_is_no_result_is_refused(saved: Path, content: bytes) -> None:
    (saved / "result.json").write_bytes(content)
    with pytest.raises(StoreError, match=r"result\.json isn't a result"):
        load_result(saved)


def test_a_result_from_before_work_and_memory_were_told_is_read_with_both_unknown(saved: Path) -> None:
    file = saved / "result.json"
    fields = json.loads(file.read_text()) | {"schema_version": "3.2"}
    del (
        fields["flops_breakdown"],
        fields["extended_metrics"]["hardware"],
        fields["extended_metrics"]["memory"],
    )
    file.write_text(json.dumps(fields))
    found = load_result(saved)
    assert (found.schema_version, found.flops_breakdown) == ("3.2", None)
    assert found.extended_metrics is not None
    assert (found.extended_metrics.hardware, found.extended_metrics.memory) == (None, None)


def test_a_result_of_an_earlier_minor_version_is_read_with_the_new_fields_unknown(saved: Path) -> None:
    file = saved / "result.json"
    fields = json.loads(file.read_text()) | {"schema_version": "3.2"}
    del fields["iterations"]
    file.write_text(json.dumps(fields))
    assert load_result(saved) == make_result(schema_version="3.2", iterations=None, further_files=None)


def test_another_schema_version_is_named(saved: Path) -> None:
    edit(saved, schema_version="2.0")
    with pytest.raises(StoreError, match=r"schema version 2\.0, and this llem-sweep reads 3\.3"):
        load_result(saved)


def test_the_field_at_fault_is_named(saved: Path) -> None:
    edit(saved, total_energy_j="much")
    with pytest.raises(StoreError, match="total_energy_j"):
        load_result(saved)


def test_nothing_there_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no result at"):
        load_result(tmp_path)
    with pytest.raises(StoreError, match="no folder at"):
        load_results(tmp_path / "missing")


def test_results_anywhere_below_become_rows_in_the_order_of_their_folders(tmp_path: Path) -> None:
    for sweep, seconds in (("b", 1.0), ("a", 2.0)):
        config = make_config(synthetic={"run_seconds": seconds})
        save_result(make_result(config=config, energy_per_device_j=(seconds, None)), tmp_path / sweep)
    table = load_results(tmp_path)
    assert table.num_rows == 2
    assert [path.split("/")[0] for path in table["folder"].to_pylist()] == ["a", "b"]
    assert table["config.synthetic.run_seconds"].to_pylist() == [2.0, 1.0]
    assert table["energy_per_device_j"].to_pylist() == [[2.0, None], [1.0, None]]
    assert table["device_uuids"].to_pylist() == [list(UUIDS)] * 2
    assert table["measured_on"].to_pylist() == ["board"] * 2
    assert table["start_time"].to_pylist() == [START] * 2
    assert load_results(tmp_path / "a").num_rows == 1


def test_what_is_being_written_is_not_read(tmp_path: Path, saved: Path) -> None:
    staged = saved.parent / ".staging" / "x"
    staged.mkdir(parents=True)
    (staged / "result.json").write_text("{")
    assert load_results(tmp_path).num_rows == 1


def test_a_broken_result_is_not_passed_over(tmp_path: Path, saved: Path) -> None:
    (saved / "result.json").write_text("{")
    with pytest.raises(StoreError, match="isn't whole JSON"):
        load_results(tmp_path)


def test_types_are_the_same_without_any_row(tmp_path: Path) -> None:
    empty = load_results(tmp_path)
    save_result(make_result(), tmp_path)
    full = load_results(tmp_path)
    assert empty.num_rows == 0
    assert set(empty.schema) <= set(full.schema)
    assert empty.schema.field("energy_per_device_j").type == pa.list_(pa.float64())
    assert empty.schema.field("device_uuids").type == pa.list_(pa.string())
    assert empty.schema.field("total_energy_j").type == pa.float64()
    assert empty.schema.field("start_time").type == pa.timestamp("us", tz="UTC")


def test_types_are_the_same_when_everything_optional_is_unknown(tmp_path: Path) -> None:
    unknown = {
        name: None
        for name, field in ExperimentResult.model_fields.items()
        if not field.is_required() and type(None) in getattr(field.annotation, "__args__", ())
    }
    result = make_result(
        **unknown,
        energy_breakdown=None,
        total_energy_j=None,
        environment_snapshot=make_environment(boards=[]),
        energy_per_device_j=(),
    )
    save_result(result, tmp_path / "a")
    save_result(make_result(), tmp_path / "b")
    assert load_results(tmp_path / "a").schema == load_results(tmp_path / "b").schema
    assert load_results(tmp_path / "a")["total_energy_j"].to_pylist() == [None]


def test_several_folders_are_one_table_that_tells_them_apart(tmp_path: Path) -> None:
    for sweep, n in (("a", 7), ("b", 8)):
        for cycle in (1, 2):
            save_result(make_result(config=make_config(n=n), cycle=cycle), tmp_path / sweep)
    one, other = tmp_path / "b", str(tmp_path / "a")
    table = load_results([one, other])
    assert table["sweep"].to_pylist() == [str(one)] * 2 + [other] * 2
    assert table["config.n"].to_pylist() == [8, 8, 7, 7]
    assert table.column_names[-2:] == ["sweep", "folder"]
    assert table.slice(0, 2).drop_columns(["sweep"]) == load_results(one)
    assert load_results((one,))["sweep"].to_pylist() == [str(one)] * 2


def test_folders_whose_results_would_count_twice_are_refused(tmp_path: Path) -> None:
    save_result(make_result(), tmp_path / "a")
    with pytest.raises(ConfigError, match="is given twice"):
        load_results([tmp_path / "a", str(tmp_path / "b" / ".." / "a")])
    with pytest.raises(ConfigError, match=r"a lies in .*: its results would count twice"):
        load_results([tmp_path / "a", tmp_path])
    with pytest.raises(ConfigError, match="s3://bucket/runs/a lies in s3://bucket/runs:"):
        load_results(["s3://key:secret@bucket/runs", "s3://bucket/runs/a/"])
    with pytest.raises(ConfigError, match="no folder to load"):
        load_results([])


def test_more_results_than_are_read_at_once_keep_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llem_sweep.store.read._READ_AT_ONCE", 2)
    for number in range(5):
        energies = (float(number), None)
        save_result(make_result(cycle=number + 1, energy_per_device_j=energies), tmp_path / str(number))
    table = load_results(tmp_path)
    assert table["cycle"].to_pylist() == [1, 2, 3, 4, 5]
    assert [each[0] for each in table["energy_per_device_j"].to_pylist()] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert [name.split("/")[0] for name in table["folder"].to_pylist()] == ["0", "1", "2", "3", "4"]
    (tmp_path / table["folder"][4].as_py() / "result.json").write_text("{}")
    with pytest.raises(DamagedError, match=r"result\.json isn't a result"):
        load_results(tmp_path)


@pytest.mark.parametrize("on", [True, False])
def test_the_collector_of_garbage_is_left_as_it_was(tmp_path: Path, saved: Path, on: bool) -> None:
    was_on = gc.isenabled()
    try:
        (gc.enable if on else gc.disable)()
        load_results(tmp_path)
        assert gc.isenabled() is on
        (saved / "result.json").write_text("{")
        with pytest.raises(DamagedError):
            load_results(tmp_path)
        assert gc.isenabled() is on
    finally:
        (gc.enable if was_on else gc.disable)()


def test_pandas_reads_the_table(tmp_path: Path) -> None:
    for number in range(2):
        save_result(make_result(cycle=number + 1, total_energy_j=float(number)), tmp_path / str(number))
    frame = load_results(tmp_path).to_pandas()
    assert frame.groupby("measurement_config_hash")["total_energy_j"].mean().to_list() == [0.5]
    assert list(frame["device_uuids"].iloc[0]) == list(UUIDS)
    assert frame["start_time"].dt.tz is not None


def test_polars_reads_the_table(tmp_path: Path) -> None:
    for number in range(2):
        save_result(make_result(cycle=number + 1, total_energy_j=float(number)), tmp_path / str(number))
    frame = polars.DataFrame(load_results(tmp_path))
    assert frame.group_by("measurement_config_hash").agg(polars.col("total_energy_j").mean())[0, 1] == 0.5
    assert frame["device_uuids"].to_list() == [list(UUIDS)] * 2
    assert frame["start_time"].to_list() == [START] * 2
