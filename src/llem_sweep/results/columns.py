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


_INT64 = range(-(2**63), 2**63)
_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=False, default=str)


def add_columns(rows: Sequence[Row], values: Mapping[str, Sequence[object]]) -> tuple[Column, ...]:
    """Add to ``rows`` a cell for each of ``values``, which hold one value per row; returns the columns, which are
    as :func:`typed` makes them."""
    columns = []
    for name, cells in values.items():
        column, scalars = typed(name, cells)
        for row, cell in zip(rows, scalars, strict=True):
            row[name] = cell
        columns.append(column)
    return tuple(columns)


def typed(name: str, cells: Sequence[object]) -> tuple[Column, list[Scalar]]:
    """A column of ``cells`` that holds one kind.

    A column of one type keeps it; whole and real numbers together are real; anything else becomes JSON text.
    """
    kind = _common_kind(cells)
    as_json = kind is Kind.TEXT and not all(cell is None or isinstance(cell, str) for cell in cells)
    return Column(name, kind), [_scalar(cell, as_json) for cell in cells]


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
    return _ENCODER.encode(value)
