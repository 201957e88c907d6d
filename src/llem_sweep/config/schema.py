"""The JSON Schema of a sweep file, for editors."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from llem_sweep.config.draft import LEGACY_EXECUTION, LEGACY_KEYS
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.options import plugin_options
from llem_sweep.config.sweep import ExecutionConfig

Schema = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DEFS = "#/$defs/"


def sweep_json_schema() -> Schema:
    """JSON Schema (draft 2020-12) of a sweep file, sections of installed plug-ins included.

    Every field may stand at the top, below ``sweep``, ``zip``, ``experiments``, ``include`` and ``exclude``, and
    may be written nested or with a dotted key.
    """
    definitions: Schema = {}
    fields = _fields(ExperimentConfig, definitions)
    for name, options in plugin_options().items():
        definitions[options.__name__] = _tidy(_model_schema(options, definitions))
        fields[name] = {"$ref": _DEFS + options.__name__}
    # A bare null is the natural spelling of "no energy backend" in YAML.
    backend = definitions["EnergyConfig"]["properties"]["backend"]
    backend |= {"enum": [*backend["enum"], None], "type": ["string", "null"]}
    fields |= _dotted(fields, definitions)
    execution = _fields(ExecutionConfig, definitions)
    definitions["Execution"] = _closed(execution | _deprecated(LEGACY_EXECUTION))
    definitions["Point"] = _closed(fields) | {"description": "Fields of an experiment."}
    definitions["Dimensions"] = _closed(_dimensions(fields, definitions)) | {
        "description": "Fields, each with the values it takes.",
        "minProperties": 1,
    }
    settings = {f"execution.{name}": _property("Execution", name) for name in (*execution, *LEGACY_EXECUTION)}
    points = {name: _property("Point", name) for name in fields}
    return {
        "$schema": _DIALECT,
        "title": "llem-sweep",
        "description": "A sweep of inference experiments: fields that all points share, and what to vary.",
        **_closed(_own_keys() | points | settings | _deprecated(LEGACY_KEYS)),
        "$defs": dict(sorted(definitions.items())),
    }


def _own_keys() -> Schema:
    dimensions, points = {"$ref": f"{_DEFS}Dimensions"}, {"type": "array", "items": {"$ref": f"{_DEFS}Point"}}
    excluded = {"type": "array", "items": dimensions}
    return {
        "name": {
            "type": ["string", "number", "boolean", "null"],
            "description": "Name of the sweep, for its folder; by default the file's.",
        },
        "base": {
            "type": "string",
            "minLength": 1,
            "description": "A file, relative to this one, whose experiment fields are inherited.",
        },
        "sweep": dimensions | {"description": "Lists combined with each other, the last one fastest."},
        "zip": dimensions | {"description": "Lists of equal length, advanced together."},
        "exclude": excluded | {"minItems": 1, "description": "Partial points to leave out of the product."},
        "experiments": points | {"minItems": 1, "description": "Points added to the product."},
        "include": points | {"minItems": 1, "description": "Points added to the product."},
        "execution": {"$ref": f"{_DEFS}Execution", "description": "How experiments are run."},
    }


def _fields(model: type[BaseModel], definitions: Schema) -> Schema:
    schema = _model_schema(model, definitions)
    return {name: _tidy(field) for name, field in schema["properties"].items()}


def _model_schema(model: type[BaseModel], definitions: Schema) -> Schema:
    """The schema of ``model``; the models it uses are added to ``definitions``."""
    schema = model.model_json_schema(ref_template=_DEFS + "{model}")
    definitions |= {name: _tidy(definition) for name, definition in schema.pop("$defs", {}).items()}
    return schema


def _tidy(schema: Any) -> Any:
    """``schema`` without the titles that pydantic derives from names, its descriptions on one line each."""
    if isinstance(schema, list):
        return [_tidy(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    tidy = {key: _tidy(part) for key, part in schema.items() if key != "title" or not isinstance(part, str)}
    if isinstance(tidy.get("description"), str):
        tidy["description"] = " ".join(tidy["description"].split())
    return tidy


def _dotted(fields: Schema, definitions: Schema) -> Schema:
    """Dotted keys of everything in the sections among ``fields``."""
    dotted: Schema = {}
    for name, field in fields.items():
        for section in _sections(field):
            for inner in definitions[section]["properties"]:
                dotted[f"{name}.{inner}"] = _property(section, inner)
    return dotted


def _sections(field: Any) -> list[str]:
    """Names of the models that ``field`` may be."""
    if isinstance(field, list):
        return [name for part in field for name in _sections(part)]
    if not isinstance(field, dict):
        return []
    if "$ref" in field and "/properties/" not in field["$ref"]:
        return [field["$ref"].removeprefix(_DEFS)]
    return [name for key in ("anyOf", "oneOf") for name in _sections(field.get(key, []))]


def _dimensions(fields: Schema, definitions: Schema) -> Schema:
    """Each of ``fields`` with a list of its values, or a single one; a section also with dimensions inside."""
    dimensions: Schema = {}
    for name, field in fields.items():
        value = _property("Point", name)
        several: Schema = {"anyOf": [{"type": "array", "minItems": 1, "items": value}, value]}
        inner: Schema = {}
        for section in _sections(field):
            for key in definitions[section]["properties"]:
                inner[key] = _property("Dimensions", f"{name}.{key}")
        if inner:
            several["anyOf"].append(_closed(inner) | {"minProperties": 1})
        if "description" in field:
            several["description"] = field["description"]
        dimensions[name] = several
    return dimensions


def _deprecated(names: dict[str, str]) -> Schema:
    return {
        name: {"deprecated": True, "description": f"Has no effect here; use {substitute}."}
        for name, substitute in names.items()
    }


def _closed(properties: Schema) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _property(definition: str, name: str) -> Schema:
    return {"$ref": f"{_DEFS}{definition}/properties/{name}"}
