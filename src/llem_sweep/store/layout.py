"""The one owner of every name in a sweep's folder.

{sweep}_{time}/
├── sweep.yaml        the input as given; sweep-2.yaml and so on: what it was extended with
├── plan.json         what it was resolved to
├── settings.json     how it runs, for good, and what it was measured with
├── retried.json      failures that settle their experiments no longer
├── journal.jsonl     what happened when
├── .lock             held by the run that works on it
├── .staging/         folders being written; nothing in it counts
├── .damaged/         folders that weren't whole when a run went on; nothing in it counts
├── {model}_{backend}_{what varied}_{time}/
│   ├── result.json         (or failure.json alone)
│   ├── outputs.parquet     with save_outputs
│   ├── requests.parquet    of a backend that stamps its steps
│   └── timeseries.parquet
├── report.html       to be looked at in a browser
├── figures/          for papers, drawn on request; in no object store
├── summary.parquet
└── summary.csv

In an object store, the same but for what needs renaming, appending or a process:

├── journal/000001-{run}.jsonl, …     the journal, in segments
└── .lease/{run}.held                 renewed by the run that works on it

While a sweep in an object store is worked on, it is gathered in a folder as above, which holds as well:

├── .run              the name under which this machine holds the lease
└── .uploaded         experiments' folders that are in the store
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from llem_sweep.results.outcome import OUTPUTS, REQUESTS

SOURCE = "sweep.yaml"
PLAN = "plan.json"
SETTINGS = "settings.json"
RETRIED = "retried.json"
JOURNAL = "journal.jsonl"
LOCK = ".lock"
STAGING = ".staging"
DAMAGED = ".damaged"
JOURNAL_SEGMENTS = "journal"
LEASE = ".lease"
RUN_TOKEN = ".run"
UPLOADED = ".uploaded"
RESULT = "result.json"
FAILURE = "failure.json"
TIMESERIES = "timeseries.parquet"
SIDECARS = (TIMESERIES, OUTPUTS, REQUESTS)
"""Everything that may be beside a result."""
SUMMARY_PARQUET = "summary.parquet"
SUMMARY_CSV = "summary.csv"
REPORT = "report.html"
FIGURES = "figures"
PARTIAL = ".partial"
"""How the name of a file ends while it is being written."""

NAME_LIMIT = 200
"""Longest folder name, in bytes of UTF-8."""
_MODEL_LIMIT = 120
_VALUE_LIMIT = 40
_SUFFIX_LIMIT = 6
_RESERVED = {"CON", "PRN", "AUX", "NUL"} | {f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10)}


def slug(text: str, limit: int = 80) -> str:
    """``text`` as a name safe on every file system, at most ``limit`` bytes; any text has one.

    Letters with their marks, digits, dots, dashes and underscores stay as they are; other runs become one dash.
    What is too long ends in a hash of the whole.
    """
    plain = unicodedata.normalize("NFKC", text.encode("utf-8", "replace").decode())
    kept = "".join(char if _is_safe(char) else "\0" for char in plain)
    name = re.sub("\0+", "-", kept).strip(".-") or "unnamed"
    if name.split(".")[0].upper() in _RESERVED:
        name = f"_{name}"
    return _fit(name, limit)


def sweep_folder(name: str, at: datetime) -> str:
    """Name of a sweep's folder."""
    return f"{slug(name)}_{_stamp(at)}"


def experiment_folder(
    model_label: str, backend: str, varied: Mapping[str, object], cycle: int | None, at: datetime
) -> str:
    """Name of an experiment's folder; ``cycle`` is None where there is only one."""
    ends = Counter(_last(name) for name in varied)
    parts = [slug(model_label, _MODEL_LIMIT), slug(backend)]
    for name, value in varied.items():
        label = _last(name) if ends[_last(name)] == 1 else name
        if name not in ("model", "backend"):
            parts.append(slug(f"{label}-{_value(value)}", _VALUE_LIMIT))
    if cycle is not None:
        parts.append(f"cycle-{cycle}")
    stamp = _stamp(at)
    return f"{_fit('_'.join(parts), NAME_LIMIT - _SUFFIX_LIMIT - len(stamp) - 1)}_{stamp}"


def model_labels(models: Iterable[str]) -> dict[str, str]:
    """Each model's last path component, preceded by its folder or owner where two models share the last."""
    parts = {model: _components(model) for model in models}
    ends = Counter(each[-1] for each in parts.values())
    return {model: "-".join(each[-1:] if ends[each[-1]] == 1 else each[-2:]) for model, each in parts.items()}


def candidates(name: str) -> Iterator[str]:
    """``name``, then ``name-2``, ``name-3`` and so on, for creating one exclusively."""
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1


def sources() -> Iterator[str]:
    """Names of the sweep files of a folder, in the order in which it took them in."""
    yield SOURCE
    stem, dot, suffix = SOURCE.rpartition(".")
    for name in candidates(stem):
        if name != stem:
            yield f"{name}{dot}{suffix}"


def _is_safe(char: str) -> bool:
    return char.isalnum() or char in "._-" or unicodedata.category(char).startswith("M")


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H-%M-%S")


def _last(dotted: str) -> str:
    return dotted.rpartition(".")[2]


def _components(path: str) -> list[str]:
    return [part for part in re.split(r"[/\\]", path) if part.strip(". ")] or [path]


def _value(value: object) -> str:
    """A value as people would write it, without the folders of a path."""
    if isinstance(value, str):
        return _components(value)[-1]
    text = json.dumps(value, default=str)
    return slug(text) if isinstance(value, dict | list | tuple) else text


def _fit(name: str, limit: int) -> str:
    """``name`` within ``limit`` bytes; a shortened one ends in a hash, so that two stay different."""
    raw = name.encode()
    if len(raw) <= limit:
        return name
    digest = hashlib.sha256(raw).hexdigest()[:8]
    return f"{raw[: limit - len(digest) - 1].decode(errors='ignore')}-{digest}"
