from __future__ import annotations

import pytest

from llem_sweep.plan.model_facts import facts_over_nodes
from llem_sweep.plan.types import ModelFacts

KNOWN = ModelFacts(parameters=5, weight_bytes=10)
ABSENT = ModelFacts(absent="not cached, no Hub")
GATED = ModelFacts(problem="gated")


@pytest.mark.parametrize(
    ("by_node", "whole"),
    [
        ({"a": KNOWN}, KNOWN),
        ({"a": ABSENT, "b": KNOWN}, KNOWN._replace(absent=ABSENT.absent, absent_on=frozenset("a"))),
        ({"a": GATED, "b": KNOWN}, KNOWN._replace(absent="gated", absent_on=frozenset("a"))),
        ({"a": ABSENT, "b": ABSENT}, ABSENT._replace(absent_on=frozenset("ab"))),
        ({"a": ABSENT, "b": GATED}, GATED._replace(absent=ABSENT.absent, absent_on=frozenset("ab"))),
    ],
)
def test_a_cluster_has_what_one_of_its_nodes_has(by_node: dict[str, ModelFacts], whole: ModelFacts) -> None:
    assert facts_over_nodes(by_node) == whole


def test_no_node_knows_nothing() -> None:
    with pytest.raises(ValueError):
        facts_over_nodes({})
