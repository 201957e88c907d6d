"""Every field of a sweep file: the values it takes, its default, and what it means.

    PYTHONPATH=src python tests/schema_page.py > docs/schema.md

Made from the JSON Schema that ``llem-sweep schema`` prints.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from llem_sweep.config.schema import Schema, sweep_json_schema


class Field(NamedTuple):
    """One line of the page."""

    name: str
    values: str
    default: str
    meaning: str


_INTRODUCTION = """\
# Schema of a sweep file

Every field, the values it takes, and what it means. Made by `tests/schema_page.py` from the JSON Schema (draft
2020-12) that `llem-sweep schema` prints and editors read; `tests/docs/test_generated.py` holds it to that.
[Write a sweep file](sweep-files.md) tells how fields go together, [options.md](options.md) what each one reaches.

A field of a section may be written nested or with a dotted key, and may stand at the top or in `sweep`, `zip`,
`experiments`, `include` and `exclude`. What isn't a field is an error.
"""
_TYPES = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true, false",
    "null": "null",
    "object": "mapping",
}
_BOUNDS = (
    ("minimum", "≥ {}"),
    ("exclusiveMinimum", "> {}"),
    ("maximum", "≤ {}"),
    ("exclusiveMaximum", "< {}"),
)


def page() -> str:
    """docs/schema.md."""
    lines = [_INTRODUCTION]
    for title, fields in sections().items():
        lines += [f"## {title}\n", "| field | values | default | meaning |", "|---|---|---|---|"]
        lines += [f"| `{each.name}` | {each.values} | {each.default} | {each.meaning} |" for each in fields]
        lines.append("")
    return "\n".join(lines)


def sections() -> dict[str, list[Field]]:
    """Every field by the section that it stands in."""
    schema = sweep_json_schema()
    own = [name for name in schema["properties"] if "." not in name and name not in _points(schema)]
    found = {
        "The file": [_field(name, schema["properties"][name], schema) for name in own if name != "execution"]
    }
    found["An experiment"] = []
    for name, node in _points(schema).items():
        if "." in name:
            continue
        inner = [(each, key, field) for each in _models(node) for key, field in _properties(each, schema)]
        if not inner or any(option.get("type") != "null" for option in _scalars(node)):
            found["An experiment"].append(_field(name, node, schema))
        if inner:
            fields = {key: _field(f"{name}.{key}", field, schema) for _, key, field in inner}
            found[f"`{name}`"] = list(fields.values())
    found["`execution`"] = [
        _field(f"execution.{key}", node, schema)
        for key, node in schema["$defs"]["Execution"]["properties"].items()
    ]
    return {
        title: [field for field in fields if not field.meaning.startswith("Has no effect")]
        for title, fields in found.items()
    }


def _points(schema: Schema) -> Schema:
    points: Schema = schema["$defs"]["Point"]["properties"]
    return points


def _options(node: Schema) -> list[Schema]:
    """The schemas of which a value meets one."""
    return [each for key in ("anyOf", "oneOf") for each in node.get(key, [])] or [node]


def _models(node: Schema) -> list[str]:
    return [each["$ref"].rpartition("/")[2] for each in _options(node) if "$ref" in each]


def _scalars(node: Schema) -> list[Schema]:
    return [each for each in _options(node) if "$ref" not in each]


def _properties(model: str, schema: Schema) -> Iterator[tuple[str, Schema]]:
    yield from schema["$defs"][model].get("properties", {}).items()


def _field(name: str, node: Schema, schema: Schema) -> Field:
    values = list(dict.fromkeys(_values(each, schema) for each in _options(node)))
    meaning = node.get("description") or " ".join(
        schema["$defs"][model].get("description", "") for model in _models(node)
    )
    return Field(name, " or ".join(values), _default(node), _cell(meaning.strip()))


def _values(node: Schema, schema: Schema) -> str:
    if "$ref" in node:
        model = node["$ref"].rpartition("/")[2]
        return (
            "lists of values by field"
            if model == "Dimensions"
            else "fields"
            if model == "Point"
            else "mapping"
        )
    if "const" in node or "enum" in node:
        named = dict.fromkeys(f"`{_yaml(value)}`" for value in node.get("enum", [node.get("const")]))
        return ", ".join(named)
    if node.get("type") == "array":
        return f"list of {_values(node['items'], schema) if 'items' in node else 'values'}"
    kinds = node.get("type", "object")
    words = " or ".join(_TYPES[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds))
    bounds = [
        text.format(f"{node[key]:g}" if abs(node[key]) < 10**6 else node[key])
        for key, text in _BOUNDS
        if key in node
    ]
    return f"{words} {', '.join(bounds)}".strip()


def _default(node: Schema) -> str:
    return (
        f"`{_yaml(node['default'])}`" if "default" in node and not isinstance(node["default"], dict) else ""
    )


def _yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _cell(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(page())
