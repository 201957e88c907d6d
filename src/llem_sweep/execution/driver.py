"""The driver: a sequential loop that handles one event per step.

Everything here happens in one thread. The pool does the waiting; the sink has persisted an outcome before the
driver counts it. A worker needn't wait for that: it has its next task first. An experiment leaves the schedule for
good only when the sink has settled it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from functools import partial
from typing import NamedTuple, Protocol

from llem_sweep.clock import Clock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.sweep import ExecutionConfig
from llem_sweep.execution.crew import Crew
from llem_sweep.execution.early import FailFast
from llem_sweep.execution.fetching import Fetching
from llem_sweep.execution.interrupts import Interrupts
from llem_sweep.execution.limits import overdue
from llem_sweep.execution.nodes import Nodes
from llem_sweep.execution.pool import Draining, Event, Finished, Joined, Left, Lost, Ready, Unfit, WorkerPool
from llem_sweep.execution.prefetch import FetchEnded, FetchKey
from llem_sweep.execution.retries import Retries
from llem_sweep.execution.schedule import Schedule, Task, WorkerView
from llem_sweep.execution.tally import Tally, label
from llem_sweep.harness.derived import with_neighbours
from llem_sweep.plan.efficiency import TimedRun
from llem_sweep.plan.need import Need, need_of
from llem_sweep.plan.pruning import needs_at_least
from llem_sweep.plan.types import ClusterShape, PlannedExperiment
from llem_sweep.results.outcome import Completed, Failed, FailureKind, Outcome, Stage
from llem_sweep.results.verdict import contaminations

TURN_S = 0.25
"""Longest wait for an event, and how often limits are checked."""


class Sink(Protocol):
    """Where outcomes are persisted."""

    def commit(
        self, experiment: PlannedExperiment, attempt: int, outcome: Outcome, *, final: bool, worker: str
    ) -> Outcome:
        """Persist ``outcome`` and return what really is persisted: a failed save is a Failed."""

    def tried(self) -> Mapping[str, Mapping[FailureKind, int]]:
        """Failed attempts persisted so far, by experiment id and kind."""

    def journal(self, event: str, **fields: object) -> None:
        """Note something that isn't an outcome."""

    def mention(self, event: str, **fields: object) -> None:
        """Note something without which nothing is lost: it may be forgotten if the machine fails."""


class Ending(StrEnum):
    """How a run came to its end."""

    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    UNPUBLISHABLE = "unpublishable"
    """A result that had to be publishable isn't, so nothing more was begun."""
    FAILING = "failing"
    """The first experiments all failed for the same reason, so nothing more was begun."""


class Flight(NamedTuple):
    """A task on a worker."""

    task: Task
    since_s: float
    loads: bool
    """Whether its model has to be loaded first."""


class Orders(NamedTuple):
    """What a run has to keep to."""

    execution: ExecutionConfig
    require_publishable: bool = False
    """Begin nothing more after the first result that isn't."""
    completed_before: bool = False
    """Whether anything of the sweep was completed before this run."""
    fetch_key: FetchKey | None = None
    """What to fetch ahead of need; nothing without it."""
    baseline_s: Callable[[Need], float] = lambda need: 0.0
    """Length of the cold baseline of workers for a need."""


class Driver:
    """Has workers brought up for tasks and gives them tasks until none are left, one in flight per worker."""

    def __init__(
        self,
        schedule: Schedule,
        shape: ClusterShape,
        pool: WorkerPool,
        sink: Sink,
        orders: Orders,
        clock: Clock,
        tally: Tally,
        interrupts: Interrupts,
    ) -> None:
        execution = orders.execution
        self._schedule = schedule
        self._pool = pool
        self._sink = sink
        self._orders = orders
        self._execution = execution
        self._clock = clock
        self._tally = tally
        self._interrupts = interrupts
        self._nodes = Nodes(exclusive=execution.exclusive == "node")
        self._crew = Crew(
            shape,
            pool,
            clock,
            cpu_workers=execution.cpu_workers or 1,
            exclusive=execution.exclusive == "node",
            baseline_s=orders.baseline_s,
        )
        self._fetching = Fetching(orders.fetch_key, pool, self._nodes, sink, clock)
        self._retries = Retries(execution, sink.tried())
        self._fail_fast = FailFast(execution.fail_fast_after, completed_before=orders.completed_before)
        self._flights: dict[str, Flight] = {}
        self._loaded: dict[str, str] = {}
        """What each worker has loaded, or is loading."""
        self._last_cycle: dict[str, int] = {}
        self._pausing: dict[str, Task] = {}
        """Tasks of idle workers that keep a gap before them."""
        self._refused: set[tuple[object, ...]] = set()
        """Kinds of worker for which there was nothing to do, and isn't until something happens."""
        self._checked_s = float("-inf")
        self._stop: Ending | None = None
        """Why nothing more is begun, other than the user."""

    def run(self) -> Ending:
        """Run until every task is settled, or a reason to stop has come.

        Raises ClusterError when nothing is left that could run what remains.
        """
        while self._flights or (self._waits and not self._stopping):
            self._occupy()
            event = self._pool.next_event(self._patience_s())
            if event is not None:
                self._handle(event)
            self._check()
            self._fetching.look(self._crew.nodes, self._upcoming)
            self._show()
            if self._interrupts.past_grace(self._execution.grace_seconds):
                self._cut()
                return Ending.INTERRUPTED
        self._show(last=True)
        if self._stop is not None:
            return self._stop
        return Ending.INTERRUPTED if self._waits else Ending.FINISHED

    @property
    def _waits(self) -> bool:
        return bool(len(self._schedule) or self._pausing)

    @property
    def _stopping(self) -> bool:
        return self._interrupts.stopping or self._stop is not None

    def _patience_s(self) -> float:
        """Until the next gap between two experiments is over, where one is kept."""
        now_s = self._clock.monotonic()
        gaps_s = (self._due_s(name, self._pausing.get(name)) - now_s for name in self._crew.idle)
        return min((gap_s for gap_s in gaps_s if gap_s > 0), default=TURN_S)

    def _show(self, *, last: bool = False) -> None:
        if last or self._tally.due:
            self._tally.show(self._pool.states(), self._running(), self._stopping)

    def _running(self) -> Mapping[str, PlannedExperiment]:
        return {worker: flight.task.experiment for worker, flight in self._flights.items()}

    # Who does what

    def _occupy(self) -> None:
        """Give work to whoever is free, workers that have to be brought up for it included."""
        self._staff()
        self._dispatch()

    def _staff(self) -> None:
        if self._stopping:
            return
        for worker in self._crew.staff(self._schedule.turns(), self._rest_s):
            self._forget(worker)

    def _dispatch(self) -> None:
        now_s = self._clock.monotonic()
        for worker in self._crew.idle:
            if self._stopping or self._due_s(worker) > now_s or not self._nodes.may_begin(worker):
                continue
            task = self._pausing.pop(worker, None) or self._take(worker)
            if task is not None and self._due_s(worker, task) > now_s:
                self._pausing[worker] = task
            elif task is not None:
                self._begin(worker, task)

    def _take(self, worker: str) -> Task | None:
        """The task for an idle worker; where its boards are being gathered, only what is over in time.

        Workers that differ in nothing but their names get the same answer: of many idle ones, one is asked.
        """
        seat, within_s = self._crew.fleet.posts[worker].seat, self._crew.within_s(worker)
        kind = (seat.node, seat.need, self._loaded.get(worker), within_s)
        if kind in self._refused:
            return None
        others = [self._view(name) for name in self._crew.fleet.posts if name != worker]
        task = self._schedule.take(self._view(worker), others, within_s=within_s)
        if task is None:
            self._refused.add(kind)
        return task

    def _view(self, worker: str) -> WorkerView:
        post = self._crew.fleet.posts[worker]
        return WorkerView(
            worker,
            post.seat.node,
            lambda need: self._crew.fleet.fits(post, need),
            self._loaded.get(worker),
            self._rest_s(worker),
        )

    def _rest_s(self, worker: str) -> float:
        """Estimated rest of what a worker runs; 0 when it runs nothing."""
        flight = self._flights.get(worker)
        if flight is None:
            return 0.0
        spent_s = self._clock.monotonic() - flight.since_s
        return self._schedule.rest_s(flight.task, spent_s, loads=flight.loads)

    def _due_s(self, worker: str, task: Task | None = None) -> float:
        """When an idle worker may take a task: after the gaps that the configuration asks for."""
        last, since_s = self._last_cycle.get(worker), self._crew.idle_since_s(worker)
        if last is None:
            return since_s
        gap_s = self._execution.experiment_gap_seconds
        if task is not None and last != task.experiment.cycle:
            gap_s = max(gap_s, self._execution.cycle_gap_seconds)
        return since_s + gap_s

    def _upcoming(self, node: str) -> Iterator[ExperimentConfig]:
        """What the workers of a node will probably load next."""
        for name in self._crew.on(node):
            others = [self._view(other) for other in self._crew.fleet.posts if other != name]
            if (coming := self._schedule.coming(self._view(name), others)) is not None:
                yield coming.config

    def _begin(self, worker: str, task: Task) -> None:
        self._crew.begin(worker)
        key = self._schedule.load_key(task)
        self._flights[worker] = Flight(task, self._clock.monotonic(), loads=self._loaded.get(worker) != key)
        self._last_cycle[worker] = task.experiment.cycle
        self._loaded[worker] = key
        self._nodes.begin(worker, task.experiment.experiment_id)
        # Whether it was under way when the machine failed changes nothing: what isn't stored runs again.
        self._sink.mention("dispatched", **_described(task, worker))
        self._pool.submit(worker, task.experiment, task.attempt)

    # What happened

    def _handle(self, event: Event) -> None:
        self._refused.clear()
        match event:
            case Ready(worker, report):
                self._sink.journal("worker_ready", worker=worker, boards=report.boards, uuids=report.uuids)
                self._nodes.seat(worker, report.node)
                self._crew.ready(worker)
            case Finished(worker, outcome, loading_s):
                self._finish(worker, outcome, loading_s)
            case Lost(worker, reason, log_tail, kind):
                self._lose(worker, Failed(Stage.WORKER, kind, reason, "", log_tail))
            case Unfit(worker, failure):
                self._sink.journal("worker_unfit", worker=worker, reason=failure.message)
                self._tally.message(f"{worker} can't be used: {failure.message}")
                self._crew.unfit(worker, failure.message)
            case Joined(node):
                self._sink.journal("node_joined", node=node.name, gpus=node.gpus, board=node.board)
                self._tally.message(f"{node.name} has joined, with {node.gpus} GPUs")
                self._crew.joined(node)
            case Draining(node, reason):
                self._sink.journal("node_draining", node=node, reason=reason)
                self._tally.message(f"{node} gets nothing more to do: {reason}")
                self._crew.draining(node)
            case FetchEnded():
                self._fetching.ended(event)
            case Left(node, reason):
                self._fetching.lost(node)
                self._sink.journal("node_left", node=node, reason=reason)
                self._tally.message(f"{node} has left: {reason}")
                self._crew.left(node, reason)

    def _finish(self, worker: str, outcome: Outcome, loading_s: float) -> None:
        flight, neighbours = self._land(worker)
        if isinstance(outcome, Completed):
            self._learn(flight, worker, loading_s)
            completed = outcome._replace(result=with_neighbours(outcome.result, neighbours))
            self._complete(flight, worker, completed)
            return
        # Whatever fails lets its model go.
        self._loaded.pop(worker, None)
        self._settle(flight, worker, outcome)
        if outcome.needs_new_worker:
            self._replace(worker, outcome.message)
        else:
            self._crew.free(worker)

    def _complete(self, flight: Flight, worker: str, outcome: Completed) -> None:
        """The worker goes on at once, and measures while this outcome is written; where what it says decides
        whether anything more is begun, that comes first."""
        self._crew.free(worker)
        spoiled = self._spoiled(outcome)
        if spoiled is not None and self._retries.allows(flight.task.experiment.experiment_id, spoiled):
            self._again(flight.task, worker, spoiled)
            return
        try:
            if not self._orders.require_publishable:
                self._occupy()
        finally:
            self._settle(flight, worker, outcome)

    def _land(self, worker: str) -> tuple[Flight, tuple[str, ...]]:
        """The task that was on a worker, which is on it no longer, and whom it met on the node."""
        return self._flights.pop(worker), self._nodes.end(worker)

    def _learn(self, flight: Flight, worker: str, loading_s: float) -> None:
        """Correct what is expected by what a completed task took, and keep it for the closing table."""
        took_s = max(0.0, self._clock.monotonic() - flight.since_s - loading_s)
        load_s = loading_s if flight.loads else None
        self._schedule.record(flight.task, took_s, load_s)
        boards = max(1, need_of(flight.task.experiment.config).boards)
        self._tally.ran(TimedRun(self._schedule.load_key(flight.task), boards, took_s, load_s, worker))

    def _spoiled(self, outcome: Completed) -> Failed | None:
        """What spoiled a completed experiment from outside, as a failure of this attempt, where that matters."""
        if self._execution.on_contamination == "keep":
            return None
        breakdown = outcome.result.energy_breakdown
        subtracted = breakdown.baseline_kind if breakdown is not None else None
        found = contaminations(outcome.result.measurement_warnings, subtracted)
        if not found:
            return None
        listed = "; ".join(f"{warning.code.value}: {warning.message}" for warning in found)
        return Failed(Stage.RUN, FailureKind.CONTAMINATED, f"spoiled from outside: {listed}")

    def _lose(self, worker: str, failure: Failed) -> None:
        """A worker is gone: its experiment is tried again if its budget allows."""
        self._sink.journal("worker_lost", worker=worker, kind=failure.kind, reason=failure.message)
        self._tally.message(f"{worker} was lost: {failure.message}")
        if worker in self._flights:
            flight, _ = self._land(worker)
            experiment_id = flight.task.experiment.experiment_id
            if self._retries.allows(experiment_id, failure):
                self._again(flight.task, worker, failure)
            else:
                self._settle(flight, worker, self._retries.in_words(experiment_id, failure))
        self._forget(worker)
        self._crew.lost(worker, failure)

    def _replace(self, worker: str, reason: str) -> None:
        """A worker can't be used again; the next decision about workers brings up another."""
        self._sink.journal("worker_replaced", worker=worker, reason=reason)
        self._tally.message(f"{worker} is being replaced: {reason}")
        self._forget(worker)
        self._crew.end(worker, broken=True)

    def _forget(self, worker: str) -> None:
        """Whoever comes by this name again has nothing loaded and nothing behind it."""
        self._loaded.pop(worker, None)
        self._last_cycle.pop(worker, None)
        if (task := self._pausing.pop(worker, None)) is not None:
            self._schedule.put_back(task)

    # What becomes of tasks

    def _settle(self, flight: Flight, worker: str, outcome: Outcome) -> None:
        self._keep(flight.task, worker, outcome, self._clock.monotonic() - flight.since_s)

    def _keep(self, task: Task, worker: str, outcome: Outcome, took_s: float) -> None:
        kept = self._sink.commit(task.experiment, task.attempt, outcome, final=True, worker=worker)
        self._tally.settled(task.experiment, kept, took_s)
        if isinstance(kept, Completed):
            self._require(task, kept)
        elif kept.kind is FailureKind.OUT_OF_MEMORY and self._execution.prune_out_of_memory:
            self._prune(task.experiment, kept)
        self._fail_fast.note(kept)
        if self._fail_fast.because is not None and self._stop is None and self._waits:
            self._stop = Ending.FAILING
            self._tally.message(f"stopping early: {self._fail_fast.because}")

    def _require(self, task: Task, outcome: Completed) -> None:
        verdict = outcome.result.verdict
        if not self._orders.require_publishable or (verdict is not None and verdict.publishable):
            return
        self._stop = Ending.UNPUBLISHABLE
        why = verdict.because[0] if verdict is not None and verdict.because else "it has no verdict"
        self._tally.message(f"not publishable, so nothing more is begun: {label(task.experiment)}: {why}")

    def _again(self, task: Task, worker: str, failure: Failed) -> None:
        """Put a task back to the front, its failed attempt kept."""
        experiment = task.experiment
        self._sink.commit(experiment, task.attempt, failure, final=False, worker=worker)
        self._retries.note(experiment.experiment_id, failure)
        self._note("retry", task, worker)
        self._schedule.put_back(Task(experiment, self._retries.attempt(experiment.experiment_id)))

    def _prune(self, experiment: PlannedExperiment, failure: Failed) -> None:
        """Settle the points that would run out of memory as well."""
        why = f"not begun: {label(experiment)}, which needs no more of anything, ran out of memory"
        self._give_up(
            lambda task: needs_at_least(task.experiment.config, experiment.config),
            Failed(Stage.QUEUE, FailureKind.PRUNED, f"{why} ({failure.message})"),
        )

    def _give_up(self, which: Callable[[Task], bool], failure: Failed) -> None:
        for task in self._schedule.remove(which):
            self._keep(task, "", failure, 0.0)

    def _cut(self) -> None:
        """The grace is over: what still runs is left unsettled, for a resume to run again."""
        for worker, flight in self._flights.items():
            self._note("cut", flight.task, worker)

    # What must not go on

    def _check(self) -> None:
        """Now and then: what hangs, and what nothing is left to run."""
        now_s = self._clock.monotonic()
        if now_s - self._checked_s < TURN_S:
            return
        self._checked_s = now_s
        self._refused.clear()
        states = self._pool.states()
        for worker, flight in list(self._flights.items()):
            flown_s = now_s - flight.since_s
            why = overdue(flight.task.experiment, states.get(worker), self._execution, flown_s)
            if why is not None:
                self._land(worker)
                tail = self._pool.log_tail(worker)
                self._settle(flight, worker, Failed(Stage.WORKER, FailureKind.TIMEOUT, why, "", tail))
                self._replace(worker, why)
        for worker, why in self._crew.stuck().items():
            self._pool.end(worker, broken=True)
            self._lose(worker, Failed(Stage.START, FailureKind.WORKER_LOST, why))
        if not self._stopping:
            self._check_needs()

    def _check_needs(self) -> None:
        """Ask for nodes where the cluster can grow, and give up what nothing is left to run."""
        waiting = self._schedule.waiting()
        running = Counter(need_of(flight.task.experiment.config) for flight in self._flights.values())
        self._crew.want(running + Counter(waiting))
        for need, why in self._crew.hopeless(waiting, self._execution.node_wait_seconds).items():
            failure = Failed(Stage.QUEUE, FailureKind.NO_SUCH_GPU, why)
            self._give_up(partial(_asks, need), failure)

    def _note(self, event: str, task: Task, worker: str) -> None:
        self._sink.journal(event, **_described(task, worker))


def _described(task: Task, worker: str) -> dict[str, object]:
    return {"experiment_id": task.experiment.experiment_id, "attempt": task.attempt, "worker": worker}


def _asks(need: Need, task: Task) -> bool:
    return need_of(task.experiment.config) == need
