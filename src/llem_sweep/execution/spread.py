"""Which model a worker had better turn to. Pure arithmetic over what waits and who has what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heapify, heapreplace
from typing import NamedTuple

from llem_sweep.execution.model_queue import ModelQueue
from llem_sweep.execution.tasks import WorkerView
from llem_sweep.plan.need import fits

LISTED_TASKS = 64
"""Of so many waiting tasks the end is found task by task; of more, by their sum."""
LEAST_GAIN = 0.25
"""Of a load, what loading a model once more has to gain: the expected end isn't exact, the load is certain."""


class Choice(NamedTuple):
    """A queue that a worker may turn to."""

    queue: ModelQueue
    sharers: tuple[WorkerView, ...]
    """Workers that have its model already."""


def choices(worker: WorkerView, others: Sequence[WorkerView], queues: Iterable[ModelQueue]) -> list[Choice]:
    """What ``worker`` could run at all, each with the others that have its model."""
    holding: dict[str, list[WorkerView]] = {}
    for other in others:
        if other.model is not None:
            holding.setdefault(other.model, []).append(other)
    return [
        Choice(queue, tuple(o for o in holding.get(queue.key, ()) if fits(o.need, queue.need)))
        for queue in queues
        if len(queue) and fits(worker.need, queue.need)
    ]


def choose(worker: WorkerView, found: Sequence[Choice]) -> Choice | None:
    """Where ``worker`` is of most use; None when loading anything would end nothing sooner.

    What it has loaded comes first. Else it brings up the largest model that nobody has, else it helps where
    most is left for each worker, provided that this pays for the load.
    """
    loaded = [each for each in found if each.queue.key == worker.model]
    if loaded:
        return min(loaded, key=_freedom)
    new = [each for each in found if not each.sharers]
    if new:
        return max(new, key=lambda each: (-_freedom(each), each.queue.work_s + each.queue.load_s))
    paying = [(gain, each) for each in found if (gain := _alone_s(each) ) and _pays(each)]
    if paying:
        return max(paying, key=lambda pair: pair[0])[1]
    return None


def _freedom(choice: Choice) -> float:
    """Kinds of board that could do it instead: what only this kind can do comes first."""
    return len(choice.queue.need.accelerators) or float("inf")


def _alone_s(choice: Choice) -> float:
    """When the workers that have the model will be done with it."""
    free_s = [each.free_in_s for each in choice.sharers]
    return max(sum(free_s) + choice.queue.work_s, max(free_s)) / len(free_s)


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
