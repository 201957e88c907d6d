from __future__ import annotations

from llem_sweep.execution.nodes import Nodes


def seated(*, exclusive: bool = False) -> Nodes:
    nodes = Nodes(exclusive=exclusive)
    for worker, node in (("a", "n0"), ("b", "n0"), ("c", "n1")):
        nodes.seat(worker, node)
    return nodes


def test_experiments_meet_those_that_began_before_and_after_them_on_their_node() -> None:
    nodes = seated()
    nodes.begin("a", "first")
    nodes.begin("c", "far")
    nodes.begin("b", "second")
    assert nodes.end("b") == ("first",)
    nodes.begin("b", "third")
    assert nodes.end("a") == ("second", "third")
    assert nodes.end("b") == ("first",)
    assert nodes.end("c") == ()


def test_a_worker_that_begins_anew_has_met_nobody_yet() -> None:
    nodes = seated()
    nodes.begin("a", "one")
    nodes.begin("b", "other")
    nodes.end("b")
    nodes.end("a")
    nodes.begin("a", "two")
    assert nodes.end("a") == ()
    assert nodes.end("a") == (), "nothing was under way"


def test_only_an_exclusive_node_is_closed_to_others() -> None:
    for exclusive in (False, True):
        nodes = seated(exclusive=exclusive)
        nodes.begin("a", "one")
        assert nodes.may_begin("b") is not exclusive
        assert nodes.may_begin("c")
        nodes.end("a")
        assert nodes.may_begin("b")
