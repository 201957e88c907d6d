"""Who has what to do: the tasks on workers, what each worker has loaded, and what an idle one does next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from llem_sweep.clock import Clock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.sweep import ExecutionConfig
from llem_sweep.execution.crew import Crew
from llem_sweep.execution.fleet import Fleet, Post
from llem_sweep.execution.nodes import Nodes
from llem_sweep.execution.pool import Finished
from llem_sweep.execution.scheduling.schedule import Schedule, Task, WorkerView
from llem_sweep.plan.efficiency import TimedRun
from llem_sweep.plan.need import Need, need_of
from llem_sweep.plan.types import PlannedExperiment


class Flight(NamedTuple):
    """A task on a worker."""

    task: Task
    since_s: float
    loads: bool
    """Whether its model has to be loaded first."""


@dataclass(frozen=True, slots=True)
class _LiveView:
    """A worker as it is whenever it is asked for: most choices look at little of most workers."""

    name: str
    model: str | None
    post: Post
    fleet: Fleet
    rest_s: Callable[[str], float]

    @property
    def free_in_s(self) -> float:
        return self.rest_s(self.name)

    def fits(self, need: Need) -> bool:
        return self.fleet.fits(self.post, need)


class Assignments:
    """One task at most on each worker; the schedule says which, the configuration after what gap."""

    def __init__(
        self, schedule: Schedule, crew: Crew, nodes: Nodes, execution: ExecutionConfig, clock: Clock
    ) -> None:
        self._schedule = schedule
        self._crew = crew
        self._nodes = nodes
        self._execution = execution
        self._clock = clock
        self.flights: dict[str, Flight] = {}
        self._loaded: dict[str, str] = {}
        """What each worker has loaded, or is loading."""
        self._last_cycle: dict[str, int] = {}
        self._pausing: dict[str, Task] = {}
        """Tasks of idle workers that keep a gap before them."""
        self._refused: set[tuple[object, ...]] = set()
        """Kinds of worker for which there was nothing to do, and isn't until something happens."""

    @property
    def waits(self) -> bool:
        """Whether any task is still to be begun."""
        return bool(len(self._schedule) or self._pausing)

    def to_come(self) -> dict[Need, list[Task]]:
        """Tasks that are still to be begun, by what they need; those that keep a gap first."""
        found: dict[Need, list[Task]] = {}
        for task in self._pausing.values():
            found.setdefault(need_of(task.experiment.config), []).append(task)
        for need, tasks in self._schedule.tasks().items():
            found.setdefault(need, []).extend(tasks)
        return found

    def loaded(self, worker: str) -> str | None:
        """Load key of what a worker has loaded, or is loading; None for nothing."""
        return self._loaded.get(worker)

    def running(self) -> Mapping[str, PlannedExperiment]:
        """The experiment on each worker that has one."""
        return {worker: flight.task.experiment for worker, flight in self.flights.items()}

    def gap_s(self, otherwise_s: float) -> float:
        """Until the next gap between two experiments is over, where one is kept."""
        now_s = self._clock.monotonic()
        gaps_s = (self._due_s(name, self._pausing.get(name)) - now_s for name in self._crew.idle)
        return min((gap_s for gap_s in gaps_s if gap_s > 0), default=otherwise_s)

    def next_for(self, worker: str) -> Task | None:
        """What an idle worker is to begin now; None when it had better wait, or has to."""
        now_s = self._clock.monotonic()
        if self._due_s(worker) > now_s or not self._nodes.may_begin(worker):
            return None
        task = self._pausing.pop(worker, None) or self._take(worker)
        if task is not None and self._due_s(worker, task) > now_s:
            self._pausing[worker] = task
            return None
        return task

    def begin(self, worker: str, task: Task) -> None:
        """``task`` is on ``worker`` from now on."""
        key = self._schedule.load_key(task)
        self._crew.begin(worker)
        self.flights[worker] = Flight(task, self._clock.monotonic(), loads=self._loaded.get(worker) != key)
        self._last_cycle[worker] = task.experiment.cycle
        self._loaded[worker] = key
        self._nodes.begin(worker, task.experiment.experiment_id)

    def land(self, worker: str) -> tuple[Flight, tuple[str, ...]]:
        """The task that was on a worker, which is on it no longer, and whom it met on the node."""
        return self.flights.pop(worker), self._nodes.end(worker)

    def learn(self, flight: Flight, finished: Finished) -> TimedRun:
        """Correct what is expected by what a completed task took."""
        took_s, load_s = finished.took_s, finished.loading_s if flight.loads else None
        self._schedule.record(flight.task, took_s, load_s)
        boards = max(1, need_of(flight.task.experiment.config).boards)
        return TimedRun(self._schedule.load_key(flight.task), boards, took_s, load_s, finished.worker)

    def reconsider(self) -> None:
        """Something has happened: whoever had nothing to do is asked again."""
        self._refused.clear()

    def let_go(self, worker: str) -> None:
        """A worker has no model loaded any more."""
        self._loaded.pop(worker, None)

    def forget(self, worker: str) -> None:
        """Whoever comes by this name again has nothing loaded and nothing behind it."""
        self.let_go(worker)
        self._last_cycle.pop(worker, None)
        if (task := self._pausing.pop(worker, None)) is not None:
            self._schedule.put_back(task)

    def rest_s(self, worker: str) -> float:
        """Estimated rest of what a worker runs; 0 when it runs nothing."""
        flight = self.flights.get(worker)
        if flight is None:
            return 0.0
        spent_s = self._clock.monotonic() - flight.since_s
        return self._schedule.rest_s(flight.task, spent_s, loads=flight.loads)

    def upcoming(self, node: str) -> Iterator[ExperimentConfig]:
        """What the workers of a node will probably load next."""
        for name in self._crew.on(node):
            if (coming := self._schedule.coming(self._view(name), self._others(name))) is not None:
                yield coming.config

    def _take(self, worker: str) -> Task | None:
        """The task for an idle worker; where its boards are being gathered, only what is over in time.

        Workers that differ in nothing but their names get the same answer: of many idle ones, one is asked.
        """
        seat, within_s = self._crew.fleet.posts[worker].seat, self._crew.within_s(worker)
        kind = (seat.node, seat.need, self._loaded.get(worker), within_s)
        if kind in self._refused:
            return None
        task = self._schedule.take(self._view(worker), self._others(worker), within_s=within_s)
        if task is None:
            self._refused.add(kind)
        return task

    def _others(self, worker: str) -> list[WorkerView]:
        return [self._view(name) for name in self._crew.fleet.posts if name != worker]

    def _view(self, worker: str) -> WorkerView:
        post = self._crew.fleet.posts[worker]
        return _LiveView(worker, self._loaded.get(worker), post, self._crew.fleet, self.rest_s)

    def _due_s(self, worker: str, task: Task | None = None) -> float:
        """When an idle worker may take a task: after the gaps that the configuration asks for."""
        last, since_s = self._last_cycle.get(worker), self._crew.idle_since_s(worker)
        if last is None:
            return since_s
        gap_s = self._execution.experiment_gap_seconds
        if task is not None and last != task.experiment.cycle:
            gap_s = max(gap_s, self._execution.cycle_gap_seconds)
        return since_s + gap_s
