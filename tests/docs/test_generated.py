"""Pages of the reference that are made from the program say what the program says."""

from __future__ import annotations

from pathlib import Path

import pytest

import cli_page
import options_table
import results_page
import schema_page
from llem_sweep.results.flatten import result_columns
from results_page import Entry

DOCS = Path(__file__).parents[2] / "docs"
COLUMNS = [entry for entries in results_page.columns().values() for entry in entries]
FIELDS = [
    entry._replace(name=f"{path}: {entry.name}")
    for path, (_, entries) in results_page.parts().items()
    for entry in entries
]
NUMBERS_OF_THINGS = "whole number"
MADE = "make it anew: make reference"


def test_the_page_of_the_command_line_is_that_of_the_program() -> None:
    assert (DOCS / "cli.md").read_text(encoding="utf-8") == cli_page.page(), MADE


def test_the_page_of_the_command_line_has_every_option() -> None:
    page = cli_page.page()
    program = cli_page.app()
    for command in (program, *(program[name] for name in cli_page.commands(program))):
        for argument in command.assemble_argument_collection():
            assert all(f"`{name}`" in page for name in argument.names)
            assert (
                all(word.strip() for word in cli_page.value(argument.hint).split(" or "))
                or argument.hint is bool
            )
    assert {"report", "verify", "doctor", "schema"} <= set(cli_page.commands(program))


def test_the_page_of_results_is_that_of_the_model() -> None:
    assert (DOCS / "results.md").read_text(encoding="utf-8") == results_page.page(), MADE


def test_the_page_of_results_has_every_column_once() -> None:
    assert sorted(entry.name for entry in COLUMNS) == sorted(column.name for column in result_columns())


@pytest.mark.parametrize("entry", [*COLUMNS, *FIELDS], ids=lambda entry: entry.name)
def test_a_figure_has_a_meaning_and_a_number_its_unit(entry: Entry) -> None:
    assert entry.meaning, f"{entry.name} has no docstring"
    if "number" in entry.kind and NUMBERS_OF_THINGS not in entry.kind:
        assert entry.unit, f"the unit of {entry.name} doesn't follow from its name: see tests/results_page.py"


def test_the_page_of_the_schema_is_that_of_the_program() -> None:
    assert (DOCS / "schema.md").read_text(encoding="utf-8") == schema_page.page(), MADE


def test_the_page_of_the_schema_has_every_field() -> None:
    told = {field.name for fields in schema_page.sections().values() for field in fields}
    own = {"name", "base", "sweep", "zip", "exclude", "experiments", "include"}
    assert told - own == {option.name for option in options_table.options()} - {"lora"}
    assert own <= told


@pytest.mark.parametrize(
    "field",
    [each for fields in schema_page.sections().values() for each in fields],
    ids=lambda field: field.name,
)
def test_a_field_has_a_meaning_and_values(field: schema_page.Field) -> None:
    assert field.meaning, f"{field.name} has no docstring"
    assert field.values


def test_units_follow_from_names() -> None:
    units = {entry.name: entry.unit for entry in COLUMNS}
    assert units["total_energy_j"] == "J"
    assert units["avg_energy_per_token_j"] == units["avg_energy_per_token_uncertainty_j"] == "J/token"
    assert units["warmup_result.temperature_slope_c_per_s"] == "°C/s"
    assert units["extended_metrics.hardware.model_flops_utilisation"] == "1"
    assert units["model"] is None
