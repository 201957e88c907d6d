"""Identity of an experiment: equal for equal work, however the configuration is spelled.

The canonical form of a configuration is a JSON object of the values that differ from their defaults, so that a
new field doesn't change old identities. Changing a default, or the meaning of a value, raises ``ID_VERSION``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

from llem_sweep.config.base import Unhashed
from llem_sweep.config.contents import is_local
from llem_sweep.config.datasets import BUILTIN_DATASET, FileDataset, HubDataset
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.options import plugin_options
from llem_sweep.errors import ConfigError

ID_VERSION = 1


def config_hash(config: ExperimentConfig, contents: Mapping[str, str]) -> str:
    """16 hex digits that are the same for all cycles of an experiment.

    ``contents`` maps each local model folder and dataset file to the digest that stands for it. Raises
    ConfigError when the one of ``config`` is missing there.
    """
    return hash_config(canonical_config(config, contents))


def experiment_id(config: ExperimentConfig, cycle: int, contents: Mapping[str, str]) -> str:
    """16 hex digits for one cycle (from 1) of an experiment; ``contents`` as for :func:`config_hash`."""
    return hash_experiment(canonical_config(config, contents), cycle)


def canonical_config(config: ExperimentConfig, contents: Mapping[str, str]) -> str:
    """The canonical form that both hashes are taken of, as JSON."""
    values = config.model_dump(mode="json", exclude_defaults=True, exclude=_unhashed(ExperimentConfig))
    for section in backend_sections() - {config.backend}:
        values.pop(section, None)
    model = config.model
    values["model"] = {"content": _content(model, contents)} if is_local(model) else model
    assistant = config.pytorch.assistant_model
    if config.backend == "pytorch" and assistant is not None and is_local(assistant):
        values["pytorch"]["assistant_model"] = {"content": _content(assistant, contents)}
    if config.lora is not None and config.lora.adapter_path is not None:
        values["lora"]["adapter_path"] = {"content": _content(config.lora.adapter_path, contents)}
    values |= {"dataset": _canonical_dataset(config, contents)}
    if values["dataset"] == {"name": BUILTIN_DATASET}:
        del values["dataset"]
    kept = {key: _positive_zeros(value) for key, value in values.items()}
    sections = _sections() | backend_sections()
    kept = {key: value for key, value in kept.items() if value != {} or key not in sections}
    return json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _canonical_dataset(config: ExperimentConfig, contents: Mapping[str, str]) -> dict[str, Any]:
    """A name or path by itself is short for a mapping with it alone."""
    dataset = config.dataset
    if isinstance(dataset, str):
        dataset = FileDataset(path=dataset) if is_local(dataset) else HubDataset(name=dataset)
    values = dataset.model_dump(mode="json", exclude_defaults=True)
    if isinstance(dataset, FileDataset):
        values |= {"content": _content(values.pop("path"), contents)}
    return values


def hash_config(canonical: str) -> str:
    """:func:`config_hash` from the canonical form."""
    return _hash(f'{{"config":{canonical},"id_version":{ID_VERSION}}}')


def hash_experiment(canonical: str, cycle: int) -> str:
    """:func:`experiment_id` from the canonical form."""
    return _hash(f'{{"config":{canonical},"cycle":{cycle},"id_version":{ID_VERSION}}}')


def dump_config(config: ExperimentConfig) -> dict[str, Any]:
    """JSON-ready fields that differ from their defaults; ``ExperimentConfig(**fields)`` is equal to ``config``."""
    values = config.model_dump(mode="json", exclude_defaults=True)
    if config.decoder.preset is not None:
        # Beside a preset a default isn't the same as nothing: it overrules what the preset says.
        values["decoder"] = config.decoder.model_dump(mode="json")
    return values


def backend_sections() -> set[str]:
    """Fields that are a backend's own section, under the backend's name."""
    return {"pytorch", "synthetic", *plugin_options()}


def _content(path: str, contents: Mapping[str, str]) -> str:
    if path not in contents:
        raise ConfigError(f"the content of {path} isn't known: load the sweep with load_sweep()")
    return contents[path]


@cache
def _unhashed(model: type[BaseModel]) -> dict[str, Any]:
    """Fields marked as spelling only, nested, in the form of pydantic's ``exclude``."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if any(isinstance(mark, Unhashed) for mark in field.metadata):
            found[name] = True
        elif isinstance(field.default, BaseModel) and (below := _unhashed(type(field.default))):
            found[name] = below
    return found


@cache
def _sections() -> frozenset[str]:
    """Fields whose default is a section: empty, they say nothing. An empty dataset does say something."""
    fields = ExperimentConfig.model_fields.items()
    return frozenset(name for name, field in fields if isinstance(field.default, BaseModel))


def _positive_zeros(value: Any) -> Any:
    """``value`` with negative zeros made positive: they are equal, and JSON tells them apart."""
    if isinstance(value, dict):
        return {key: _positive_zeros(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_positive_zeros(child) for child in value]
    return value + 0.0 if isinstance(value, float) else value


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
