"""A sweep gone through in virtual time: what a schedule makes of given durations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from heapq import heapify, heappop, heappush
from operator import eq
from typing import NamedTuple

from llem_sweep.config.sweep import ExecutionConfig
from llem_sweep.execution.scheduling.schedule import Schedule
from llem_sweep.execution.scheduling.tasks import FixedView, Task
from llem_sweep.plan.estimates import Estimates
from llem_sweep.plan.forecast import seats
from llem_sweep.plan.need import Need, need_of
from llem_sweep.plan.types import ClusterShape, PlannedExperiment

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
        """When it is over."""
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
    schedule: Schedule, workers: Sequence[FixedView], estimates: Estimates, took_s: Seconds, load_s: Seconds
) -> Rehearsal:
    """Go through ``schedule`` on ``workers``, which stay as they are but for their models.

    Workers that can run the same had better share their ``fits``: of those that are idle, only one is asked.

    A task takes ``took_s``, and ``load_s`` before it where its model isn't loaded. What has run is recorded in
    ``estimates``, as in a real sweep.
    """
    run = Run(schedule, workers, estimates, took_s, load_s)
    return Rehearsal(tuple(turn for turn in run.steps() if turn is not None), run.left)


def expected_runs(
    experiments: Sequence[PlannedExperiment],
    cluster: ClusterShape,
    execution: ExecutionConfig,
    estimates: Estimates,
) -> dict[Need, tuple[float, int]]:
    """Makespan in seconds and loads of ``experiments`` on ``cluster`` with the times expected, by need."""
    groups: dict[Need, list[PlannedExperiment]] = {}
    for experiment in experiments:
        groups.setdefault(need_of(experiment.config), []).append(experiment)
    found = {}
    for need, group in groups.items():
        fits = partial(eq, need)
        workers = [
            FixedView(f"{node}/{index}", fits, None)
            for index, node in enumerate(seats(need, cluster, execution))
        ]
        # What is recorded here has not been measured: it must not reach the estimates of the sweep.
        own = estimates.fresh()
        done = rehearse(
            Schedule([Task(each, 1) for each in group], execution, own),
            workers,
            own,
            lambda each: estimates.duration_s(each) + execution.experiment_gap_seconds,
            estimates.load_s,
        )
        found[need] = (done.makespan_s, done.loads)
    return found


class Run:
    """A rehearsal under way, to be gone through at any pace."""

    def __init__(
        self,
        schedule: Schedule,
        workers: Sequence[FixedView],
        estimates: Estimates,
        took_s: Seconds,
        load_s: Seconds,
    ) -> None:
        """As for :func:`rehearse`. Workers that aren't free yet get their first task when they are."""
        self._schedule = schedule
        self._estimates = estimates
        self._took_s, self._load_s = took_s, load_s
        self._seats = {worker.name: _Seat(worker, self) for worker in workers}
        self._ends = [(worker.free_in_s, worker.name) for worker in workers if worker.free_in_s > 0]
        heapify(self._ends)
        self.now_s = 0.0

    @property
    def left(self) -> int:
        """Tasks that no worker has taken."""
        return len(self._schedule)

    def steps(self) -> Iterator[Turn | None]:
        """Each task as it ends, at ``now_s``; None after any other step, so that each takes next to no time."""
        yield from self._dispatch()
        while self._ends:
            self.now_s, name = heappop(self._ends)
            seat = self._seats[name]
            turn, seat.turn, seat.busy_until_s = seat.turn, None, 0.0
            if turn is not None:
                self._estimates.record(turn.experiment, turn.took_s, turn.load_s)
            yield turn
            yield from self._dispatch()

    def _dispatch(self) -> Iterator[None]:
        refused: set[tuple[object, str | None]] = set()
        for seat in self._seats.values():
            # Workers that differ in nothing but their names get the same answer: of many idle ones, one is asked.
            if seat.busy_until_s > self.now_s or seat.turn is not None or (seat.fits, seat.model) in refused:
                continue
            task = self._schedule.take(seat, [other for other in self._seats.values() if other is not seat])
            if task is not None:
                self._begin(seat, task.experiment)
            else:
                refused.add((seat.fits, seat.model))
            yield

    def _begin(self, seat: _Seat, experiment: PlannedExperiment) -> None:
        key = self._estimates.key(experiment)
        load_s = self._load_s(experiment) if seat.model != key else None
        seat.model = key
        seat.turn = turn = Turn(seat.name, experiment, self.now_s, load_s, self._took_s(experiment))
        heappush(self._ends, (turn.end_s, seat.name))

    def rest_s(self, turn: Turn) -> float:
        """What is expected to be left of ``turn`` now."""
        elapsed_s, loads = self.now_s - turn.begun_s, turn.load_s is not None
        return self._estimates.rest_s(turn.experiment, elapsed_s, loads=loads)


class _Seat:
    """A worker as it is whenever the schedule asks: most choices look at little of most workers."""

    __slots__ = ("_run", "busy_until_s", "fits", "model", "name", "turn")

    def __init__(self, worker: FixedView, run: Run) -> None:
        self.name, self.fits, self.model, self.busy_until_s = worker
        self.turn: Turn | None = None
        self._run = run

    @property
    def free_in_s(self) -> float:
        if self.turn is not None:
            return self._run.rest_s(self.turn)
        return max(0.0, self.busy_until_s - self._run.now_s)
