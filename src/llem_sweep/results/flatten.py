"""A result as one row of a table.

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
from llem_sweep.results.columns import Cell, Column, FlatTable, Kind, Row, add_columns, as_json_text
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
    row: Row = {column.name: _cell(column, _follow(result, path)) for column, path in _leaves()}
    devices = result.environment_snapshot.devices
    row["device_uuids"] = [device.uuid for device in devices]
    row["device_names"] = [device.name for device in devices]
    row["warnings"] = [warning.code.value for warning in result.measurement_warnings]
    return row


def flat_table(results: Sequence[ExperimentResult]) -> FlatTable:
    """One row per result: the columns of :func:`result_columns`, then ``config.<field>`` for every field of the
    configuration that differs from its default in any of them."""
    rows = tuple(flat_row(result) for result in results)
    leaves = [config_leaves(result.effective_config.config) for result in results]
    departing = {name for each in leaves for name in departures(each)}
    names = sorted(departing.difference(_NAMED_ALREADY))
    columns = add_columns(rows, {f"config.{name}": [each.get(name) for each in leaves] for name in names})
    return FlatTable(result_columns() + columns, rows)


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


def _follow(result: ExperimentResult, path: tuple[str, ...]) -> Any:
    value: Any = result
    for name in path:
        value = None if value is None else getattr(value, name)
    return value


def _cell(column: Column, value: Any) -> Cell:
    if column.many:
        return None if value is None else list(value)
    if isinstance(value, tuple):
        return as_json_text(
            [each.model_dump(mode="json") if isinstance(each, BaseModel) else each for each in value]
        )
    return as_json_text(value) if isinstance(value, dict) else value
