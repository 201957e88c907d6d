"""Rows and typed columns, before any library makes a table of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

Scalar = str | int | float | bool | datetime | None
Cell = Scalar | list[Scalar]
Row = dict[str, Cell]


class Kind(StrEnum):
    """What a column holds."""

    TEXT = "text"
    WHOLE = "whole"
    REAL = "real"
    FLAG = "flag"
    TIME = "time"


class Column(NamedTuple):
    """A column of a table."""

    name: str
    kind: Kind
    many: bool = False
    """Whether each cell holds a list, for example one value per device."""


class FlatTable(NamedTuple):
    """Rows and what their columns hold; a cell that a row lacks is unknown."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


_INT64 = range(-(2**63), 2**63)


def add_columns(rows: Sequence[Row], values: Mapping[str, Sequence[object]]) -> tuple[Column, ...]:
    """Add to ``rows`` a cell for each of ``values``, which hold one value per row; returns the columns.

    A column of one type keeps it; whole and real numbers together are real; anything else becomes JSON text.
    """
    columns = []
    for name, cells in values.items():
        kind = _common_kind(cells)
        as_json = kind is Kind.TEXT and not all(cell is None or isinstance(cell, str) for cell in cells)
        for row, cell in zip(rows, cells, strict=True):
            row[name] = _scalar(cell, as_json)
        columns.append(Column(name, kind))
    return tuple(columns)


def _common_kind(cells: Sequence[object]) -> Kind:
    types = {type(cell) for cell in cells if cell is not None}
    if types == {bool}:
        return Kind.FLAG
    if types == {int} and all(cell is None or cell in _INT64 for cell in cells):
        return Kind.WHOLE
    if float in types and types <= {int, float}:
        return Kind.REAL
    return Kind.TEXT


def _scalar(cell: object, as_json: bool) -> Scalar:
    if cell is None or (not as_json and isinstance(cell, str | int | float)):
        return cell
    return as_json_text(cell)


def as_json_text(value: object) -> str:
    """``value`` as JSON, its keys in order, so that equal values are equal text."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
