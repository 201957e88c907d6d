"""What is written in a YAML file, each value with its place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from llem_sweep.config.yaml_scalars import Scalar
from llem_sweep.errors import Problem


class Place(NamedTuple):
    """Where something was written."""

    file: str
    """As shown to the user; for a command-line override the argument itself."""
    line: int | None
    """From 1; None on the command line."""
    folder: Path
    """What a relative path written here is relative to."""

    def problem(self, message: str, field: str | None = None, hint: str | None = None) -> Problem:
        return Problem(message, field=field, file=self.file, line=self.line, hint=hint)


@dataclass(frozen=True, slots=True)
class Node:
    """A value and its place: for a mapping's entry that of the key, otherwise where the value begins."""

    value: Scalar | list[Node] | dict[str, Node]
    place: Place

    def plain(self) -> Any:
        """The value without places: scalars, lists and dicts."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value
