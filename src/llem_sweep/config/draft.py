"""A sweep file read into its parts, places kept, before anything is inherited, overridden or checked."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from llem_sweep.config.fields import FieldTree, experiment_tree, model_tree
from llem_sweep.config.nodes import Node, Place
from llem_sweep.config.reading import Dimensions, Fields, Reader
from llem_sweep.config.sweep import ExecutionConfig
from llem_sweep.errors import Problem

OWN_KEYS = ("name", "base", "sweep", "zip", "exclude", "experiments", "include", "execution")
"""Top-level keys of a sweep file that aren't fields of an experiment."""
LEGACY_KEYS = {
    "version": "nothing: the file's form is known by this program's own version",
    "runners": "nothing: backends run in this program's own workers",
    "output_dir": "--output DIR on the command line",
}
"""Top-level keys of older study files without effect here, each with its substitute."""
LEGACY_EXECUTION = {"skip_preflight": "nothing: what can't run is marked before the sweep starts"}
"""The same below ``execution``."""


@dataclass(frozen=True)
class Draft:
    """What one sweep file says."""

    start: Place
    """Of the whole file."""
    own: dict[str, Node] = field(default_factory=dict)
    """Those of ``OWN_KEYS`` that are there, as written."""
    shared: Fields = field(default_factory=dict)
    sweep: Dimensions = field(default_factory=dict)
    zip: Dimensions = field(default_factory=dict)
    exclude: list[Fields] = field(default_factory=list)
    experiments: list[Fields] = field(default_factory=list)
    include: list[Fields] = field(default_factory=list)
    execution: Fields = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def with_warnings(self, *warnings: str) -> Draft:
        return replace(self, warnings=[*self.warnings, *warnings])


def execution_tree() -> FieldTree:
    """``execution`` and its fields, those of older files included."""
    return {"execution": model_tree(ExecutionConfig) | dict.fromkeys(LEGACY_EXECUTION)}


def read_draft(root: Node, problems: list[Problem]) -> Draft:
    """The parts of the file whose mapping is ``root``; what is wrong with its form is added to ``problems``."""
    assert isinstance(root.value, dict)
    own: dict[str, Node] = {}
    fields: dict[str, Node] = {}
    execution: dict[str, Node] = {}
    warnings: list[str] = []
    for key, node in root.value.items():
        head = key.partition(".")[0]
        if head in LEGACY_KEYS:
            warnings.append(legacy_warning(node.place, head, LEGACY_KEYS[head]))
        elif head == "execution":
            execution[key] = node
        elif key in OWN_KEYS:
            own[key] = node
        else:
            fields[key] = node

    tree = experiment_tree()
    hints: FieldTree = dict.fromkeys(OWN_KEYS) | execution_tree() | tree
    reader = Reader(tree, problems)
    return Draft(
        start=root.place,
        own=own,
        shared=Reader(tree, problems, hints).fields(fields),
        sweep=_dimensions("sweep", own, reader),
        zip=_dimensions("zip", own, reader),
        exclude=_points("exclude", own, reader),
        experiments=_points("experiments", own, reader),
        include=_points("include", own, reader),
        execution=_execution(execution, problems),
        warnings=warnings,
    )


def legacy_warning(place: Place, name: str, substitute: str) -> str:
    """Says that ``name`` has no effect here and what to use."""
    return str(place.problem(f"has no effect here; use {substitute}", name))


def _dimensions(key: str, own: dict[str, Node], reader: Reader) -> Dimensions:
    if key not in own:
        return {}
    node = own[key]
    if not node.value:
        reader.problems.append(node.place.problem("is empty", key, "give it a field to vary, or remove it"))
    elif not isinstance(node.value, dict):
        reader.problems.append(node.place.problem("must be a mapping of fields to lists of values", key))
    else:
        return reader.dimensions(node.value)
    return {}


def _points(key: str, own: dict[str, Node], reader: Reader) -> list[Fields]:
    if key not in own:
        return []
    node = own[key]
    if not node.value:
        reader.problems.append(node.place.problem("is empty", key, "give it a point, or remove it"))
        return []
    points = reader.points(key, node)
    if key == "exclude" and isinstance(node.value, list) and any(entry.value == {} for entry in node.value):
        reader.problems.append(node.place.problem("an empty entry would leave out every point", key))
    return points


def _execution(entries: dict[str, Node], problems: list[Problem]) -> Fields:
    node = Reader(execution_tree(), problems).fields(entries).get("execution")
    if node is None or node.value is None:
        return {}
    if not isinstance(node.value, dict):
        problems.append(node.place.problem("must be a mapping", "execution"))
        return {}
    return node.value
