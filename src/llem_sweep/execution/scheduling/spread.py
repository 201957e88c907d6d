"""Which model a worker had better turn to. Pure arithmetic over what waits and who has what."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from heapq import heapify, heapreplace
from typing import NamedTuple

from llem_sweep.execution.scheduling.model_queue import ModelQueue
from llem_sweep.execution.scheduling.tasks import WorkerView

LISTED_TASKS = 64
"""Of so many waiting tasks the end is found task by task; of more, by their sum."""
LEAST_GAIN = 0.1
"""Of a load, what loading a model once more has to gain: the load is certain, the gain is an estimate."""


class Choice(NamedTuple):
    """A queue that a worker may turn to."""

    queue: ModelQueue
    sharers: tuple[WorkerView, ...]
    """Workers that have its model already."""

    @property
    def freedom(self) -> float:
        """Kinds of board that could do it; what only this kind can do comes first."""
        return len(self.queue.need.accelerators) or math.inf


def choices(worker: WorkerView, others: Sequence[WorkerView], queues: Iterable[ModelQueue]) -> list[Choice]:
    """What ``worker`` could run at all, each with the others that have its model."""
    holding: dict[str, list[WorkerView]] = {}
    for other in others:
        if other.model is not None:
            holding.setdefault(other.model, []).append(other)
    return [
        Choice(queue, tuple(o for o in holding.get(queue.key, ()) if o.fits(queue.need)))
        for queue in queues
        if len(queue) and worker.fits(queue.need)
    ]


def choose(others: Sequence[WorkerView], found: Sequence[Choice]) -> Choice | None:
    """Which model an idle worker had better load; None when loading any would end nothing sooner.

    That is the largest model that nobody has, or else the one with most left for each worker, provided that help
    pays for the load. A long task that would begin too late behind the new model goes before it.
    """
    paying = [each for each in found if each.sharers and _pays(each)]
    new = [each for each in found if not each.sharers]
    if not new:
        return max(paying, key=_alone_s, default=None)
    largest = max(new, key=lambda each: (-each.freedom, _fresh_s(each)))
    latest_s = _horizon_s(others, found) - _fresh_s(largest)
    late = [each for each in paying if _longest_s(each) > max(latest_s, _fresh_s(largest))]
    return max(late, key=_longest_s, default=largest)


def _longest_s(choice: Choice) -> float:
    """The longest task on a worker that doesn't have its model yet: this much can't be divided."""
    return choice.queue.load_s + choice.queue.longest_s


def _fresh_s(choice: Choice) -> float:
    """What a model takes on one worker that doesn't have it yet."""
    return choice.queue.load_s + choice.queue.work_s


def _horizon_s(others: Sequence[WorkerView], found: Sequence[Choice]) -> float:
    """When everything could be done at the earliest, were it divided evenly among those that could help."""
    needs = {each.queue.need for each in found}
    peers = [other for other in others if any(map(other.fits, needs))]
    work_s = sum(each.queue.work_s if each.sharers else _fresh_s(each) for each in found)
    return (work_s + sum(peer.free_in_s for peer in peers)) / (len(peers) + 1)


def _alone_s(choice: Choice) -> float:
    """When the workers that have the model will be done with it."""
    free_s = [each.free_in_s for each in choice.sharers]
    return max((sum(free_s) + choice.queue.work_s) / len(free_s), max(free_s))


def _pays(choice: Choice) -> bool:
    """Whether one more worker ends a model sooner, though it has to load it first."""
    queue, load_s = choice.queue, choice.queue.load_s
    free_s = [each.free_in_s for each in choice.sharers]
    if len(queue) > LISTED_TASKS:
        without_s = (queue.work_s + sum(free_s)) / len(free_s)
        with_s = (queue.work_s + sum(free_s) + load_s) / (len(free_s) + 1)
    else:
        durations_s = queue.durations_s()
        without_s = finished_s(durations_s, free_s)
        # The newcomer is given the first task now, whoever could begin it sooner.
        with_s = max(load_s + durations_s[0], finished_s(durations_s[1:], [*free_s, load_s + durations_s[0]]))
    return with_s < without_s - LEAST_GAIN * load_s


def finished_s(durations_s: Sequence[float], free_in_s: Sequence[float]) -> float:
    """When the last of ``durations_s`` ends, each begun in turn by whichever worker is free first."""
    ends = list(free_in_s)
    heapify(ends)
    last_s = 0.0
    for duration_s in durations_s:
        end_s = ends[0] + duration_s
        heapreplace(ends, end_s)
        last_s = max(last_s, end_s)
    return last_s
