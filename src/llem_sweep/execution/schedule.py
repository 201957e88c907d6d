"""Stand-in until the scheduling policy is merged."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from llem_sweep.plan.need import Need, need_of
from llem_sweep.plan.types import PlannedExperiment


class Task(NamedTuple):
    """An experiment that waits for a worker."""

    experiment: PlannedExperiment
    attempt: int


class WorkerView(NamedTuple):
    name: str
    node: str
    fits: Callable[[Need], bool]
    model: str | None
    free_in_s: float


class Schedule:
    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = deque(tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def turns(self) -> Iterator[Need]:
        return (need_of(task.experiment.config) for task in self._tasks)

    def take(
        self, worker: WorkerView, others: Sequence[WorkerView], *, within_s: float | None = None
    ) -> Task | None:
        for task in self._tasks:
            if worker.fits(need_of(task.experiment.config)):
                if within_s is not None:
                    return None
                self._tasks.remove(task)
                return task
        return None

    def put_back(self, task: Task) -> None:
        self._tasks.appendleft(task)

    def remove(self, which: Callable[[Task], bool]) -> list[Task]:
        gone = [task for task in self._tasks if which(task)]
        self._tasks = deque(task for task in self._tasks if not which(task))
        return gone

    def waiting(self) -> Counter[Need]:
        return Counter(self.turns())

    def load_key(self, task: Task) -> str:
        return task.experiment.config.model

    def rest_s(self, task: Task, spent_s: float) -> float:
        return 0.0
