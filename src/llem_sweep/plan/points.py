"""The points of a grid as nested mappings of fields, in order, before any of them is validated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

from llem_sweep.config.nesting import deep_merge, nest, unfold
from llem_sweep.config.sweep import SweepConfig


class Point(NamedTuple):
    """One point of a grid."""

    given: dict[str, Any]
    """All its fields, nested."""
    own: dict[str, Any]
    """Those that set it apart from the shared ones, nested."""
    excludable: bool
    """Whether ``exclude`` applies: explicit points come after it."""


def grid_points(sweep: SweepConfig) -> Iterator[Point]:
    """The product in declared order, the last dimension fastest and ``zip`` after ``sweep``; then
    ``experiments``, then ``include``. Without any of them, the shared fields alone."""
    shared = unfold(sweep.shared)
    axes = [[nest(field, value) for value in values] for field, values in sweep.sweep.items()]
    if sweep.zip:
        axes.append(_zipped(sweep))
    explicit = (*sweep.experiments, *sweep.include)
    if axes or not explicit:
        for steps in product(*axes):
            own = _merged(steps)
            yield Point(deep_merge(shared, own), own, excludable=True)
    for entry in explicit:
        own = unfold(entry)
        yield Point(deep_merge(shared, own), own, excludable=False)


def _zipped(sweep: SweepConfig) -> list[dict[str, Any]]:
    fields = tuple(sweep.zip)
    return [
        _merged([nest(field, value) for field, value in zip(fields, values, strict=True)])
        for values in zip(*sweep.zip.values(), strict=True)
    ]


def _merged(steps: Sequence[dict[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for step in steps:
        merged = deep_merge(merged, step)
    return merged
