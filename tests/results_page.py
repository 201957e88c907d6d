"""Every column that a table of results has, and every field of its parts: unit and meaning.

    PYTHONPATH=src python tests/results_page.py > docs/results.md

Made from :class:`ExperimentResult`: meanings are the fields' docstrings, units follow from their names.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from types import NoneType
from typing import Any, NamedTuple, get_args

from pydantic import AwareDatetime, BaseModel
from pydantic.fields import FieldInfo

from llem_sweep.config.sweep import SweepConfig
from llem_sweep.plan.expand import plan_sweep
from llem_sweep.report.summary import summary_table
from llem_sweep.results.columns import Column, Kind
from llem_sweep.results.experiment import ExperimentResult
from llem_sweep.results.flatten import result_columns


class Entry(NamedTuple):
    """One line of the page."""

    name: str
    kind: str
    unit: str | None
    meaning: str | None


_INTRODUCTION = """\
# Results

Every figure that an experiment leaves, with unit and meaning. Made by `tests/results_page.py` from the model of a
result; `tests/docs/test_generated.py` fails for a column without a meaning, and for a number without a unit.

- `result.json` holds these fields nested; `load_result` reads one.
- `load_results` makes one row of each result: nested fields have dotted names, except those of
  `environment_snapshot`, which stand at the top. Columns `config.<field>` follow, for each field of the
  [configuration](options.md) that departs from its default in any row, and `folder`, relative to the folder read;
  of several folders, `sweep` before it says which one a row is of.
- `summary.parquet` and `summary.csv` have a row for every planned experiment, failed ones too, with the columns
  [below](#columns-of-the-summary).

What isn't known is null, never 0. Half-widths are those of an interval around the value that holds the truth with
`energy_coverage`; the boards' own gain error is in none of them
([why](measurement.md#the-gain-error-is-not-in-any-of-these)). `measured_on` is `board` for measurements alone.
"""
_PARTS = """\
## Parts that are lists

In a table these are JSON text; in `result.json` they are lists of objects.
"""
_SUMMARY = """\
## Columns of the summary

One row per planned experiment. Swept fields are columns `config.<field>`.
"""
_DERIVED = {
    "device_uuids": "NVML UUID of each device, from `environment_snapshot.devices`.",
    "device_names": "Name of each device, from there as well.",
    "warnings": "Codes of `measurement_warnings`; [what each means](measurement.md#verdict).",
}
_OUTCOME = {
    "status": "completed, failed, refused (it can't run here), or pending (not settled yet).",
    "folder": "The experiment's folder, below the sweep's; of a failed one that of its latest failure.",
    "failed_attempts": "How many attempts have failed.",
    "failure_stage": "In which stage the latest attempt failed.",
    "failure_kind": "How it failed, or why it was refused.",
    "failure_message": "The same in words.",
}
_UNITS = (
    (r"peak_flops_per_s$|flops_per_second$", "FLOP/s"),
    (r"peak_bytes_per_s$", "B/s"),
    (r"bytes_read$", "B"),
    (r"_c_per_s$", "°C/s"),
    (r"_pct_per_s$", "%/s"),
    (r"tokens_per_second$", "tokens/s"),
    (r"flops_per_\w+_token$", "FLOP/token"),
    (r"flops$", "FLOP"),
    (r"_per_(\w+_)?token(_uncertainty)?_j$", "J/token"),
    (r"_per_request_j$", "J/request"),
    (r"_j$", "J"),
    (r"_w$", "W"),
    (r"_ms$", "ms"),
    (r"_mb$", "MB"),
    (r"_pct$", "%"),
    (r"_c$", "°C"),
    (r"(_s|_sec|^seconds)$", "s"),
    (r"tokens$", "tokens"),
    (r"effective_batch_size$", "requests"),
    (r"(_coverage|_fraction|_cv|_ratio|overlap|_utilisation)$", "1"),
)
"""By the end of a field's name, the first that fits. MB are 10^6 bytes; 1 is a pure number."""
_STATISTICS = {"mean": "Mean", "median": "Median", "p95": "95th percentile", "p99": "99th percentile"}
_LATENCIES = {
    "ttft": "time to the first token",
    "itl": "time from one token to the next",
    "tpot": "time per output token after the first",
    "e2e_latency": "time to the last token",
}
_SCALARS = {bool: "flag", int: "whole number", float: "number", str: "text", AwareDatetime: "time"}


def columns() -> dict[str, list[Entry]]:
    """Every column of :func:`result_columns` by the part of a result that it is in, ``""`` for its own fields."""
    kinds = {column.name: column for column in result_columns()}
    groups: dict[str, list[Entry]] = {}
    for path, owner, field in _leaves(ExperimentResult, ()):
        name = ".".join(path[1:] if path[0] == "environment_snapshot" else path)
        if name in kinds:
            part = path[0] if len(path) > 1 else ""
            entry = _entry(name, _kind(kinds[name], field), owner, path[-1], field)
            groups.setdefault(part, []).append(entry)
    derived = [Entry(name, "list of text", None, meaning) for name, meaning in _DERIVED.items()]
    groups["environment_snapshot"] += derived
    return groups


def parts() -> dict[str, tuple[type[BaseModel], list[Entry]]]:
    """What a result holds lists of, by where they are: the model of each part and its fields."""
    found: dict[str, tuple[type[BaseModel], list[Entry]]] = {}
    waiting: list[tuple[str, type[BaseModel]]] = [("", ExperimentResult)]
    for above, model in waiting:
        for name, field in model.model_fields.items():
            listed = _listed(field.annotation)
            if listed is not None:
                found[f"{above}{name}"] = (listed, _fields(listed))
            part = listed or _part(field.annotation)
            if part is not None:
                waiting.append((f"{above}{name}.", part))
    return found


def page() -> str:
    """docs/results.md."""
    lines = [_INTRODUCTION]
    for part, entries in columns().items():
        title = f"`{part}`" if part else "The result"
        lines += [f"## {title}\n", *_about(ExperimentResult, part), *_table("column", entries)]
    lines.append(_PARTS)
    for path, (model, entries) in parts().items():
        lines += [f"### `{path}`\n", f"{_first(model)}\n", *_table("field", entries)]
    lines += [_SUMMARY, "| column | meaning |", "|---|---|"]
    lines += [f"| `{name}` | {_OUTCOME.get(name, 'as above')} |" for name in summary_columns()]
    return "\n".join(lines) + "\n"


def summary_columns() -> tuple[str, ...]:
    """Columns of the table of a sweep that varies nothing."""
    return tuple(summary_table(plan_sweep(SweepConfig(shared={"model": "any"})), ()).column_names)


def _leaves(
    model: type[BaseModel], above: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], type[BaseModel], FieldInfo]]:
    for name, field in model.model_fields.items():
        part = _part(field.annotation)
        if part is None:
            yield (*above, name), model, field
        else:
            yield from _leaves(part, (*above, name))


def _fields(model: type[BaseModel]) -> list[Entry]:
    return [
        _entry(name, _words(each.annotation), model, name, each) for name, each in model.model_fields.items()
    ]


def _entry(name: str, kind: str, owner: type[BaseModel], field_name: str, field: FieldInfo) -> Entry:
    numeric = re.search("number", kind) is not None
    unit = (
        next((unit for pattern, unit in _UNITS if re.search(pattern, field_name)), None) if numeric else None
    )
    return Entry(name, kind, unit, _meaning(owner, field_name, field))


def _meaning(owner: type[BaseModel], name: str, field: FieldInfo) -> str | None:
    """The field's docstring as Markdown; where it has none, that of the result's own field of its name."""
    latency = re.fullmatch(r"(\w+?)_(mean|median|p95|p99)_ms", name)
    if latency is not None:
        return f"{_STATISTICS[latency[2]]} of the {_LATENCIES[latency[1]]}."
    text = field.description
    if text is None and owner is not ExperimentResult and name in ExperimentResult.model_fields:
        text = ExperimentResult.model_fields[name].description
    part = _part(field.annotation) or _listed(field.annotation)
    if text is None and part is not None:
        text = _first(part)
    return None if text is None else _markdown(text)


def _markdown(docstring: str) -> str:
    text = re.sub(r":\w+:`[~.]*(\w+\.)*(\w+)`", r"`\2`", docstring)
    return " ".join(text.replace("``", "`").replace("|", "\\|").split())


def _about(model: type[BaseModel], part: str) -> list[str]:
    found = _part(model.model_fields[part].annotation) if part else None
    return [f"{_first(found)}\n"] if found is not None and found.__doc__ else []


def _first(model: type[BaseModel]) -> str:
    """The docstring of ``model``, as paragraphs."""
    paragraphs = inspect.cleandoc(model.__doc__ or "").split("\n\n")
    return "\n\n".join(_markdown(paragraph) for paragraph in paragraphs)


def _table(first: str, entries: list[Entry]) -> list[str]:
    rows = [f"| `{e.name}` | {e.kind} | {e.unit or ''} | {e.meaning} |" for e in entries]
    return [f"| {first} | type | unit | meaning |", "|---|---|---|---|", *rows, ""]


def _kind(column: Column, field: FieldInfo) -> str:
    words = _words(field.annotation)
    return "JSON text" if column.kind is Kind.TEXT and "object" in words else words


def _words(annotation: Any) -> str:
    """What a field holds, in words."""
    inner = _known(annotation)
    if _part(inner) is not None:
        return "object"
    if getattr(inner, "__origin__", None) is tuple:
        held = _words(get_args(inner)[0])
        return "list of text" if held == "text" else f"list of {held}s"
    if isinstance(inner, type):
        return next((words for kind, words in _SCALARS.items() if issubclass(inner, kind)), "object")
    options = get_args(inner)
    if getattr(inner, "__origin__", None) is dict:
        return "object"
    return "text" if options and isinstance(options[0], str) else _words(options[0])


def _known(annotation: Any) -> Any:
    """What an optional type is when it isn't None."""
    options = [each for each in get_args(annotation) if each is not NoneType]
    return options[0] if NoneType in get_args(annotation) else annotation


def _part(annotation: Any) -> type[BaseModel] | None:
    inner = _known(annotation)
    return inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None


def _listed(annotation: Any) -> type[BaseModel] | None:
    inner = _known(annotation)
    return _part(get_args(inner)[0]) if getattr(inner, "__origin__", None) is tuple else None


if __name__ == "__main__":
    sys.stdout.write(page())
