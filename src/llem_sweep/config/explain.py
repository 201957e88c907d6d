"""What is wrong with a value, in words: pydantic's errors by dotted field."""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.fields import FieldTree, experiment_tree
from llem_sweep.config.nesting import deep_merge, nest
from llem_sweep.config.options import plugin_options

_PLACEHOLDER: dict[str, Any] = {"model": "placeholder"}
_WITH: dict[str, dict[str, Any]] = {
    "parallelism": {"num_processes": 2},
    "early_stopping": {"num_beams": 2},
    "length_penalty": {"num_beams": 2},
    "bnb_4bit_compute_dtype": {"load_in_4bit": True},
    "bnb_4bit_quant_type": {"load_in_4bit": True},
    "bnb_4bit_use_double_quant": {"load_in_4bit": True},
    "torch_compile_mode": {"torch_compile": True},
    "torch_compile_backend": {"torch_compile": True},
    "max_batch_tokens": {"batching": "continuous"},
}
"""Options that act beside others only, and values of those."""
_LONGEST_VALUE = 60


class FieldError(NamedTuple):
    """One thing wrong with a configuration."""

    field: str
    """Dotted name; empty where it concerns several top-level fields."""
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


def explain(error: ValidationError, tree: FieldTree | None = None) -> list[FieldError]:
    """Each field's errors in ``error`` as one, in the order found; ``tree`` is by default an experiment's."""
    tree = experiment_tree() if tree is None else tree
    messages: dict[str, list[str]] = {}
    for detail in error.errors(include_url=False, include_context=False):
        found = messages.setdefault(_field(detail, tree), [])
        message = _message(detail)
        if message not in found:
            found.append(message)
    return [FieldError(field, "; or ".join(found)) for field, found in messages.items()]


def value_errors(field: str, value: Any) -> list[str]:
    """What is wrong with ``value`` for the experiment field called ``field``, all other fields left aside."""
    head, _, rest = field.partition(".")
    options = plugin_options().get(head)
    try:
        if options is not None:
            options.model_validate(nest(rest, value) if rest else value)
        else:
            alone(field, value)
    except ValidationError as error:
        return list(dict.fromkeys(found.message for found in explain(error)))
    return []


def alone(field: str, value: Any) -> ExperimentConfig:
    """An experiment of which nothing but ``field`` is given. Raises pydantic's ValidationError."""
    return ExperimentConfig.model_validate(deep_merge(_surroundings(field), nest(field, value)))


def combination_errors(given: dict[str, Any]) -> list[FieldError]:
    """What is wrong with experiment fields of valid values taken together; a model may be missing."""
    try:
        ExperimentConfig.model_validate(_PLACEHOLDER | given)
    except ValidationError as error:
        return explain(error)
    return []


def _surroundings(field: str) -> dict[str, Any]:
    """What must be there for ``field`` to be looked at alone."""
    if field in ("dataset.split", "dataset.column", "dataset.chat_template"):
        return _PLACEHOLDER | {"dataset": {"name": "placeholder"}}
    if field in ("lora.revision", "lora.merge_weights"):
        return _PLACEHOLDER | {"lora": {"adapter_id": "placeholder"}}
    if field in ("pytorch.device_map", "pytorch.max_memory"):
        # Another backend has no boards that they could contradict.
        return _PLACEHOLDER | {"backend": "synthetic"}
    section, _, option = field.rpartition(".")
    if option in _WITH:
        return _PLACEHOLDER | {section: _WITH[option]}
    return dict(_PLACEHOLDER)


def _field(detail: ErrorDetails, tree: FieldTree) -> str:
    """The dotted field of an error, without pydantic's labels for the members of a union."""
    known: list[str] = []
    below: FieldTree = tree
    for part in detail["loc"]:
        if part in below:
            known.append(str(part))
            below = below[str(part)] or {}
    if detail["type"] == "extra_forbidden" and known[-1:] != [str(detail["loc"][-1])]:
        known.append(str(detail["loc"][-1]))
    return ".".join(known)


def _message(detail: ErrorDetails) -> str:
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if detail["type"] == "missing":
        return "is missing"
    if detail["type"] == "extra_forbidden":
        return "there is no such field"
    if detail["type"] == "value_error":
        return message
    if detail["type"] == "model_type":
        return "should be a mapping of fields"
    shown = repr(detail["input"])
    return f"{message}, not {shown}" if len(shown) <= _LONGEST_VALUE else message
