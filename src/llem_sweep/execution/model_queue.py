"""Tasks that wait for one model on one kind of worker, and in which order a worker takes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Iterator
from heapq import heappop, heappush
from typing import NamedTuple

from llem_sweep.execution.tasks import Task
from llem_sweep.plan.estimates import Estimates
from llem_sweep.plan.need import Need


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
        self.tasks += 1
        self._fixed_s += entry.fixed_s
        self._work_s += entry.work_s

    def drop(self, entry: Entry) -> None:
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
        return self._estimates.ratio(self.key)

    @property
    def load_s(self) -> float:
        """Expected seconds of bringing the model to a worker; the queue mustn't be empty."""
        return self._estimates.load_s(next(iter(self._entries.values())).task.experiment)

    def durations_s(self) -> list[float]:
        """Expected seconds of each waiting task, longest first."""
        ratio = self.ratio
        return sorted((e.fixed_s + e.work_s * ratio for e in self._entries.values()), reverse=True)

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


class LongestFirst(ModelQueue):
    """The longest point first; a point's cycles in order.

    Points that have run and points that haven't are heaps of their own: what is expected of the latter changes
    with every experiment, but their order among themselves doesn't.
    """

    def __init__(self, need: Need, key: str, estimates: Estimates) -> None:
        super().__init__(need, key, estimates)
        self._known: list[tuple[float, int, str]] = []
        self._unknown: list[tuple[float, int, str]] = []

    def _enter(self, entry: Entry) -> None:
        # Between points of one model only their own work differs: the fixed part goes into the order as it is.
        heap = self._unknown if entry.work_s else self._known
        length_s = entry.fixed_s + entry.work_s
        heappush(heap, (-length_s, entry.position, entry.task.experiment.experiment_id))

    def _replace(self, key: str, entry: Entry) -> None:
        super()._replace(key, entry)
        self._enter(entry)

    def _next(self, worker: str, sharers: Collection[str]) -> str:
        known, unknown = self._head(self._known), self._head(self._unknown)
        if known is None or unknown is None:
            return self._id(known or unknown)
        entry = self._entries[unknown[2]]
        return known[2] if -known[0] >= entry.fixed_s + entry.work_s * self.ratio else unknown[2]

    @staticmethod
    def _id(head: tuple[float, int, str] | None) -> str:
        if head is None:
            raise IndexError("nothing waits for this model")
        return head[2]

    def _head(self, heap: list[tuple[float, int, str]]) -> tuple[float, int, str] | None:
        """The longest of ``heap`` that still waits and hasn't been sorted in anew."""
        while heap:
            length_s, _, key = heap[0]
            entry = self._entries.get(key)
            if entry is not None and (heap is self._unknown) == bool(entry.work_s):
                if -length_s == entry.fixed_s + entry.work_s:
                    return heap[0]
            heappop(heap)
        return None


class Blocked(ModelQueue):
    """Points are divided among the workers that have the model, and all cycles of a point stay on one.

    A worker goes through the points of a cycle in their planned order, then through the next cycle. Points become a
    worker's as it comes to them; one that has run out takes over a share from the worker that has most left.
    """

    def __init__(self, need: Need, key: str, estimates: Estimates) -> None:
        super().__init__(need, key, estimates)
        self._owner: dict[str, str] = {}
        self._free: list[tuple[int, int, str]] = []
        self._owned: dict[str, list[tuple[int, int, str]]] = {}
        self._shares: dict[str, Work] = {}

    def _enter(self, entry: Entry) -> None:
        owner = self._owner.get(entry.task.experiment.config_hash)
        if owner is not None:
            self._shares[owner].add(entry)
        heap = self._free if owner is None else self._owned[owner]
        heappush(heap, _place(entry))

    def _replace(self, key: str, entry: Entry) -> None:
        owner = self._owner.get(entry.task.experiment.config_hash)
        if owner is not None:
            self._shares[owner].drop(self._entries[key])
            self._shares[owner].add(entry)
        super()._replace(key, entry)

    def _leave(self, key: str) -> Entry:
        entry = super()._leave(key)
        point = entry.task.experiment.config_hash
        owner = self._owner.get(point)
        if owner is not None:
            self._shares[owner].drop(entry)
            if point not in self._points:
                del self._owner[point]
        return entry

    def take(self, worker: str, sharers: Collection[str]) -> Task:
        for gone in self._shares.keys() - {worker, *sharers}:
            for point in list(self._points_of(gone)):
                self._give(point, None)
            del self._shares[gone], self._owned[gone]
        return super().take(worker, sharers)

    def _next(self, worker: str, sharers: Collection[str]) -> str:
        if worker not in self._shares:
            self._shares[worker], self._owned[worker] = Work(), []
        own, free = self._head(self._owned[worker], worker), self._head(self._free, None)
        if own is None and free is None:
            self._take_over(worker)
            own = self._head(self._owned[worker], worker)
        if own is None or (free is not None and free < own):
            assert free is not None, "the queue isn't empty"
            self._give(self._entries[free[2]].task.experiment.config_hash, worker)
            return free[2]
        return own[2]

    def _take_over(self, worker: str) -> None:
        """Take points from whoever has most left, last ones first, until this worker has its part of all."""
        ratio, shares = self.ratio, self._shares
        fair_s = self.work_s / len(shares)
        in_order: dict[str, list[str]] = {}
        while not shares[worker].tasks or shares[worker].seconds(ratio) < fair_s:
            richest = max(shares, key=lambda name: (shares[name].tasks > 0, shares[name].seconds(ratio)))
            if richest == worker:
                return
            if richest not in in_order:
                in_order[richest] = sorted(self._points_of(richest), key=self._first_place)
            point = in_order[richest].pop()
            moved_s = sum(e.fixed_s + e.work_s * ratio for e in self._waiting(point))
            mine_s = shares[worker].seconds(ratio)
            if shares[worker].tasks and mine_s + moved_s > shares[richest].seconds(ratio):
                return
            self._give(point, worker)

    def _give(self, point: str, worker: str | None) -> None:
        """Make ``point`` that of ``worker``, or of nobody."""
        owner = self._owner.pop(point, None)
        if worker is not None:
            self._owner[point] = worker
        heap = self._free if worker is None else self._owned[worker]
        for entry in self._waiting(point):
            if owner is not None:
                self._shares[owner].drop(entry)
            if worker is not None:
                self._shares[worker].add(entry)
            heappush(heap, _place(entry))

    def _points_of(self, worker: str) -> Iterator[str]:
        return (point for point, owner in self._owner.items() if owner == worker)

    def _waiting(self, point: str) -> Iterator[Entry]:
        return (self._entries[key] for key in self._points.get(point, ()))

    def _first_place(self, point: str) -> tuple[int, int, str]:
        return min(_place(entry) for entry in self._waiting(point))

    def _head(self, heap: list[tuple[int, int, str]], owner: str | None) -> tuple[int, int, str] | None:
        """The first of ``heap`` that still waits and is ``owner``'s."""
        while heap:
            entry = self._entries.get(heap[0][2])
            if entry is not None and self._owner.get(entry.task.experiment.config_hash) == owner:
                return heap[0]
            heappop(heap)
        return None


def _place(entry: Entry) -> tuple[int, int, str]:
    return entry.task.experiment.cycle, entry.position, entry.task.experiment.experiment_id


class InOrder(ModelQueue):
    """The planned order, whatever is loaded where."""

    def __init__(self, need: Need, key: str, estimates: Estimates) -> None:
        super().__init__(need, key, estimates)
        self._heap: list[tuple[int, str]] = []

    @property
    def position(self) -> int:
        """Position of the first task; the queue mustn't be empty."""
        return self._head()[0]

    def _enter(self, entry: Entry) -> None:
        heappush(self._heap, (entry.position, entry.task.experiment.experiment_id))

    def _next(self, worker: str, sharers: Collection[str]) -> str:
        return self._head()[1]

    def _head(self) -> tuple[int, str]:
        while True:
            entry = self._entries.get(self._heap[0][1])
            # A retry stands where it was put last.
            if entry is not None and entry.position == self._heap[0][0]:
                return self._heap[0]
            heappop(self._heap)
