"""No field without a test that shows what it does."""

from __future__ import annotations

from pathlib import Path

import pytest

from options_table import ROWS, Option, options, source_of, table, tells

DOCS = Path(__file__).parents[2] / "docs" / "options.md"
OPTIONS = {option.name: option for option in options()}


def test_the_table_knows_fields_of_every_kind() -> None:
    """That the fields are found at all: nested, of a union, and of the execution settings."""
    assert {"model", "decoder.top_p", "dataset.path", "execution.n_cycles"} <= OPTIONS.keys()
    assert OPTIONS["decoder.top_k"] == Option("decoder.top_k", "50")
    assert "decoder" not in OPTIONS


@pytest.mark.parametrize("field", sorted(OPTIONS))
def test_a_field_has_a_test_that_is_there_and_names_it(field: str) -> None:
    assert field in ROWS, f"{field} has no row in tests/options_table.py"
    test = ROWS[field].test
    assert source_of(test) is not None, f"there is no test {test}"
    assert tells(test, field), f"{test} doesn't name {field}"


def test_no_row_is_of_a_field_that_is_not_there() -> None:
    assert ROWS.keys() - OPTIONS.keys() == set()


@pytest.mark.parametrize(
    "test",
    ["config/test_options_table.py::test_no_such", "config/no_such.py::test_x", "options_table.py::tells"],
)
def test_a_test_that_is_not_there_is_noticed(test: str) -> None:
    assert source_of(test) is None
    assert not tells(test, "n")


def test_the_page_is_that_of_the_table() -> None:
    made = "PYTHONPATH=src python tests/options_table.py > docs/options.md"
    assert DOCS.read_text(encoding="utf-8") == table(), f"make it anew: {made}"
