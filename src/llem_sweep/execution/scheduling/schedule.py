"""Which task an idle worker takes. Pure: no Ray, no clock, no memory of workers.

Workers come and go, so nothing is assigned ahead of time: each call looks at who has which model now. Where the
order is fixed, a worker takes the first task that it can run. Elsewhere it stays with the model that it has, and
when that is done turns to the model where it is of most use (:mod:`llem_sweep.execution.scheduling.spread`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge
from operator import attrgetter

from llem_sweep.config.sweep import ExecutionConfig
from llem_sweep.execution.scheduling.blocked import Blocked
from llem_sweep.execution.scheduling.model_queue import Entry, ModelQueue
from llem_sweep.execution.scheduling.orders import InOrder, LongestFirst
from llem_sweep.execution.scheduling.spread import Choice, choices, choose
from llem_sweep.execution.scheduling.tasks import FixedView, Task, WorkerView
from llem_sweep.plan.estimates import Estimates
from llem_sweep.plan.need import Need, need_of
from llem_sweep.plan.types import PlannedExperiment

__all__ = ["FixedView", "Schedule", "Task", "WorkerView"]

TURNS_OF_A_NEED = 64
"""Turns that one need has before the others have theirs, where the order is free: it may have thousands, and
nobody to serve them."""

AHEAD_S = 900.0
"""So long before its need a model is fetched: a large one over a slow line takes as much."""


class Schedule:
    """Tasks that wait, and which of them a worker had better take.

    A take costs as much as there are models and workers, and a logarithm of the tasks.
    """

    def __init__(self, tasks: Iterable[Task], execution: ExecutionConfig, estimates: Estimates) -> None:
        """``tasks`` come in planned order; ``estimates`` is recorded to by whoever runs them."""
        self._execution = execution
        self.order_is_fixed = execution.order_is_fixed
        self._make = LongestFirst if execution.cycle_order == "longest_first" else Blocked
        self._estimates = estimates
        self._queues: dict[tuple[Need, str], ModelQueue] = {}
        self._in_order: dict[Need, InOrder] = {}
        self._of_model: dict[str, list[ModelQueue]] = {}
        self._of_point: dict[str, ModelQueue] = {}
        self._learnt = len(estimates.recorded)
        self._last = self._first = 0
        for task in tasks:
            self.put_back(task, front=False)

    def __len__(self) -> int:
        return sum(map(len, self._all()))

    def again(self, estimates: Estimates) -> Schedule:
        """An empty schedule of the same order that goes by ``estimates``."""
        return Schedule((), self._execution, estimates)

    def take(
        self, worker: WorkerView, others: Sequence[WorkerView], *, within_s: float | None = None
    ) -> Task | None:
        """The task that idle ``worker`` is to run now, taken out; None when it had better stay idle.

        ``others`` are all other workers that may be given tasks, idle ones included. A worker that gets nothing is
        worth asking again whenever another one ends: it gets None only while others have the model of all that it
        could do, and would be done sooner without it. With ``within_s`` it gets only what is expected to be over
        in so many seconds, with the model that it has where the order is free.
        """
        self._learn()
        if self.order_is_fixed:
            fitting = [queue for queue in self._in_order.values() if len(queue) and worker.fits(queue.need)]
            queue = min(fitting, key=lambda queue: queue.position, default=None)
            if queue is None:
                return None
            return queue.take(worker.name, ()) if within_s is None else queue.take_within(within_s)
        choice = self._loaded(worker, others)
        if within_s is not None:
            return choice.queue.take_within(within_s) if choice is not None else None
        if choice is None:
            choice = choose(others, choices(worker, others, self._queues.values()))
        if choice is None:
            return None
        return choice.queue.take(worker.name, {sharer.name for sharer in choice.sharers})

    def coming(self, worker: WorkerView, others: Sequence[WorkerView]) -> PlannedExperiment | None:
        """An experiment of the model that ``worker`` will probably load next.

        None when there is none, or when it has enough to do with the model that it has for AHEAD_S.
        """
        if self.order_is_fixed:
            fitting = [queue for queue in self._in_order.values() if len(queue) and worker.fits(queue.need)]
            first = min(fitting, key=lambda queue: queue.position, default=None)
            return first.sample if first is not None else None
        loaded = self._loaded(worker, others)
        if loaded is not None and loaded.queue.work_s / (len(loaded.sharers) + 1) > AHEAD_S:
            return None
        found = choices(worker, others, self._queues.values())
        choice = choose(others, [each for each in found if each.queue.key != worker.model])
        return choice.queue.sample if choice is not None else None

    def put_back(self, task: Task, *, front: bool = True) -> None:
        """Have ``task`` wait, before everything else of its model (or of all, in a fixed order) or after it."""
        if front:
            self._first -= 1
        else:
            self._last += 1
        position = self._first if front else self._last
        self._queue(task).put(task, position, first=front and not self.order_is_fixed)

    def remove(self, which: Callable[[Task], bool]) -> list[Task]:
        """Take out and return every task of which ``which`` is true: pruned, or no longer possible."""
        return [task for queue in self._all() for task in queue.remove(which)]

    def waiting(self) -> dict[Need, int]:
        """How many tasks wait, by what they need; needs of which none waits are left out."""
        numbers: dict[Need, int] = {}
        for queue in self._all():
            if len(queue):
                numbers[queue.need] = numbers.get(queue.need, 0) + len(queue)
        return numbers

    def tasks(self) -> dict[Need, list[Task]]:
        """The tasks that wait, by what they need, each in planned order."""
        found: dict[Need, list[Entry]] = {}
        for queue in self._all():
            if len(queue):
                found.setdefault(queue.need, []).extend(queue.entries())
        by_position = attrgetter("position")
        return {
            need: [each.task for each in sorted(waiting, key=by_position)] for need, waiting in found.items()
        }

    def turns(self) -> Iterator[Need]:
        """The need of each waiting task, in the order in which workers should be there for them.

        Where the order is free the widest come first, so that narrow ones can fill what they leave.
        """
        if self.order_is_fixed:
            for _, need in merge(*(queue.positions() for queue in self._in_order.values())):
                yield need
            return
        numbers = self.waiting()
        widest = sorted(numbers, key=lambda need: -need.boards)
        for need in widest:
            yield from (need for _ in range(min(numbers[need], TURNS_OF_A_NEED)))
        for need in widest:
            yield from (need for _ in range(TURNS_OF_A_NEED, numbers[need]))

    def load_key(self, task: Task) -> str:
        """What is loaded once ``task`` has run."""
        return self._estimates.key(task.experiment)

    def rest_s(self, task: Task, spent_s: float, *, loads: bool = False) -> float:
        """Expected seconds until ``task``, begun ``spent_s`` ago, ends; ``loads`` where its model had to load."""
        return self._estimates.rest_s(task.experiment, spent_s, loads=loads)

    @property
    def estimates(self) -> Estimates:
        """What is expected of its tasks."""
        return self._estimates

    def record(self, task: Task, took_s: float, load_s: float | None) -> None:
        """``task`` has completed in ``took_s`` seconds, after ``load_s`` of loading if it had to load."""
        self._estimates.record(task.experiment, took_s, load_s)

    def _all(self) -> Iterable[ModelQueue]:
        return self._in_order.values() if self.order_is_fixed else self._queues.values()

    def _loaded(self, worker: WorkerView, others: Sequence[WorkerView]) -> Choice | None:
        """What ``worker`` can do with the model that it has."""
        loaded = choices(worker, others, self._of_model.get(worker.model or "", ()))
        return min(loaded, key=lambda each: each.freedom, default=None)

    def _queue(self, task: Task) -> ModelQueue:
        point = task.experiment.config_hash
        if point not in self._of_point:
            need, key = need_of(task.experiment.config), self._estimates.key(task.experiment)
            self._of_point[point] = self._fixed(need) if self.order_is_fixed else self._free(need, key)
        return self._of_point[point]

    def _fixed(self, need: Need) -> ModelQueue:
        if need not in self._in_order:
            self._in_order[need] = InOrder(need, "", self._estimates)
        return self._in_order[need]

    def _free(self, need: Need, key: str) -> ModelQueue:
        if (need, key) not in self._queues:
            self._queues[need, key] = queue = self._make(need, key, self._estimates)
            self._of_model.setdefault(key, []).append(queue)
        return self._queues[need, key]

    def _learn(self) -> None:
        """Take over what has been recorded since the last look."""
        for point in self._estimates.recorded[self._learnt :]:
            if point in self._of_point:
                self._of_point[point].learn(point)
        self._learnt = len(self._estimates.recorded)
