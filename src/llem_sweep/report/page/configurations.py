"""Every field of every configuration, without saying thousands of times what all of them share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from llem_sweep.plan.types import SweepPlan
from llem_sweep.plan.values import same
from llem_sweep.results.flatten import config_leaves


class Configurations(NamedTuple):
    """The configurations of a sweep, defaults written out; shared and own fields together are all of them."""

    shared: Mapping[str, Any]
    """Fields that hold the same in all, by dotted name."""
    own: Mapping[str, Mapping[str, Any]]
    """The others of each, by ``config_hash``; a field that a configuration doesn't have is left out."""


def configurations(plan: SweepPlan, backends: Mapping[str, Mapping[str, object]]) -> Configurations:
    """Those of ``plan``, and what the backend made of each (its hash in ``backends``) as ``backend made …``."""
    every: dict[str, dict[str, Any]] = {}
    for planned in plan.by_point:
        if planned.config_hash not in every:
            leaves = config_leaves(planned.config.model_dump(mode="json"))
            made = backends.get(planned.config_hash, {})
            every[planned.config_hash] = leaves | {f"backend made {name}": made[name] for name in made}
    names = list(dict.fromkeys(name for leaves in every.values() for name in leaves))
    first: Mapping[str, Any] = next(iter(every.values()), {})
    shared = {
        name: first[name]
        for name in names
        if name in first and all(name in own and same(own[name], first[name]) for own in every.values())
    }
    own = {
        key: {name: value for name, value in leaves.items() if name not in shared}
        for key, leaves in every.items()
    }
    return Configurations(shared, own)
