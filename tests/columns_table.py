"""The columns of ``load_results`` as a page, from the fields of the result model and their docstrings.

PYTHONPATH=src python tests/columns_table.py > docs/columns.md
"""

from __future__ import annotations

import re
import sys
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from llem_sweep.results.columns import Column, Kind
from llem_sweep.results.environment import EnvironmentSnapshot
from llem_sweep.results.experiment import ExperimentResult
from llem_sweep.results.flatten import result_columns

TYPES = {
    Kind.TEXT: "string",
    Kind.WHOLE: "int64",
    Kind.REAL: "double",
    Kind.FLAG: "bool",
    Kind.TIME: "timestamp[us, tz=UTC]",
}
DERIVED = {
    "device_uuids": "Full NVML UUIDs of the boards, in the order of every list per device.",
    "device_names": "Their names, in the same order.",
    "warnings": "Codes of the measurement's warnings.",
}


def field_of(name: str) -> FieldInfo:
    """The field behind a column. Raises LookupError."""
    for top in (ExperimentResult, EnvironmentSnapshot):
        field: FieldInfo | None = None
        model: type[BaseModel] | None = top
        for part in name.split("."):
            field = model.model_fields.get(part) if model is not None else None
            model = _model(field.annotation) if field is not None else None
        if field is not None:
            return field
    raise LookupError(f"no field is behind the column {name}")


def _model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model(each)) is not None), None)


def meaning(column: Column) -> str:
    """What the column holds, on one line; empty where its name says it."""
    text = DERIVED[column.name] if column.name in DERIVED else field_of(column.name).description or ""
    plain = re.sub(r":[a-z]+:`~?([^`]+)`", r"`\1`", text.replace("``", "`"))
    return " ".join(plain.replace("|", "\\|").split())


def table() -> str:
    """docs/columns.md."""
    lines = [
        "# Columns of a table of results",
        "",
        "What `load_results` gives, in this order, before `config.<field>`, `sweep` and `folder`",
        "([how to use it](analysis.md)). Nested fields have dotted names; units end the names; null is unknown,",
        "never 0. Strings that hold a list of parts or a mapping are JSON. Made by `tests/columns_table.py` from",
        "the result model.",
        "",
        "| column | type | |",
        "|---|---|---|",
    ]
    for column in result_columns():
        kind = f"list&lt;{TYPES[column.kind]}&gt;" if column.many else TYPES[column.kind]
        lines.append(f"| `{column.name}` | {kind} | {meaning(column)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
