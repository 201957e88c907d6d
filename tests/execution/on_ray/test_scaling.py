"""What an autoscaler is asked for, and when."""

from __future__ import annotations

from queue import SimpleQueue
from threading import Event
from typing import Any

from llem_sweep.execution.on_ray.scaling import MOST_BUNDLES, Scaling, requested
from llem_sweep.plan.need import Need

Asked = SimpleQueue[list[dict[str, float]]]


def test_a_request_lists_every_worker_with_the_kinds_that_will_do() -> None:
    bundles, selectors = requested({Need(2): 1, Need(1, accelerators=("H100", "A100")): 2, Need(0): 1})
    assert bundles == [{"GPU": 2.0}, {"GPU": 1.0}, {"GPU": 1.0}, {"CPU": 1.0}]
    kinds = {"ray.io/accelerator-type": "in(H100,A100)"}
    assert selectors == [{}, kinds, kinds, {}]
    assert len(requested({Need(1): 10**6})[0]) == MOST_BUNDLES


def test_the_newest_request_stands_and_is_taken_back_at_the_end() -> None:
    asked: Asked = SimpleQueue()
    scaling = Scaling(lambda **request: asked.put(request["bundles"]))
    scaling.close()
    assert asked.empty(), "nothing was asked for, so nothing is taken back"
    scaling.want({Need(1): 2})
    assert asked.get(timeout=10.0) == [{"GPU": 1.0}] * 2
    scaling.want({Need(1): 1})
    scaling.close()
    scaling.close()
    last = None
    while not asked.empty():
        last = asked.get()
    assert last == []


def test_nobody_waits_for_a_head_that_does_not_answer() -> None:
    answer = Event()
    scaling = Scaling(lambda **request: answer.wait(), close_limit_s=0.01)
    scaling.want({Need(1): 1})
    scaling.want({Need(1): 2})
    scaling.close()
    answer.set()


def test_a_request_that_failed_is_made_again() -> None:
    asked: Asked = SimpleQueue()

    def request(**request: Any) -> None:
        asked.put(request["bundles"])
        if asked.qsize() == 1:
            raise RuntimeError("the head is busy")

    scaling = Scaling(request)
    scaling.want({Need(1): 1})
    while asked.qsize() < 2:
        pass
    scaling.close()
    assert [asked.get(), asked.get(), asked.get()] == [[{"GPU": 1.0}], [{"GPU": 1.0}], []]
