"""The value of a field by its dotted name, compared and shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

Scalar = str | int | float | bool | None


def value_at(source: Any, field: str) -> Any:
    """What ``source``, a configuration or a nested mapping, has as ``field``; None if it has no such field."""
    for part in field.split("."):
        if isinstance(source, Mapping):
            source = source.get(part)
        elif isinstance(source, BaseModel):
            source = getattr(source, part, None)
        else:
            return None
    return source


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal; unlike in Python, true isn't 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def compact(value: Any) -> Scalar:
    """``value`` as one word for names and tables: scalars as they are, ``a=1,b=2`` for a mapping."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_defaults=True) or value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return ",".join(f"{key}={compact(child)}" for key, child in value.items())
    if isinstance(value, (list, tuple)):
        return ",".join(str(compact(child)) for child in value)
    if value is None or isinstance(value, (str, int, float)):
        return value
    return str(value)


def point(varied: Mapping[str, object]) -> str:
    """The fields of a point, for example ``precision=bf16 batch_size=8``; the sections' names are left out.

    Nothing is written ``null``, as in YAML.
    """
    return " ".join(
        f"{name.rsplit('.', 1)[-1]}={'null' if value is None else value}" for name, value in varied.items()
    )
