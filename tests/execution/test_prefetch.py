from __future__ import annotations

import pytest

from llem_sweep.clock import SimulatedClock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.execution.prefetch import RETRY_AFTER_S, FetchEnded, Prefetcher, Presence


def config(model: str) -> ExperimentConfig:
    return ExperimentConfig(model=model)


A, B, LOCAL = config("a/a"), config("b/b"), config("./here")


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


@pytest.fixture
def fetches(clock: SimulatedClock) -> Prefetcher:
    key_of = lambda config: None if config.model.startswith(".") else config.model  # noqa: E731
    return Prefetcher(key_of, clock.monotonic, max_tries=3)


def begin(fetches: Prefetcher, **need: list[ExperimentConfig]) -> list[tuple[str, str]]:
    orders = fetches.next(need, need.__getitem__)
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


def test_what_has_nothing_to_fetch_is_there(fetches: Prefetcher) -> None:
    assert fetches.presence("n0", LOCAL) is Presence.PRESENT


def test_a_failed_fetch_is_tried_again_later_and_then_given_up(
    fetches: Prefetcher, clock: SimulatedClock
) -> None:
    for wait_s in (RETRY_AFTER_S, 2 * RETRY_AFTER_S):
        assert begin(fetches, n0=[A]) == [("n0", "a/a")]
        fetches.ended(FetchEnded("n0", "a/a", "the disk is full"))
        assert begin(fetches, n0=[A]) == []
        assert begin(fetches, n0=[A, B]) == [("n0", "b/b")] or fetches.presence("n0", B) is Presence.PRESENT
        fetches.ended(FetchEnded("n0", "b/b"))
        clock.sleep(wait_s - 1)
        assert begin(fetches, n0=[A]) == []
        clock.sleep(1)
    assert begin(fetches, n0=[A]) == [("n0", "a/a")]
    fetches.ended(FetchEnded("n0", "a/a", "the disk is full"))
    assert fetches.presence("n0", A) is Presence.FAILED
    clock.sleep(1000)
    assert begin(fetches, n0=[A]) == []


def test_what_trying_again_wont_change_is_given_up_at_once(fetches: Prefetcher) -> None:
    begin(fetches, n0=[A], n1=[A])
    fetches.ended(FetchEnded("n0", "a/a", "gated", final=True))
    assert fetches.presence("n0", A) is Presence.FAILED
    assert fetches.presence("n1", A) is Presence.FETCHING


def test_a_lost_node_holds_nothing_and_its_late_answer_is_ignored(fetches: Prefetcher) -> None:
    begin(fetches, n0=[A])
    fetches.node_lost("n0")
    fetches.ended(FetchEnded("n0", "a/a"))
    assert fetches.presence("n0", A) is Presence.ABSENT
    assert begin(fetches, n0=[A]) == [("n0", "a/a")]
