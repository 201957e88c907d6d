"""The driver: a sequential loop that handles one event per step.

Everything here happens in one thread. The pool does the waiting; the sink has persisted an outcome before the
driver counts it. An experiment leaves the queue for good only when the sink has settled it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from llem_sweep.clock import Clock
from llem_sweep.config.sweep import ExecutionConfig
from llem_sweep.errors import ClusterError
from llem_sweep.execution.interrupts import Interrupts
from llem_sweep.execution.nodes import Nodes
from llem_sweep.execution.pool import Event, Finished, Lost, Ready, Unfit, WorkerPool
from llem_sweep.execution.progress import WorkerState
from llem_sweep.execution.tally import Tally, label
from llem_sweep.harness.derived import with_neighbours
from llem_sweep.plan.timeouts import default_timeout_s
from llem_sweep.plan.types import PlannedExperiment
from llem_sweep.results.outcome import Completed, Failed, FailureKind, Outcome, Stage
from llem_sweep.results.verdict import contaminations

TURN_S = 0.25
"""Longest wait for an event: how often limits are checked and the view is told."""


class Sink(Protocol):
    """Where outcomes are persisted."""

    def commit(
        self, experiment: PlannedExperiment, attempt: int, outcome: Outcome, *, final: bool, worker: str
    ) -> Outcome:
        """Persist ``outcome`` and return what really is persisted: a failed save is a Failed."""

    def attempts(self) -> Mapping[str, int]:
        """Attempts persisted so far, by experiment id."""

    def journal(self, event: str, **fields: object) -> None:
        """Note a transition."""


class Ending(StrEnum):
    """How a run came to its end."""

    FINISHED = "finished"
    """Everything is settled."""
    INTERRUPTED = "interrupted"
    """The user stopped it."""
    UNPUBLISHABLE = "unpublishable"
    """A result wasn't publishable, as it had to be: nothing more was begun."""


class Task(NamedTuple):
    """An experiment and which attempt at it this is."""

    experiment: PlannedExperiment
    attempt: int


class Flight(NamedTuple):
    """A task on a worker."""

    task: Task
    since_s: float


class Driver:
    """Gives tasks to free workers until none are left, one in flight per worker."""

    def __init__(
        self,
        tasks: Sequence[Task],
        pool: WorkerPool,
        sink: Sink,
        execution: ExecutionConfig,
        clock: Clock,
        tally: Tally,
        interrupts: Interrupts,
        *,
        require_publishable: bool = False,
    ) -> None:
        self._queue = deque(tasks)
        self._pool = pool
        self._sink = sink
        self._execution = execution
        self._clock = clock
        self._tally = tally
        self._interrupts = interrupts
        self._flights: dict[str, Flight] = {}
        self._idle_since_s: dict[str, float] = {}
        """Workers that are ready and have no task, and since when."""
        self._last_cycle: dict[str, int] = {}
        self._unfit: dict[str, Failed] = {}
        self._nodes = Nodes(exclusive=execution.exclusive == "node")
        self._require_publishable = require_publishable
        self._refused = False
        """Whether a result came that isn't publishable as it had to be."""

    def run(self) -> Ending:
        """Run until every task is settled, the user has stopped the sweep, or a result isn't as it had to be.

        Raises ClusterError when no worker is left to run what remains.
        """
        while self._flights or (self._queue and not self._stopping):
            self._dispatch()
            event = self._pool.next_event(self._patience_s())
            if event is not None:
                self._handle(event)
            self._enforce_limits()
            self._show()
            if self._interrupts.past_grace(self._execution.grace_seconds):
                self._cut()
                return Ending.INTERRUPTED
        self._show(last=True)
        if self._refused:
            return Ending.UNPUBLISHABLE
        return Ending.INTERRUPTED if self._queue else Ending.FINISHED

    @property
    def _stopping(self) -> bool:
        return self._interrupts.stopping or self._refused

    def _show(self, *, last: bool = False) -> None:
        self._tally.show(self._pool.states(), self._running(), self._stopping, last=last)

    def _running(self) -> Mapping[str, PlannedExperiment]:
        return {worker: flight.task.experiment for worker, flight in self._flights.items()}

    def _patience_s(self) -> float:
        if not self._queue:
            return TURN_S
        now_s = self._clock.monotonic()
        free = filter(self._nodes.may_begin, self._idle_since_s)
        return max(0.0, min([TURN_S, *(self._due_s(worker) - now_s for worker in free)]))

    def _dispatch(self) -> None:
        now_s = self._clock.monotonic()
        for worker in list(self._idle_since_s):
            if not self._queue or self._stopping:
                return
            if self._due_s(worker) > now_s or not self._nodes.may_begin(worker):
                continue
            task = self._queue.popleft()
            del self._idle_since_s[worker]
            self._flights[worker] = Flight(task, now_s)
            self._last_cycle[worker] = task.experiment.cycle
            self._nodes.begin(worker, task.experiment.experiment_id)
            self._note("dispatched", task, worker)
            self._pool.submit(worker, task.experiment, task.attempt)

    def _due_s(self, worker: str) -> float:
        """When an idle worker may take the next task: after the gaps that the configuration asks for."""
        last = self._last_cycle.get(worker)
        if last is None:
            return self._idle_since_s[worker]
        gap_s = self._execution.experiment_gap_seconds
        if last != self._queue[0].experiment.cycle:
            gap_s = max(gap_s, self._execution.cycle_gap_seconds)
        return self._idle_since_s[worker] + gap_s

    def _handle(self, event: Event) -> None:
        match event:
            case Ready(worker, report):
                self._sink.journal("worker_ready", worker=worker, boards=report.boards, uuids=report.uuids)
                self._last_cycle.pop(worker, None)
                self._nodes.seat(worker, report.node)
                self._idle_since_s[worker] = self._clock.monotonic()
            case Finished(worker, outcome):
                self._finish(worker, outcome)
            case Lost(worker, reason, log_tail):
                self._idle_since_s.pop(worker, None)
                self._sink.journal("worker_lost", worker=worker, reason=reason)
                self._tally.message(f"{worker} was lost: {reason}")
                self._retry(worker, Failed(Stage.WORKER, FailureKind.WORKER_LOST, reason, "", log_tail))
            case Unfit(worker, failure):
                self._drop(worker, failure)

    def _finish(self, worker: str, outcome: Outcome) -> None:
        flight, neighbours = self._land(worker)
        if isinstance(outcome, Completed):
            outcome = outcome._replace(result=with_neighbours(outcome.result, neighbours))
        spoiled = self._spoiled(flight.task, outcome)
        if spoiled is not None:
            self._again(flight.task, worker, spoiled)
        else:
            self._settle(flight, worker, outcome)
        if isinstance(outcome, Failed) and outcome.needs_new_worker:
            self._replace(worker, outcome.message)
        else:
            self._idle_since_s[worker] = self._clock.monotonic()

    def _land(self, worker: str) -> tuple[Flight, tuple[str, ...]]:
        """The task that was on a worker, which is on it no longer, and whom it met on the node."""
        return self._flights.pop(worker), self._nodes.end(worker)

    def _spoiled(self, task: Task, outcome: Outcome) -> Failed | None:
        """Why a completed task is to be run again, if it is: as a failure of this attempt."""
        if self._execution.on_contamination == "keep" or isinstance(outcome, Failed):
            return None
        breakdown = outcome.result.energy_breakdown
        subtracted = breakdown.baseline_kind if breakdown is not None else None
        found = contaminations(outcome.result.measurement_warnings, subtracted)
        if not found or task.attempt > self._execution.max_retries:
            return None
        listed = "; ".join(f"{warning.code.value}: {warning.message}" for warning in found)
        return Failed(Stage.RUN, FailureKind.CONTAMINATED, f"spoiled from outside: {listed}")

    def _settle(self, flight: Flight, worker: str, outcome: Outcome) -> None:
        task = flight.task
        kept = self._sink.commit(task.experiment, task.attempt, outcome, final=True, worker=worker)
        self._tally.settled(task.experiment, kept, self._clock.monotonic() - flight.since_s)
        if self._require_publishable and isinstance(kept, Completed):
            self._require(task, kept)

    def _require(self, task: Task, outcome: Completed) -> None:
        verdict = outcome.result.verdict
        if verdict is not None and verdict.publishable:
            return
        self._refused = True
        why = verdict.because[0] if verdict is not None and verdict.because else "it has no verdict"
        self._tally.message(f"not publishable, so nothing more is begun: {label(task.experiment)}: {why}")

    def _retry(self, worker: str, failure: Failed) -> None:
        """The worker is gone: its experiment goes back to the front, as often as the configuration allows."""
        if worker not in self._flights:
            return
        flight, _ = self._land(worker)
        if flight.task.attempt > self._execution.max_retries:
            self._settle(flight, worker, failure)
        else:
            self._again(flight.task, worker, failure)

    def _again(self, task: Task, worker: str, failure: Failed) -> None:
        """Put a task back to the front of the queue, its failed attempt kept."""
        self._sink.commit(task.experiment, task.attempt, failure, final=False, worker=worker)
        self._note("retry", task, worker)
        self._queue.appendleft(Task(task.experiment, task.attempt + 1))

    def _enforce_limits(self) -> None:
        states = self._pool.states()
        for worker, flight in list(self._flights.items()):
            message = self._overdue(flight, states.get(worker))
            if message is None:
                continue
            self._land(worker)
            tail = self._pool.log_tail(worker)
            self._settle(flight, worker, Failed(Stage.WORKER, FailureKind.TIMEOUT, message, "", tail))
            self._replace(worker, message)

    def _overdue(self, flight: Flight, state: WorkerState | None) -> str | None:
        """Why a flight counts as hung, if it does. ``active_s`` doesn't count loading."""
        planned = flight.task.experiment
        limit_s = self._execution.experiment_timeout_seconds or default_timeout_s(planned.config)
        if state is not None and state.experiment == planned.experiment_id:
            active_s, phase = state.active_s, str(state.phase)
        else:
            # A worker that was never heard of at this task may hang before its first sign of life.
            active_s, phase = self._clock.monotonic() - flight.since_s, "unknown"
        if active_s <= limit_s:
            return None
        return f"no result after {active_s:.0f} s without loading, limit {limit_s:g} s; phase: {phase}"

    def _replace(self, worker: str, reason: str) -> None:
        self._idle_since_s.pop(worker, None)
        self._sink.journal("worker_replaced", worker=worker, reason=reason)
        self._tally.message(f"{worker} is being replaced: {reason}")
        self._pool.replace(worker)

    def _drop(self, worker: str, failure: Failed) -> None:
        self._unfit[worker] = failure
        self._sink.journal("worker_unfit", worker=worker, reason=failure.message)
        self._tally.message(f"{worker} can't be used: {failure.message}")
        if not self._flights and not self._idle_since_s and not self._pool.states():
            reasons = "\n".join(f"  {name}: {why.message}" for name, why in self._unfit.items())
            raise ClusterError(f"no worker could be brought up:\n{reasons}")

    def _cut(self) -> None:
        """The grace is over: what still runs is left unsettled, for a resume to run again."""
        for worker, flight in self._flights.items():
            self._note("cut", flight.task, worker)

    def _note(self, event: str, task: Task, worker: str) -> None:
        self._sink.journal(
            event, experiment_id=task.experiment.experiment_id, attempt=task.attempt, worker=worker
        )
