"""The names that a sweep file may use, as a tree, and the nearest one to a name it doesn't know."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel

from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.options import plugin_options

FieldTree = dict[str, "FieldTree | None"]
"""Field name to the fields below it; None for a field that has a value of its own."""


OTHER_NAMES = {
    "study_name": "name",
    "dtype": "precision",
    "torch_dtype": "precision",
    "max_new_tokens": "max_output_tokens",
}
"""What related tools call a field that has another name here."""


def experiment_tree() -> FieldTree:
    """All fields of an experiment, sections of installed plug-ins included."""
    return model_tree(ExperimentConfig) | {
        name: model_tree(options) for name, options in plugin_options().items()
    }


def model_tree(model: type[BaseModel]) -> FieldTree:
    """The fields of ``model``; a field that takes one of several models has the fields of all of them."""
    tree: FieldTree = {}
    for name, field in model.model_fields.items():
        below: FieldTree = {}
        for section in _models(field.annotation):
            below |= model_tree(section)
        tree[name] = below or None
    return tree


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def dotted_names(tree: FieldTree, prefix: str = "") -> list[str]:
    """Every name in ``tree``, sections before their fields."""
    names: list[str] = []
    for name, below in tree.items():
        names.append(prefix + name)
        names += dotted_names(below or {}, f"{prefix}{name}.")
    return names


def nearest_name(name: str, tree: FieldTree) -> str | None:
    """The name in ``tree`` that ``name`` was probably meant to be.

    A near name in the same section comes first, then one of that very name elsewhere (``batch_size`` is
    ``pytorch.batch_size``), then whatever looks alike.
    """
    names = dotted_names(tree)
    if OTHER_NAMES.get(name) in names:
        return OTHER_NAMES[name]
    section, _, last = name.rpartition(".")
    siblings = [known for known in names if known.rpartition(".")[0] == section]
    namesakes = [known for known in names if known.rpartition(".")[2] == last]
    if close := get_close_matches(name, siblings, n=1, cutoff=0.8) + namesakes:
        return close[0]
    if section in names:
        return None
    by_last = {known.rpartition(".")[2]: known for known in reversed(names)}
    if close := get_close_matches(last, list(by_last), n=1):
        return by_last[close[0]]
    return next(iter(get_close_matches(name, names, n=1)), None)
