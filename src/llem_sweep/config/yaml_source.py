"""YAML text to a tree whose every node knows the file and line it was written on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml
from yaml import events

from llem_sweep.config.nodes import Node, Place
from llem_sweep.config.yaml_scalars import resolve_plain
from llem_sweep.errors import Problem

MAX_ALIASED_NODES = 100_000
"""Most nodes that aliases may add to a file: nested anchors can otherwise grow a few lines to billions."""
MAX_DEPTH = 64
"""Deepest nesting of lists and mappings."""


def read_yaml_file(path: Path, problems: list[Problem]) -> Node | None:
    """The mapping in ``path``, or None; whatever is wrong with the file is added to ``problems``."""
    # A path may hold bytes that aren't text, which no plan or result could hold.
    shown = str(path).encode("utf-8", "backslashreplace").decode()
    start = Place(shown, 1, path.parent.absolute())
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        problems.append(Problem(f"can't be read: {error.strerror or error}", file=str(path)))
        return None
    except UnicodeDecodeError as error:
        problems.append(Problem(f"isn't UTF-8 text: {error.reason} at byte {error.start}", file=str(path)))
        return None
    node = parse_yaml(text, start, problems)
    if node is None:
        return None
    if node.value is None:
        problems.append(node.place.problem("the file is empty", hint="it needs at least a model"))
        return None
    if not isinstance(node.value, dict):
        problems.append(node.place.problem("the file must be a mapping of fields to values"))
        return None
    return node


def parse_yaml(text: str, start: Place, problems: list[Problem]) -> Node | None:
    """The one YAML document in ``text``; None when its syntax can't be read.

    ``start`` is the place of its first line; without a line, all nodes get that place.
    """
    builder = _Builder(text, start, problems)
    try:
        return builder.document()
    except _UnfitError as refusal:
        reason, line = refusal.args
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line if mark else 0
        reason = ": ".join(part for part in ("isn't valid YAML", error.context, error.problem) if part)
    except yaml.YAMLError as error:
        reason, line = f"isn't valid YAML: {error}", 0
    place = start if start.line is None else start._replace(line=start.line + line)
    problems.append(place.problem(reason))
    return None


class _UnfitError(Exception):
    """Valid YAML that is refused as a whole; holds the message and the line, from 0."""


class _Builder:
    """Builds nodes from the parser's events, where tags and aliases are still visible."""

    def __init__(self, text: str, start: Place, problems: list[Problem]) -> None:
        self._events: Iterator[events.Event] = iter(yaml.parse(text, Loader=yaml.SafeLoader))
        self._start = start
        self._problems = problems
        self._anchors: dict[str, tuple[Node, int] | None] = {}
        self._built = 0
        self._aliased = 0

    def document(self) -> Node | None:
        next(self._events)
        if isinstance(next(self._events), events.StreamEndEvent):
            return Node(None, self._start)
        node = self._node(next(self._events), 0)
        next(self._events)
        after = next(self._events)
        if isinstance(after, events.DocumentStartEvent):
            self._report(
                after, "the file holds several documents", "one sweep a file: remove what follows ---"
            )
        return node

    def _node(self, event: events.Event, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise _fail(event, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, events.AliasEvent):
            return self._alias(event)
        assert isinstance(event, (events.ScalarEvent, events.CollectionStartEvent))
        before = self._built
        self._built += 1
        if event.anchor:
            self._anchors[event.anchor] = None
        if event.tag is not None:
            self._report(event, f"YAML tags aren't allowed: {event.tag}", "write the plain value")
        if isinstance(event, events.ScalarEvent):
            node = self._scalar(event)
        elif isinstance(event, events.SequenceStartEvent):
            node = Node(list(self._items(depth)), self._place(event))
        else:
            node = self._mapping(event, depth)
        if event.anchor:
            self._anchors[event.anchor] = (node, self._built - before)
        return node

    def _scalar(self, event: events.ScalarEvent) -> Node:
        if any("\ud800" <= letter <= "\udfff" for letter in event.value):
            raise _fail(event, "half a surrogate pair isn't text")
        if event.style is not None:
            return Node(event.value, self._place(event))
        try:
            return Node(resolve_plain(event.value), self._place(event))
        except ValueError as error:
            raise _fail(event, "a number of too many digits") from error

    def _items(self, depth: int) -> Iterator[Node]:
        while not isinstance(event := next(self._events), events.SequenceEndEvent):
            yield self._node(event, depth + 1)

    def _mapping(self, start: events.Event, depth: int) -> Node:
        entries: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        while not isinstance(event := next(self._events), events.MappingEndEvent):
            key = event.value if isinstance(event, events.ScalarEvent) else None
            self._node(event, depth + 1)
            child = self._node(next(self._events), depth + 1)
            if key is None:
                self._report(event, "a key must be a plain word")
            elif key == "<<":
                merged = {**self._merge_key(event, child), **merged}
            elif key in entries:
                first = entries[key].place.line
                self._report(event, f"{key} is given twice, first on line {first}", "keep one of them")
            else:
                entries[key] = Node(child.value, self._place(event))
        return Node({**merged, **entries}, self._place(start))

    def _merge_key(self, event: events.Event, child: Node) -> dict[str, Node]:
        """Entries brought in by ``<<: *anchor``; the mapping's own entries win, then the first of a list."""
        sources = child.value if isinstance(child.value, list) else [child]
        found: dict[str, Node] = {}
        for source in sources:
            if isinstance(source.value, dict):
                found = {**source.value, **found}
            else:
                self._report(event, "<< must name a mapping")
        return found

    def _alias(self, event: events.AliasEvent) -> Node:
        if event.anchor not in self._anchors:
            raise _fail(event, f"*{event.anchor} names no anchor above it")
        anchored = self._anchors[event.anchor]
        if anchored is None:
            raise _fail(event, f"*{event.anchor} lies inside what it stands for")
        node, size = anchored
        self._built += size
        self._aliased += size
        if self._aliased > MAX_ALIASED_NODES:
            raise _fail(event, f"aliases expand to more than {MAX_ALIASED_NODES} nodes")
        return Node(node.value, self._place(event))

    def _place(self, event: events.Event) -> Place:
        if self._start.line is None or event.start_mark is None:
            return self._start
        return self._start._replace(line=event.start_mark.line + 1)

    def _report(self, event: events.Event, message: str, hint: str | None = None) -> None:
        self._problems.append(self._place(event).problem(message, hint=hint))


def _fail(event: events.Event, problem: str) -> _UnfitError:
    return _UnfitError(problem, event.start_mark.line if event.start_mark else 0)
