"""Tables as files."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llem_sweep.store.tables import safe_text, write_csv, write_parquet


@pytest.mark.parametrize("start", [*"=+-@＝＋－＠", "\t", "\r", "\n=", " =", "\x00="])
def test_text_can_never_act_as_a_formula(start: str) -> None:
    assert safe_text(f"{start}cmd()").startswith("'")


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("plain = text", "plain = text"),
        ("red\x1b[31m", "red[31m"),
        ("two\nlines\r\nand\ttab", "two lines and tab"),
        ("bell\x07\x9b", "bell"),
        ("\udce9t", "t"),
        ("", ""),
    ],
)
def test_text_is_one_line_without_control_characters(text: str, safe: str) -> None:
    assert safe_text(text) == safe


@pytest.fixture
def table() -> pa.Table:
    return pa.table(
        {
            "=name": ["=1+1", 'comma, "quote"\nline'],
            "number": [-1.5, None],
            "whole": [-3, None],
            "flag": [True, None],
            "energies": pa.array([[1.5, None, -0.1], []], pa.list_(pa.float64())),
            "texts": pa.array([["=a", "b"], None], pa.list_(pa.string())),
            "time": pa.array([datetime(2026, 1, 2, tzinfo=UTC), None], pa.timestamp("us", tz="UTC")),
        }
    )


def test_csv_keeps_numbers_and_defuses_text(tmp_path: Path, table: pa.Table) -> None:
    write_csv(tmp_path / "t.csv", table)
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        head, first, second = csv.reader(file)
    assert head[0] == "'=name"
    assert first == ["'=1+1", "-1.5", "-3", "True", "1.5;;-0.1", "'=a;b", "2026-01-02T00:00:00+00:00"]
    assert second == ['comma, "quote" line', "", "", "", "", "", ""]


def test_parquet_comes_back_equal(tmp_path: Path, table: pa.Table) -> None:
    write_parquet(tmp_path / "t.parquet", table)
    assert pq.read_table(tmp_path / "t.parquet").equals(table)
