"""Stored sweeps compared and exported: each function loads results once and hands them to ``report``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from llem_sweep.errors import ConfigError, Problem, StoreError
from llem_sweep.report import compare as comparing
from llem_sweep.report.compare import CROSSINGS, Comparison, comparison
from llem_sweep.report.points import COLUMNS, CONFIG, kind_of
from llem_sweep.store.read import load_results
from llem_sweep.store.sweeps import experiment_at
from llem_sweep.store.uri import shown


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


def _rows(table: pa.Table, side: _Side) -> list[dict[str, Any]]:
    """The results that ``side`` means."""
    wanted = [*COLUMNS, *comparing.COLUMNS, "sweep", "folder"]
    wanted += [name for name in table.column_names if name.startswith(CONFIG)]
    rows: list[dict[str, Any]] = table.select(list(dict.fromkeys(wanted))).to_pylist()
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
