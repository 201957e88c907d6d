"""The prompts of an experiment, as text, in the order asked for."""

from __future__ import annotations

import importlib
import importlib.resources
import itertools
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from llem_sweep.config.contents import is_local
from llem_sweep.config.datasets import BUILTIN_DATASET, FileDataset, HubDataset, SyntheticDataset
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.errors import BackendError, ModelLoadError

PROMPT_FIELDS = ("prompt", "text", "question", "instruction")
"""Fields that hold a record's prompt, the first one present winning."""


class Prompt(NamedTuple):
    """One record of a dataset."""

    text: str
    source: str = ""
    """Where the record comes from, by its own word; ``dataset_order: grouped`` sorts by it."""


def load_prompts(config: ExperimentConfig) -> tuple[str, ...]:
    """Exactly ``config.n`` prompts.

    The first ``n`` records are taken, going round again where there are fewer, and then put into
    ``dataset_order``: the three orders therefore do the same work. Raises BackendError naming file and line of a
    malformed record, and ModelLoadError where a Hub dataset can't be had.
    """
    chosen = list(itertools.islice(itertools.cycle(_records(config)), config.n))
    if config.dataset_order == "grouped":
        chosen.sort(key=lambda prompt: prompt.source)
    elif config.dataset_order == "shuffled":
        random.Random(config.random_seed).shuffle(chosen)
    return tuple(prompt.text for prompt in chosen)


def _records(config: ExperimentConfig) -> list[Prompt]:
    dataset = config.dataset
    if isinstance(dataset, SyntheticDataset):
        raise BackendError("a synthetic dataset has token ids and no text: the backend makes them itself")
    if isinstance(dataset, str):
        dataset = FileDataset(path=dataset) if is_local(dataset) else HubDataset(name=dataset)
    if isinstance(dataset, FileDataset):
        return _from_file(Path(dataset.path))
    if dataset.name == BUILTIN_DATASET:
        resource = importlib.resources.files("llem_sweep.backends") / "prompts.jsonl"
        return _parse(_jsonl(resource.read_text("utf-8").split("\n"), resource.name), resource.name)
    return _from_hub(dataset, config.n)


def _from_file(path: Path) -> list[Prompt]:
    readers: dict[str, Callable[[list[str], str], Iterator[Prompt]]] = {".jsonl": _jsonl, ".txt": _txt}
    if path.suffix not in readers:
        raise BackendError(f"{path}: a dataset file must end in {' or '.join(readers)}")
    try:
        lines = path.read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise BackendError(f"{path}: can't be read as UTF-8 text: {exc}") from exc
    return _parse(readers[path.suffix](lines, str(path)), str(path))


def _parse(prompts: Iterable[Prompt], name: str) -> list[Prompt]:
    records = list(prompts)
    if not records:
        raise BackendError(f"{name}: the dataset holds no prompt")
    return records


def _txt(lines: list[str], name: str) -> Iterator[Prompt]:
    return (Prompt(line.strip(), name) for line in lines if line.strip())


def _jsonl(lines: list[str], name: str) -> Iterator[Prompt]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as exc:
            raise BackendError(f"{name}:{number}: not a JSON object: {exc}") from exc
        if not isinstance(record, dict):
            raise BackendError(f"{name}:{number}: not a JSON object")
        yield _prompt(record, None, f"{name}:{number}")


def _prompt(record: Mapping[str, Any], column: str | None, place: str) -> Prompt:
    wanted = (column,) if column else PROMPT_FIELDS
    field = next((name for name in wanted if name in record), None)
    if field is None:
        raise BackendError(f"{place}: no field {' | '.join(wanted)}; there are: {', '.join(record)}")
    text, source = record[field], record.get("source", "")
    if not isinstance(text, str) or not text.strip():
        raise BackendError(f"{place}: {field} must be text that isn't blank")
    return Prompt(text, source if isinstance(source, str) else json.dumps(source))


def _from_hub(dataset: HubDataset, n: int) -> list[Prompt]:
    try:
        library = importlib.import_module("datasets")
    except ModuleNotFoundError as exc:
        raise ModelLoadError(
            f"dataset {dataset.name!r} is on the Hub: pip install llem-sweep[datasets], or give a .jsonl or .txt "
            "file whose path starts with ./, ../ or /"
        ) from exc
    try:
        rows = library.load_dataset(dataset.name, split=f"{dataset.split}[:{n}]")
    except (OSError, ValueError) as exc:
        raise ModelLoadError(f"dataset {dataset.name!r}, split {dataset.split!r}: {exc}") from exc
    places = (f"{dataset.name}:{number}" for number in itertools.count(1))
    records = (_prompt(row, dataset.column, place) for row, place in zip(rows, places, strict=False))
    return _parse(records, dataset.name)
