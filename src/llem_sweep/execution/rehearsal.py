"""A sweep gone through in virtual time: what a schedule makes of given durations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

from llem_sweep.execution.schedule import Schedule
from llem_sweep.execution.tasks import Task, WorkerView
from llem_sweep.plan.estimates import Estimates
from llem_sweep.plan.types import PlannedExperiment

Seconds = Callable[[PlannedExperiment], float]


class Turn(NamedTuple):
    """One task on a worker."""

    worker: str
    experiment: PlannedExperiment
    begun_s: float
    load_s: float | None
    """None where the model was loaded already."""
    took_s: float
    """Loading not counted."""

    @property
    def end_s(self) -> float:
        return self.begun_s + (self.load_s or 0.0) + self.took_s


class Rehearsal(NamedTuple):
    """What came of it."""

    turns: tuple[Turn, ...]
    """In the order in which they ended."""
    left: int
    """Tasks that no worker took."""

    @property
    def makespan_s(self) -> float:
        """From the start to the end of the last task."""
        return max((turn.end_s for turn in self.turns), default=0.0)

    @property
    def loads(self) -> int:
        """How often a model was brought to a worker."""
        return sum(turn.load_s is not None for turn in self.turns)


def rehearse(
    schedule: Schedule,
    workers: Sequence[WorkerView],
    estimates: Estimates,
    duration_s: Seconds,
    load_s: Seconds,
    *,
    learns: bool = True,
) -> Rehearsal:
    """Run ``schedule`` dry on ``workers``, which stay; a task takes ``duration_s``, and ``load_s`` before it where its
    model isn't loaded yet.

    With ``learns`` what has run is recorded in ``estimates``, as in a real sweep.
    """
    models: dict[str, str | None] = {worker.name: worker.model for worker in workers}
    running: dict[str, Turn] = {}
    ends: list[tuple[float, str]] = []
    turns: list[Turn] = []
    now_s = 0.0

    def view(worker: WorkerView) -> WorkerView:
        turn = running.get(worker.name)
        rest_s = 0.0
        if turn is not None:
            loads = turn.load_s is not None
            rest_s = estimates.rest_s(turn.experiment, now_s - turn.begun_s, loads=loads)
        return worker._replace(model=models[worker.name], free_in_s=rest_s)

    def dispatch() -> None:
        for worker in workers:
            if worker.name in running:
                continue
            views = [view(other) for other in workers if other.name != worker.name]
            task: Task | None = schedule.take(view(worker), views)
            if task is None:
                continue
            key = estimates.key(task.experiment)
            loading_s = None if models[worker.name] == key else load_s(task.experiment)
            models[worker.name] = key
            turn = Turn(worker.name, task.experiment, now_s, loading_s, duration_s(task.experiment))
            running[worker.name] = turn
            heappush(ends, (turn.end_s, worker.name))

    dispatch()
    while ends:
        now_s, name = heappop(ends)
        turn = running.pop(name)
        turns.append(turn)
        if learns:
            estimates.record(turn.experiment, turn.took_s, turn.load_s)
        dispatch()
    return Rehearsal(tuple(turns), len(schedule))
