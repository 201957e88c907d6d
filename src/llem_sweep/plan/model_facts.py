"""What several nodes know of one model, taken together."""

from __future__ import annotations

from collections.abc import Mapping

from llem_sweep.plan.types import ModelFacts


def facts_over_nodes(by_node: Mapping[str, ModelFacts]) -> ModelFacts:
    """The facts of the nodes, by name, as those of a cluster.

    A node that can have the model tells what it is, even where another is refused it: its cache may hold what may
    no longer be fetched. A problem counts where no node can have the model. Raises ValueError without any node.
    """
    if not by_node:
        raise ValueError("facts of no node")
    ordered = [by_node[name] for name in sorted(by_node)]
    having = [facts for facts in ordered if facts.problem is None and facts.absent is None]
    refused = [facts for facts in ordered if facts.problem is not None]
    best = (having or refused or ordered)[0]
    lacking = frozenset(name for name, facts in by_node.items() if facts.problem or facts.absent)
    absent = next((facts.absent or facts.problem for facts in ordered if facts.absent or facts.problem), None)
    return best._replace(absent=absent, absent_on=lacking)
