"""Which task an idle worker takes. Pure: no Ray, no clock, no memory of workers.

Workers come and go, so nothing is assigned ahead of time: each call looks at who has which model now. Where the
order is fixed, a worker takes the first task that it can run. Elsewhere it stays with the model that it has, and
when that is done turns to the model where it is of most use (:mod:`llem_sweep.execution.spread`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from llem_sweep.config.sweep import ExecutionConfig
from llem_sweep.execution.blocked import Blocked
from llem_sweep.execution.model_queue import ModelQueue
from llem_sweep.execution.orders import InOrder, LongestFirst
from llem_sweep.execution.spread import Choice, choices, choose
from llem_sweep.execution.tasks import Task, Waiting, WorkerView
from llem_sweep.plan.estimates import Estimates
from llem_sweep.plan.need import Need, fits, need_of

__all__ = ["Schedule", "Task", "Waiting", "WorkerView"]


class Schedule:
    """Tasks that wait, and which of them a worker had better take.

    A take costs as much as there are models and workers, and a logarithm of the tasks.
    """

    def __init__(self, tasks: Iterable[Task], execution: ExecutionConfig, estimates: Estimates) -> None:
        """``tasks`` come in planned order; ``estimates`` is recorded to by whoever runs them."""
        self.order_is_fixed = execution.order_is_fixed
        self._make = LongestFirst if execution.cycle_order == "longest_first" else Blocked
        self._estimates = estimates
        self._queues: dict[tuple[Need, str], ModelQueue] = {}
        self._in_order: dict[tuple[Need, str], InOrder] = {}
        self._of_model: dict[str, list[ModelQueue]] = {}
        self._of_point: dict[str, tuple[Need, str]] = {}
        self._learnt = len(estimates.recorded)
        self._last = self._first = 0
        for task in tasks:
            self.put_back(task, front=False)

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    def take(self, worker: WorkerView, others: Sequence[WorkerView]) -> Task | None:
        """The task that idle ``worker`` is to run now, taken out; None when it had better stay idle.

        ``others`` are all other workers that may be given tasks, idle ones included. A worker that has nothing to
        do is worth asking again whenever another one ends: it gets None only while others have the model of all
        that it could do, and would be done sooner without it.
        """
        self._learn()
        if self.order_is_fixed:
            fitting = [q for q in self._in_order.values() if len(q) and fits(worker.need, q.need)]
            if not fitting:
                return None
            return min(fitting, key=lambda queue: queue.position).take(worker.name, ())
        choice = self._choice(worker, others)
        if choice is None:
            return None
        return choice.queue.take(worker.name, {sharer.name for sharer in choice.sharers})

    def put_back(self, task: Task, *, front: bool = True) -> None:
        """Have ``task`` wait, before everything else of its model (or of all, in a fixed order) or after it."""
        experiment = task.experiment
        point = experiment.config_hash
        if point not in self._of_point:
            self._of_point[point] = (need_of(experiment.config), self._estimates.key(experiment))
        address = self._of_point[point]
        if front:
            self._first -= 1
        else:
            self._last += 1
        position = self._first if front else self._last
        self._queue(address).put(task, position, first=front and not self.order_is_fixed)

    def remove(self, predicate: Callable[[Task], bool]) -> list[Task]:
        """Take out and return every task of which ``predicate`` is true: pruned, or no longer possible."""
        return [task for queue in self._queues.values() for task in queue.remove(predicate)]

    def waiting(self) -> Mapping[Need, Waiting]:
        """What waits, by what it needs; needs of which nothing waits are left out."""
        self._learn()
        found: dict[Need, Waiting] = {}
        for (need, _), queue in self._queues.items():
            if not len(queue):
                continue
            position = queue.position if isinstance(queue, InOrder) else None
            before = found.get(need, Waiting(0, 0.0, position))
            if position is not None and before.position is not None:
                position = min(position, before.position)
            found[need] = Waiting(before.tasks + len(queue), before.work_s + queue.work_s, position)
        return found

    def _choice(self, worker: WorkerView, others: Sequence[WorkerView]) -> Choice | None:
        """What it has loaded, which is most cases and soon found, or what it had better turn to."""
        loaded = choices(worker, others, self._of_model.get(worker.model or "", ()))
        if loaded:
            return min(loaded, key=lambda each: each.freedom)
        return choose(worker, others, choices(worker, others, self._queues.values()))

    def _queue(self, address: tuple[Need, str]) -> ModelQueue:
        if address not in self._queues:
            if self.order_is_fixed:
                self._queues[address] = self._in_order[address] = InOrder(*address, self._estimates)
            else:
                self._queues[address] = self._make(*address, self._estimates)
            self._of_model.setdefault(address[1], []).append(self._queues[address])
        return self._queues[address]

    def _learn(self) -> None:
        """Take over what has been recorded since the last look."""
        for point in self._estimates.recorded[self._learnt :]:
            if point in self._of_point:
                self._queues[self._of_point[point]].learn(point)
        self._learnt = len(self._estimates.recorded)
