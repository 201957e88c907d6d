"""The orders in which a worker takes the tasks of one model: as planned, or the longest first."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from heapq import heappop, heappush

from llem_sweep.execution.scheduling.model_queue import Entry, ModelQueue
from llem_sweep.execution.scheduling.tasks import Task
from llem_sweep.plan.estimates import Estimates
from llem_sweep.plan.need import Need
from llem_sweep.plan.types import PlannedExperiment


class InOrder(ModelQueue):
    """The planned order, whatever is loaded where: one queue for all models of a need."""

    def __init__(self, need: Need, key: str, estimates: Estimates) -> None:
        super().__init__(need, key, estimates)
        self._heap: list[tuple[int, str]] = []

    @property
    def position(self) -> int:
        """Position of the first task; the queue mustn't be empty."""
        return self._head()[0]

    @property
    def sample(self) -> PlannedExperiment:
        return self._entries[self._head()[1]].task.experiment

    def positions(self) -> Iterator[tuple[int, Need]]:
        """Position and need of every task in order; each costs a logarithm of those before it."""
        ahead = [(self._heap[0], 0)] if self._heap else []
        while ahead:
            (position, key), index = heappop(ahead)
            if key in self._entries and self._entries[key].position == position:
                yield position, self.need
            for child in (2 * index + 1, 2 * index + 2):
                if child < len(self._heap):
                    heappush(ahead, (self._heap[child], child))

    def take_within(self, limit_s: float) -> Task | None:
        """The first task, if it is expected to be over in time with its load."""
        task = self._entries[self._head()[1]].task
        needed_s = self._estimates.duration_s(task.experiment) + self._estimates.load_s(task.experiment)
        return self._leave(task.experiment.experiment_id).task if needed_s <= limit_s else None

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

    @property
    def longest_s(self) -> float:
        return self._length_s(self._longest())

    def _next(self, worker: str, sharers: Collection[str]) -> str:
        return self._longest()

    def _longest(self) -> str:
        heads = [head[2] for heap in (self._known, self._unknown) if (head := self._head(heap)) is not None]
        return max(heads, key=self._length_s)

    def _length_s(self, key: str) -> float:
        entry = self._entries[key]
        return entry.fixed_s + entry.work_s * self.ratio

    def _head(self, heap: list[tuple[float, int, str]]) -> tuple[float, int, str] | None:
        """The longest of ``heap`` that still waits and hasn't been sorted in anew."""
        while heap:
            length_s, _, key = heap[0]
            entry = self._entries.get(key)
            in_place = entry is not None and (heap is self._unknown) == bool(entry.work_s)
            if entry is not None and in_place and -length_s == entry.fixed_s + entry.work_s:
                return heap[0]
            heappop(heap)
        return None
