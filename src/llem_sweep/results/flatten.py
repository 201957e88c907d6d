"""Results as rows of a table.

Columns are derived from the model, so that a field added to a result can't be missing from the tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import AwareDatetime, BaseModel

from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.fields import FieldTree, experiment_tree
from llem_sweep.config.nesting import flatten
from llem_sweep.results.columns import Cell, Column, Kind, Row, Scalar, as_json_text, typed
from llem_sweep.results.experiment import ExperimentResult

_DERIVED = (
    Column("device_uuids", Kind.TEXT, many=True),
    Column("device_names", Kind.TEXT, many=True),
    Column("warnings", Kind.TEXT, many=True),
)
_ELSEWHERE = {("environment_snapshot", "devices"), ("measurement_warnings",), ("effective_config", "config")}
"""Fields that derived columns, or those of the configuration, stand for."""
_NAMED_ALREADY = ("model", "backend")


def result_columns() -> tuple[Column, ...]:
    """The columns that every result has, in the order of the model's fields.

    Nested fields have dotted names, except those of ``environment_snapshot``, which stand at the top.
    """
    return tuple(column for column, _ in _leaves()) + _DERIVED


def flat_row(result: ExperimentResult) -> Row:
    """``result`` as one cell per column of :func:`result_columns`."""
    columns = zip(result_columns(), flat_columns([result]), strict=True)
    return {column.name: cell for column, [cell] in columns}


def flat_columns(results: Sequence[ExperimentResult]) -> list[list[Cell]]:
    """The cells of each column of :func:`result_columns`, one a result.

    Column after column: for thousands of results that takes a fifth of what row after row does.
    """
    parts: dict[tuple[str, ...], list[Any]] = {(): list(results)}
    cells = [_cells(column, _parts_at(path, parts)) for column, path in _leaves()]
    devices = _parts_at(("environment_snapshot", "devices"), parts)
    cells.append([[device.uuid for device in each] for each in devices])
    cells.append([[device.name for device in each] for each in devices])
    warnings = _parts_at(("measurement_warnings",), parts)
    cells.append([[warning.code.value for warning in each] for each in warnings])
    return cells


class ConfigColumns:
    """The configurations of results that come one after the other: ``config.<field>`` for every field that differs
    from its default in any of them."""

    def __init__(self) -> None:
        self._cells: dict[str, list[object]] = {}
        self._departing: set[str] = set()
        self._rows = 0

    def add(self, result: ExperimentResult) -> None:
        """Take in the next result."""
        leaves = config_leaves(result.effective_config.config)
        self._departing.update(departures(leaves))
        for name in leaves.keys() - self._cells.keys():
            self._cells[name] = [None] * self._rows
        for name, cells in self._cells.items():
            cells.append(leaves.get(name))
        self._rows += 1

    def typed(self) -> list[tuple[Column, list[Scalar]]]:
        """The columns by name, each with one cell a result."""
        names = sorted(self._departing.difference(_NAMED_ALREADY))
        return [typed(f"config.{name}", self._cells[name]) for name in names]


def config_leaves(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a nested configuration by dotted name."""
    return flatten(config, _tree())


def departures(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``leaves`` that differ from the default of their field."""
    defaults = _default_leaves()
    return {name: value for name, value in leaves.items() if name not in defaults or value != defaults[name]}


@cache
def _tree() -> FieldTree:
    return experiment_tree()


@cache
def _default_leaves() -> dict[str, Any]:
    leaves = config_leaves(ExperimentConfig(model="any").model_dump(mode="json"))
    del leaves["model"]
    return leaves


@cache
def _leaves() -> tuple[tuple[Column, tuple[str, ...]], ...]:
    return tuple(_walk(ExperimentResult, ()))


def _walk(model: type[BaseModel], above: tuple[str, ...]) -> Iterator[tuple[Column, tuple[str, ...]]]:
    for name, field in model.model_fields.items():
        path = (*above, name)
        if path in _ELSEWHERE:
            continue
        inner = _unwrap(field.annotation)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _walk(inner, path)
            continue
        many = get_origin(inner) is tuple and _scalar_kind(get_args(inner)[0]) is not None
        kind = _scalar_kind(get_args(inner)[0] if many else inner)
        named = path[1:] if path[0] == "environment_snapshot" else path
        yield Column(".".join(named), kind or Kind.TEXT, many), path


def _unwrap(annotation: Any) -> Any:
    """What an optional type is when it isn't None."""
    if get_origin(annotation) in (Union, UnionType):
        inner = [each for each in get_args(annotation) if each is not type(None)]
        return inner[0] if len(inner) == 1 else annotation
    return annotation


def _scalar_kind(annotation: Any) -> Kind | None:
    """The kind of a scalar type; None for what is stored as JSON."""
    inner = _unwrap(annotation)
    if get_origin(inner) is Literal:
        inner = type(get_args(inner)[0])
    if inner is AwareDatetime:
        return Kind.TIME
    if not isinstance(inner, type):
        return None
    kinds = {bool: Kind.FLAG, int: Kind.WHOLE, float: Kind.REAL, str: Kind.TEXT, datetime: Kind.TIME}
    return next((kind for scalar, kind in kinds.items() if issubclass(inner, scalar)), None)


def _parts_at(path: tuple[str, ...], known: dict[tuple[str, ...], list[Any]]) -> list[Any]:
    """What each result has at ``path``; ``known`` keeps what was looked up before."""
    if path not in known:
        name = path[-1]
        above = _parts_at(path[:-1], known)
        known[path] = [None if part is None else getattr(part, name) for part in above]
    return known[path]


def _cells(column: Column, values: list[Any]) -> list[Cell]:
    if column.many:
        return [None if value is None else list(value) for value in values]
    if column.kind is Kind.TEXT:
        return [_text(value) if isinstance(value, tuple | dict) else value for value in values]
    return values


def _text(value: tuple[Any, ...] | dict[str, Any]) -> str:
    if isinstance(value, tuple):
        return as_json_text(
            [each.model_dump(mode="json") if isinstance(each, BaseModel) else each for each in value]
        )
    return as_json_text(value)
