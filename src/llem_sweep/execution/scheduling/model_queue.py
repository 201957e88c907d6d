"""Tasks that wait for one model on one kind of worker, and in which order a worker takes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from llem_sweep.execution.scheduling.tasks import Task
from llem_sweep.plan.estimates import Estimates
from llem_sweep.plan.need import Need
from llem_sweep.plan.types import PlannedExperiment


class Entry(NamedTuple):
    """A waiting task, with what is expected of it."""

    task: Task
    position: int
    """In the planned order."""
    fixed_s: float
    work_s: float
    """Before any correction; 0 once the point is known."""


class Work:
    """Expected seconds of a changing set of entries, kept as a sum."""

    def __init__(self) -> None:
        self.tasks = 0
        self._fixed_s = self._work_s = 0.0

    def add(self, entry: Entry) -> None:
        """Count ``entry``."""
        self.tasks += 1
        self._fixed_s += entry.fixed_s
        self._work_s += entry.work_s

    def drop(self, entry: Entry) -> None:
        """Count ``entry`` no longer; it must be as it was when it was added."""
        self.tasks -= 1
        self._fixed_s -= entry.fixed_s
        self._work_s -= entry.work_s

    def seconds(self, ratio: float) -> float:
        """The sum, with the correction of the model as it is now."""
        return max(0.0, self._fixed_s + self._work_s * ratio) if self.tasks else 0.0


class ModelQueue(ABC):
    """Waiting tasks with one load key and one need. Every step but a division among workers is O(log n)."""

    def __init__(self, need: Need, key: str, estimates: Estimates) -> None:
        self.need = need
        self.key = key
        self._estimates = estimates
        self._entries: dict[str, Entry] = {}
        self._points: dict[str, set[str]] = {}
        """Ids of the tasks that wait, by point."""
        self._retries: deque[str] = deque()
        self._work = Work()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def work_s(self) -> float:
        """Expected seconds of all that waits, on one worker."""
        return self._work.seconds(self.ratio)

    @property
    def ratio(self) -> float:
        """What work of this model takes, over what was expected of it."""
        return self._estimates.ratio(self.key)

    @property
    def load_s(self) -> float:
        """Expected seconds of bringing the model to a worker; the queue mustn't be empty."""
        return self._estimates.load_s(self.sample)

    @property
    def sample(self) -> PlannedExperiment:
        """Some experiment that waits, and of a fixed order the first; the queue mustn't be empty."""
        return next(iter(self._entries.values())).task.experiment

    def entries(self) -> Iterable[Entry]:
        """What waits, in no order."""
        return self._entries.values()

    def durations_s(self) -> list[float]:
        """Expected seconds of each waiting task, longest first."""
        ratio = self.ratio
        return sorted((e.fixed_s + e.work_s * ratio for e in self._entries.values()), reverse=True)

    @property
    def longest_s(self) -> float:
        """Expected seconds of what has to run in one piece: a task here, of the mean length."""
        return self.work_s / len(self)

    def put(self, task: Task, position: int, *, first: bool = False) -> None:
        """Have ``task`` wait; ``first`` puts it before everything else."""
        experiment = task.experiment
        measured_s = self._estimates.measured_s(experiment.config_hash)
        prior = self._estimates.prior(experiment)
        fixed_s, work_s = (prior.fixed_s, prior.work_s) if measured_s is None else (measured_s, 0.0)
        entry = Entry(task, position, fixed_s, work_s)
        self._entries[experiment.experiment_id] = entry
        self._points.setdefault(experiment.config_hash, set()).add(experiment.experiment_id)
        self._work.add(entry)
        if first:
            self._retries.appendleft(experiment.experiment_id)
        self._enter(entry)

    def take(self, worker: str, sharers: Collection[str]) -> Task:
        """The task that ``worker`` runs next; ``sharers`` are the others that have the model. Not when empty."""
        while self._retries:
            if (retry := self._retries.popleft()) in self._entries:
                return self._leave(retry).task
        return self._leave(self._next(worker, sharers)).task

    def take_within(self, limit_s: float) -> Task | None:
        """The longest task that is expected to be over within ``limit_s`` with the model loaded. O(n)."""
        ratio = self.ratio
        lengths_s = ((e.fixed_s + e.work_s * ratio, key) for key, e in self._entries.items())
        short = max((each for each in lengths_s if each[0] <= limit_s), default=None)
        return self._leave(short[1]).task if short is not None else None

    def remove(self, predicate: Callable[[Task], bool]) -> list[Task]:
        """Take out every task of which ``predicate`` is true."""
        gone = [key for key, entry in self._entries.items() if predicate(entry.task)]
        return [self._leave(key).task for key in gone]

    def learn(self, point: str) -> None:
        """A point's length is known now, or better than before."""
        measured_s = self._estimates.measured_s(point)
        for key in self._points.get(point, ()):
            if measured_s is not None:
                self._replace(key, self._entries[key]._replace(fixed_s=measured_s, work_s=0.0))

    def _replace(self, key: str, entry: Entry) -> None:
        self._work.drop(self._entries[key])
        self._work.add(entry)
        self._entries[key] = entry

    def _leave(self, key: str) -> Entry:
        entry = self._entries.pop(key)
        self._work.drop(entry)
        point = entry.task.experiment.config_hash
        self._points[point].discard(key)
        if not self._points[point]:
            del self._points[point]
        return entry

    @abstractmethod
    def _enter(self, entry: Entry) -> None:
        """Sort ``entry`` in."""

    @abstractmethod
    def _next(self, worker: str, sharers: Collection[str]) -> str:
        """Id of what ``worker`` runs next; it is left among the entries."""
