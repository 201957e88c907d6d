"""The page of columns is that of the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from columns_table import DERIVED, field_of, table
from factories import make_result
from llem_sweep.results.flatten import result_columns
from llem_sweep.store.read import load_results
from llem_sweep.store.write import save_result

DOCS = Path(__file__).parents[2] / "docs" / "columns.md"


def test_the_page_is_made_from_the_model() -> None:
    made = "PYTHONPATH=src python tests/columns_table.py > docs/columns.md"
    assert DOCS.read_text(encoding="utf-8") == table(), f"make it anew: {made}"


def test_every_column_has_a_field_or_is_explained() -> None:
    for column in result_columns():
        assert column.name in DERIVED or field_of(column.name) is not None
    with pytest.raises(LookupError, match="no field is behind the column total_power"):
        field_of("total_power")
    assert (field_of("energy_breakdown.baseline_kind").description or "").startswith("Which idle power")


def test_the_page_tells_the_types_of_the_table(tmp_path: Path) -> None:
    save_result(make_result(), tmp_path)
    schema = load_results(tmp_path).schema
    lines = [line.split(" | ") for line in table().splitlines() if line.startswith("| `")]
    told = {name.strip("| `"): kind.replace("&lt;", "<").replace("&gt;", ">") for name, kind, _ in lines}
    assert told == {
        field.name: str(field.type).replace("list<element:", "list<").replace("item: ", "").replace("< ", "<")
        for field in schema
        if field.name in told
    }
    assert len(told) == len(result_columns())
