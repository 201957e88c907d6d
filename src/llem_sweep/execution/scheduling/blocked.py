"""All cycles of a model before the next model, its points divided among the workers that have it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from heapq import heappop, heappush

from llem_sweep.execution.scheduling.model_queue import Entry, ModelQueue, Work
from llem_sweep.execution.scheduling.tasks import Task
from llem_sweep.plan.estimates import Estimates
from llem_sweep.plan.need import Need

_Place = tuple[int, int, str]
"""Cycle, position and id: lower is begun earlier."""


class Blocked(ModelQueue):
    """Points are divided among the workers that have the model, and all cycles of a point stay on one.

    A worker goes through the points of a cycle in their planned order, then through the next cycle. Points become
    a worker's as it comes to them; one that has run out takes over a share from the worker that has most left.
    """

    def __init__(self, need: Need, key: str, estimates: Estimates) -> None:
        super().__init__(need, key, estimates)
        self._owner: dict[str, str] = {}
        self._free: list[_Place] = []
        self._owned: dict[str, list[_Place]] = {}
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

    def _first_place(self, point: str) -> _Place:
        return min(_place(entry) for entry in self._waiting(point))

    def _head(self, heap: list[_Place], owner: str | None) -> _Place | None:
        """The first of ``heap`` that still waits and is ``owner``'s."""
        while heap:
            entry = self._entries.get(heap[0][2])
            if entry is not None and self._owner.get(entry.task.experiment.config_hash) == owner:
                return heap[0]
            heappop(heap)
        return None


def _place(entry: Entry) -> _Place:
    return entry.task.experiment.cycle, entry.position, entry.task.experiment.experiment_id
