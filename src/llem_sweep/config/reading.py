"""Fields, dimensions and points of a sweep file, read into nested form with their places kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from llem_sweep.config.fields import FieldTree, dotted_names, nearest_name
from llem_sweep.config.nodes import Node, Place
from llem_sweep.errors import Problem

Fields = dict[str, Node]
"""Nested fields; a section is a node that holds a mapping."""
Dimensions = dict[str, list[Node]]
"""Dotted field to the values it takes."""


class Reader:
    """Reads names against the fields that exist; every problem found is added to ``problems``."""

    def __init__(self, tree: FieldTree, problems: list[Problem], hints: FieldTree | None = None) -> None:
        self.tree = tree
        self.problems = problems
        self._hints = hints or tree

    def fields(self, entries: Mapping[str, Node], below: str = "") -> Fields:
        """``entries`` of the section called ``below`` with dotted keys nested and unknown ones reported."""
        tree = self._section(below)
        found: Fields = {}
        for key, child in entries.items():
            head, _, rest = key.partition(".")
            name = f"{below}.{head}" if below else head
            if head not in tree or (rest and tree[head] is None):
                self._unknown(f"{below}.{key}" if below else key, child.place)
                continue
            if rest:
                child = Node({rest: child}, child.place)
            written, child = child, self.value(name, child)
            if written.value and not child.value and isinstance(child.value, dict):
                continue  # Nothing in this section is known, and that is reported.
            found[head] = self._join(name, found[head], child) if head in found else child
        return found

    def value(self, name: str, node: Node) -> Node:
        """``node`` as the value of the field called ``name``: read as fields where it is a section."""
        if isinstance(node.value, dict) and self._section(name):
            return Node(self.fields(node.value, name), node.place)
        return node

    def dimensions(self, entries: Mapping[str, Node], below: str = "") -> Dimensions:
        """Dimensions of a ``sweep`` or ``zip``; a scalar counts as a list of one."""
        tree = self._section(below)
        found: Dimensions = {}
        for key, child in entries.items():
            head, _, rest = key.partition(".")
            name = f"{below}.{head}" if below else head
            if head not in tree or (rest and tree[head] is None):
                self._unknown(f"{below}.{key}" if below else key, child.place)
            elif rest:
                self._add(found, self.dimensions({rest: child}, name))
            elif isinstance(child.value, dict) and child.value and tree[head] is not None:
                self._add(found, self.dimensions(child.value, name))
            else:
                self._add(found, {name: self._values(name, child)})
        return found

    def points(self, key: str, node: Node) -> list[Fields]:
        """Entries of ``experiments``, ``include`` or ``exclude``: a list of mappings of fields."""
        if not isinstance(node.value, list):
            self.problems.append(node.place.problem("must be a list of mappings", key, "begin each with -"))
            return []
        points: list[Fields] = []
        for entry in node.value:
            if isinstance(entry.value, dict):
                points.append(self.fields(entry.value))
            else:
                self.problems.append(entry.place.problem("must be a mapping of fields to values", key))
        return points

    def _values(self, name: str, node: Node) -> list[Node]:
        values = node.value if isinstance(node.value, list) else [node]
        if not values or node.value == {}:
            message = "has no values"
            self.problems.append(node.place.problem(message, name, "list at least one, or remove it"))
        return [self.value(name, value) for value in values]

    def _add(self, found: Dimensions, more: Dimensions) -> None:
        for name, values in more.items():
            if name in found and values:
                self.problems.append(values[0].place.problem("is given twice", name, "keep one of them"))
            found[name] = values

    def _join(self, name: str, first: Node, second: Node) -> Node:
        """Two spellings of one section in one mapping (``decoder:`` and ``decoder.top_k:``)."""
        if not (isinstance(first.value, dict) and isinstance(second.value, dict)):
            message = f"is given twice, first on line {first.place.line}"
            self.problems.append(second.place.problem(message, name, "keep one of them"))
            return first
        joined = dict(first.value)
        for key, node in second.value.items():
            joined[key] = self._join(f"{name}.{key}", joined[key], node) if key in joined else node
        return Node(joined, first.place)

    def _section(self, name: str) -> FieldTree:
        tree = self.tree
        for part in name.split(".") if name else ():
            tree = tree[part] or {}
        return tree

    def _unknown(self, name: str, place: Place) -> None:
        section = name.rpartition(".")[0]
        inside = self._section(section) if section in dotted_names(self.tree) else self._hints
        if not inside:
            hint = f"{section} is a value of its own"
        elif near := nearest_name(name, self._hints):
            hint = f"did you mean {near}?"
        else:
            hint = f"known: {', '.join(sorted(inside))}"
        self.problems.append(place.problem("there is no such field", name, hint))


def leaves(fields: Fields, tree: FieldTree, prefix: str = "") -> Iterator[tuple[str, Node]]:
    """Dotted name and node of every value in ``fields``."""
    for key, node in fields.items():
        below = tree.get(key)
        if below is not None and isinstance(node.value, dict) and node.value:
            yield from leaves(node.value, below, f"{prefix}{key}.")
        else:
            yield prefix + key, node


def merge_fields(under: Fields, over: Fields) -> Fields:
    """Both; where both have a field ``over`` wins, sections being merged in turn."""
    merged = dict(under)
    for key, node in over.items():
        present = merged.get(key)
        if present and isinstance(present.value, dict) and isinstance(node.value, dict):
            merged[key] = Node(merge_fields(present.value, node.value), node.place)
        else:
            merged[key] = node
    return merged


def plain(fields: Fields) -> dict[str, object]:
    """``fields`` without their places."""
    return {key: node.plain() for key, node in fields.items()}
