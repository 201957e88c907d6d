"""Stored sweeps compared and exported: each function loads results once and hands them to ``report``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from llem_sweep.errors import ConfigError, OutputError, Problem, StoreError
from llem_sweep.report import compare as comparing
from llem_sweep.report.compare import CROSSINGS, Comparison, comparison
from llem_sweep.report.export import configuration_table, json_lines, with_footprint
from llem_sweep.report.footprint import Rates
from llem_sweep.report.latex import latex_table
from llem_sweep.report.points import COLUMNS, CONFIG, Point, kind_of, points, varying
from llem_sweep.store.atomic import write_file
from llem_sweep.store.read import load_results
from llem_sweep.store.sweeps import experiment_at
from llem_sweep.store.tables import csv_text
from llem_sweep.store.uri import parse_place, shown

Format = Literal["csv", "jsonl", "latex"]
Per = Literal["configuration", "experiment"]
_PLACE = ("sweep", "folder")


class _Side(NamedTuple):
    """What one side of a comparison names."""

    given: Path | str
    sweep: Path | str
    """The folder to load."""
    folder: str | None
    """The experiment in it whose configuration is meant; None for all of it."""


def compare(a: Path | str, b: Path | str, *, across: Collection[str] = ()) -> Comparison:
    """The configurations of ``a`` held against those of ``b``, each a path or a URI.

    Either is a sweep's folder or one above several; or an experiment's folder, which stands for its configuration:
    all cycles of that in its sweep. What counterparts are is told at :func:`llem_sweep.report.compare.comparison`.

    Only what ran on the same boards, is as much a measurement and was measured by the same methods is compared,
    unless ``across`` names ``boards``, ``measured_on`` or ``methods``; those pairs then say so in ``crossings``.

    Raises ConfigError when nothing can be compared, StoreError when results can't be read.
    """
    if unknown := [name for name in across if name not in CROSSINGS]:
        raise ConfigError(
            [Problem(f"--across {name}: no such thing; there are {', '.join(CROSSINGS)}") for name in unknown]
        )
    sides = [_Side(place, *experiment_at(place)) for place in (a, b)]
    table = load_results(list({shown(side.sweep): side.sweep for side in sides}.values()))
    of_a, of_b = (_rows(table, side) for side in sides)
    found = comparison(of_a, of_b, across)
    if not found.pairs:
        raise ConfigError(_nothing(found, *sides))
    return found


def export(
    folders: Sequence[Path | str],
    form: Format,
    *,
    per: Per = "configuration",
    rates: Rates | None = None,
    output: Path | str | None = None,
) -> str:
    """The results in ``folders``, paths or URIs, and below, as text: a row per configuration or per experiment.

    The configurations of each folder are rows of their own. ``latex`` is a table of the figures alone; the others
    have all that is known of a row. With ``output`` it is written there too, in place of what was there.

    Raises ConfigError for no folder or for an output that isn't a path, StoreError when results can't be read or
    there are none, OutputError when the output can't be written.
    """
    place = None if output is None else parse_place(output)
    if not (place is None or isinstance(place, Path)):
        raise ConfigError(f"--output {shown(place.whole)}: an export is written to a path")
    table = load_results(folders[0] if len(folders) == 1 else folders)
    if not table.num_rows:
        raise StoreError(f"no result in {', '.join(map(shown, folders))} or below")
    text = _exported(table, form, per, rates)
    if place is not None:
        try:
            write_file(place, text.encode())
        except StoreError as exc:
            raise OutputError(str(exc)) from exc
    return text


def _exported(table: pa.Table, form: Format, per: Per, rates: Rates | None) -> str:
    if per == "experiment" and form != "latex":
        rows = table if rates is None else with_footprint(table, rates)
    else:
        of = _points(table, per)
        if form == "latex":
            sweeps = [each.rows[0].get("sweep", "") for each in of]
            return latex_table(of, sweeps, rates, cycles=per == "experiment")
        rows = configuration_table(of, table, rates)
    return csv_text(rows) if form == "csv" else json_lines(rows)


def _points(table: pa.Table, per: Per) -> list[Point]:
    """The configurations of each sweep, or every cycle by itself, told apart by the same fields."""
    rows: list[dict[str, Any]] = table.select(_needed(table)).to_pylist()
    apart: dict[object, list[dict[str, Any]]] = {}
    for number, row in enumerate(rows):
        apart.setdefault(number if per == "experiment" else row.get("sweep"), []).append(row)
    found = [each for few in apart.values() for each in points(few)]
    return varying(found)


def _needed(table: pa.Table) -> list[str]:
    """Columns that configurations are made of and told apart by."""
    wanted = dict.fromkeys((*COLUMNS, *comparing.COLUMNS))
    return [*wanted, *(name for name in table.column_names if name in _PLACE or name.startswith(CONFIG))]


def _rows(table: pa.Table, side: _Side) -> list[dict[str, Any]]:
    """The results that ``side`` means."""
    rows: list[dict[str, Any]] = table.select(_needed(table)).to_pylist()
    rows = [row for row in rows if row["sweep"] == shown(side.sweep)]
    if side.folder is not None:
        named = next(row for row in rows if row["folder"] == side.folder)
        rows = [row for row in rows if _configuration(row) == _configuration(named)]
    if not rows:
        raise StoreError(f"no result in {shown(side.given)} or below")
    return rows


def _configuration(row: dict[str, Any]) -> tuple[object, ...]:
    return row["measurement_config_hash"], kind_of(row)


def _nothing(found: Comparison, a: _Side, b: _Side) -> str:
    """Why nothing could be compared."""
    if not found.refused:
        only = f"only in A: {_some(found.only_a)}\nonly in B: {_some(found.only_b)}"
        return f"no configuration of {shown(a.given)} is in {shown(b.given)}\n{only}"
    lines = [f"{shown(a.given)} and {shown(b.given)} can't be compared as they are:"]
    needed: dict[str, str] = {}
    for pair in found.refused:
        for name, words in pair.crossings.items():
            needed.setdefault(name, words)
    lines += [f"  {name}: {words}" for name, words in needed.items()]
    lines.append(f"To compare all the same, each row marked: --across {','.join(needed)}")
    return "\n".join(lines)


def _some(labels: Sequence[str], most: int = 3) -> str:
    more = f" and {len(labels) - most:,} more" if len(labels) > most else ""
    return "; ".join(labels[:most]) + more
