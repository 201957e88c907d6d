"""Every field of every configuration, without saying thousands of times what all of them share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    """Those of ``plan``, and what the backend made of each (its hash in ``backends``) as ``backend made …``.

    They are gone through twice: of thousands, all fields together would take most of the memory of the page.
    """
    planned = {each.config_hash: each.config for each in plan.by_point}

    def every() -> Iterator[tuple[str, dict[str, Any]]]:
        for key, config in planned.items():
            made = backends.get(key, {})
            leaves = config_leaves(config.model_dump(mode="json"))
            yield key, leaves | {f"backend made {name}": value for name, value in made.items()}

    shared: dict[str, Any] | None = None
    for _, leaves in every():
        if shared is None:
            shared = leaves
        else:
            shared = {
                name: value for name, value in shared.items() if name in leaves and same(leaves[name], value)
            }
    common = shared or {}
    own = {
        key: {name: value for name, value in leaves.items() if name not in common} for key, leaves in every()
    }
    return Configurations(common, own)
