"""``--set key=value``: what the command line says wins over the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from llem_sweep.config.draft import Draft, execution_tree
from llem_sweep.config.fields import FieldTree, experiment_tree
from llem_sweep.config.nodes import Node, Place
from llem_sweep.config.reading import Dimensions, Fields, Reader, leaves, merge_fields
from llem_sweep.config.yaml_source import parse_yaml
from llem_sweep.errors import Problem


def apply_overrides(draft: Draft, overrides: Sequence[str], problems: list[Problem]) -> Draft:
    """``draft`` with every ``key=value`` of ``overrides`` in force, the later of two winning.

    A key is ``name``, ``execution.*`` or an experiment field; the value is read as YAML. A single value replaces
    whatever the file gives the field, its dimension included; a list makes it a dimension. Relative paths are
    relative to the working directory.
    """
    for override in overrides:
        place = Place(f"--set {override}", None, Path.cwd())
        key, equals, text = override.partition("=")
        key = key.strip()
        if not equals or not key:
            problems.append(place.problem("must be of the form key=value"))
            continue
        node = parse_yaml(text, place, problems)
        if node is None:
            continue
        draft = _apply(draft, key, node, problems)
    return draft


def _apply(draft: Draft, key: str, node: Node, problems: list[Problem]) -> Draft:
    if key == "name":
        return replace(draft, own={**draft.own, "name": node})
    if key.partition(".")[0] == "execution":
        return _set_execution(draft, key, node, problems)
    tree = experiment_tree()
    hints: FieldTree = {"name": None} | execution_tree() | tree
    fields = Reader(tree, problems, hints).fields({key: node})
    for name, value in leaves(fields, tree):
        if value.value == {} and tree.get(name) and name != "dataset":
            problems.append(node.place.problem("set one of its fields", key))
            continue
        if value.value == []:
            problems.append(node.place.problem("has no values", name))
            continue
        draft = _set_field(draft, name, value)
    return draft


def _set_execution(draft: Draft, key: str, node: Node, problems: list[Problem]) -> Draft:
    if key == "execution" and not (isinstance(node.value, dict) and node.value):
        hint = "for example execution.n_cycles=3"
        problems.append(node.place.problem("set one of its fields", key, hint))
        return draft
    given = Reader(execution_tree(), problems).fields({key: node}).get("execution")
    if given is None or not isinstance(given.value, dict):
        return draft
    return replace(draft, execution=merge_fields(draft.execution, given.value))


def _set_field(draft: Draft, name: str, node: Node) -> Draft:
    many = isinstance(node.value, list)
    values = node.value if isinstance(node.value, list) else [node]
    had_product = bool(draft.sweep or draft.zip)
    sweep = _without_dimension(draft.sweep, name, keep=True)
    zipped = _without_dimension(draft.zip, name, keep=many)
    shared = draft.shared if many else merge_fields(draft.shared, _nested(name, node))
    if name in zipped:
        zipped[name] = values
    elif name in sweep or many or (had_product and not (sweep or zipped)):
        sweep[name] = values
    return replace(
        draft,
        shared=shared,
        sweep=sweep,
        zip=zipped,
        experiments=[_without(point, name) for point in draft.experiments] if not many else draft.experiments,
        include=[_without(point, name) for point in draft.include] if not many else draft.include,
    )


def _nested(name: str, node: Node) -> Fields:
    head, _, rest = name.partition(".")
    return {head: Node(_nested(rest, node), node.place) if rest else node}


def _without_dimension(dimensions: Dimensions, name: str, *, keep: bool) -> Dimensions:
    """``dimensions`` in which none gives ``name`` a value; with ``keep`` that of the very name stays."""
    left: Dimensions = {}
    for key, values in dimensions.items():
        if key.startswith(f"{name}.") or (key == name and not keep):
            continue
        if name.startswith(f"{key}."):
            rest = name.removeprefix(f"{key}.")
            values = [
                Node(_without(value.value, rest), value.place) if isinstance(value.value, dict) else value
                for value in values
            ]
        left[key] = values
    return left


def _without(fields: Mapping[str, Node], name: str) -> Fields:
    """``fields`` in which ``name`` isn't set."""
    head, _, rest = name.partition(".")
    left = dict(fields)
    if not rest:
        left.pop(head, None)
    elif head in left and isinstance(section := left[head].value, dict):
        left[head] = Node(_without(section, rest), left[head].place)
    return left
