from __future__ import annotations

from collections.abc import Callable

import pytest

from llem_sweep.clock import SimulatedClock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.execution.prefetch import RETRY_AFTER_S, FetchEnded, FetchOrder, Prefetcher, Presence


def config(model: str) -> ExperimentConfig:
    return ExperimentConfig(model=model)


A, B, LOCAL = config("a/a"), config("b/b"), config("./here")
FREE: Callable[[str], bool] = lambda node: True  # noqa: E731 - a value for an argument


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


@pytest.fixture
def fetches(clock: SimulatedClock) -> Prefetcher:
    key_of = lambda config: None if config.model.startswith(".") else config.model  # noqa: E731
    return Prefetcher(key_of, clock.monotonic, max_tries=3)


def begin(fetches: Prefetcher, **need: list[ExperimentConfig]) -> list[tuple[str, str]]:
    orders = fetches.next(need, need.__getitem__, FREE)
    return [(order.node, order.key) for order in orders]


def test_each_node_fetches_what_it_needs_soonest_one_at_a_time(fetches: Prefetcher) -> None:
    assert begin(fetches, n0=[LOCAL, A, B], n1=[B, A]) == [("n0", "a/a"), ("n1", "b/b")]
    assert begin(fetches, n0=[A, B], n1=[B, A]) == []
    assert fetches.presence("n0", A) is Presence.FETCHING
    fetches.ended(FetchEnded("n0", "a/a"))
    assert fetches.presence("n0", A) is Presence.PRESENT
    assert begin(fetches, n0=[A, B], n1=[B]) == [("n0", "b/b")]
    fetches.ended(FetchEnded("n0", "b/b"))
    assert begin(fetches, n0=[A, B, A]) == [], "each once"


def test_nothing_begins_beside_a_window_that_forbids_it(fetches: Prefetcher) -> None:
    need = {"n0": [A], "n1": [A]}
    orders = fetches.next(need, need.__getitem__, lambda node: node == "n1")
    assert orders == (FetchOrder("n1", "a/a", A),)
    assert fetches.presence("n0", A) is Presence.ABSENT
    assert begin(fetches, n0=[A]) == [("n0", "a/a")]


def test_what_has_nothing_to_fetch_is_there(fetches: Prefetcher) -> None:
    assert fetches.presence("n0", LOCAL) is Presence.PRESENT
    assert fetches.failure("n0", LOCAL) is None


def test_a_failed_fetch_is_tried_again_later_and_then_given_up(
    fetches: Prefetcher, clock: SimulatedClock
) -> None:
    for wait_s in (RETRY_AFTER_S, 2 * RETRY_AFTER_S):
        assert begin(fetches, n0=[A]) == [("n0", "a/a")]
        fetches.ended(FetchEnded("n0", "a/a", "the disk is full"))
        assert fetches.retry_in_s() == pytest.approx(wait_s)
        assert begin(fetches, n0=[A]) == []
        assert begin(fetches, n0=[A, B]) == [("n0", "b/b")] or fetches.presence("n0", B) is Presence.PRESENT
        fetches.ended(FetchEnded("n0", "b/b"))
        assert fetches.failure("n0", A) is None
        clock.sleep(wait_s)
    assert begin(fetches, n0=[A]) == [("n0", "a/a")]
    fetches.ended(FetchEnded("n0", "a/a", "the disk is full"))
    assert fetches.failure("n0", A) == "the disk is full"
    clock.sleep(1000)
    assert begin(fetches, n0=[A]) == []
    assert fetches.retry_in_s() is None


def test_what_trying_again_wont_change_is_given_up_at_once(fetches: Prefetcher) -> None:
    begin(fetches, n0=[A], n1=[A])
    fetches.ended(FetchEnded("n0", "a/a", "gated", final=True))
    assert fetches.failure("n0", A) == "gated"
    assert fetches.failure_everywhere(["n0", "n1"], A) is None
    fetches.ended(FetchEnded("n1", "a/a", "gated", final=True))
    assert fetches.failure_everywhere(["n0", "n1"], A) == "gated"
    assert fetches.failure_everywhere([], A) is None


def test_a_lost_node_holds_nothing_and_its_late_answer_is_ignored(fetches: Prefetcher) -> None:
    begin(fetches, n0=[A])
    fetches.node_lost("n0")
    fetches.ended(FetchEnded("n0", "a/a"))
    assert fetches.presence("n0", A) is Presence.ABSENT
    assert begin(fetches, n0=[A]) == [("n0", "a/a")]


def test_spans_tell_what_was_measured_beside_a_fetch(fetches: Prefetcher, clock: SimulatedClock) -> None:
    clock.sleep(5)
    begin(fetches, n0=[A])
    clock.sleep(10)
    fetches.ended(FetchEnded("n0", "a/a", bytes=7))
    clock.sleep(5)
    begin(fetches, n0=[B])
    start_s = clock.monotonic() - 20
    during = fetches.spans("n0", start_s, start_s + 6)
    assert [(span.key, span.bytes) for span in during] == [("a/a", 7)]
    assert during[0].end_s == during[0].start_s + 10
    assert fetches.spans("n0", start_s, start_s + 5) == ()
    assert [span.key for span in fetches.spans("n0", start_s, clock.monotonic() + 1)] == ["a/a", "b/b"]
    assert fetches.spans("n0", start_s + 16, start_s + 17) == ()
    assert fetches.spans("n1", start_s, clock.monotonic()) == ()
