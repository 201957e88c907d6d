"""Which points ``exclude`` leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.explain import alone
from llem_sweep.config.fields import experiment_tree
from llem_sweep.config.nesting import flatten, unfold
from llem_sweep.plan.values import same, value_at


class Exclusion(NamedTuple):
    """A partial point: whatever has all of its values is left out."""

    wanted: tuple[tuple[str, tuple[Any, ...]], ...]
    """Dotted field, and the values of which it has one."""

    def matches(self, point: ExperimentConfig | Mapping[str, Any]) -> bool:
        """Whether ``point``, a configuration or the fields given for one that isn't valid, is left out."""
        return all(
            any(same(value_at(point, field), value) for value in values) for field, values in self.wanted
        )


def exclusion(entry: Mapping[str, Any]) -> Exclusion:
    """The exclusion that an entry of ``exclude`` describes, its values read as an experiment's would be."""
    wanted: list[tuple[str, tuple[Any, ...]]] = []
    for field, value in flatten(unfold(entry), experiment_tree()).items():
        values = value if isinstance(value, (list, tuple)) else (value,)
        wanted.append((field, tuple(_as_validated(field, each) for each in values)))
    return Exclusion(tuple(wanted))


def _as_validated(field: str, value: Any) -> Any:
    try:
        return value_at(alone(field, value), field)
    except ValidationError:
        # No valid point can have it; one that isn't valid is compared by what was given.
        return value
