"""The driver: a sequential loop that takes up what has happened, gives work, and then writes.

Everything here happens in one thread. The pool does the waiting. The driver's :class:`Crew` knows workers, its
:class:`Assignments` who does what, its :class:`Ledger` what becomes of tasks. An outcome is persisted before it is
counted. A worker needn't wait for that: it has its next task first. An experiment leaves the schedule for good
only when the sink has settled it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from llem_sweep.clock import Clock
from llem_sweep.config.sweep import ExecutionConfig
from llem_sweep.execution.assignments import Assignments, Flight
from llem_sweep.execution.crew import Crew
from llem_sweep.execution.fetching import Fetching
from llem_sweep.execution.interrupts import Interrupts
from llem_sweep.execution.ledger import Ending, Landed, Ledger, Sink, described
from llem_sweep.execution.limits import overdue
from llem_sweep.execution.nodes import Nodes
from llem_sweep.execution.outlook import Outlook
from llem_sweep.execution.pool import Draining, Event, Finished, Joined, Left, Lost, Ready, Unfit, WorkerPool
from llem_sweep.execution.prefetch import FetchEnded, FetchKey
from llem_sweep.execution.scheduling.schedule import Schedule, Task
from llem_sweep.execution.tally import Tally
from llem_sweep.harness.derived import with_neighbours
from llem_sweep.plan.forecast import boards_at_work
from llem_sweep.plan.need import Need, need_of
from llem_sweep.plan.types import ClusterShape
from llem_sweep.results.outcome import Completed, Failed, FailureKind, Outcome, Stage

STOPPING = "stopping: running experiments may finish; interrupt again to stop now"
TURN_S = 0.25
"""Longest wait for an event, and how often limits are checked."""


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
    watched: bool = False
    """Keep up a forecast of the time left, for somebody who watches."""


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
        self._execution = execution = orders.execution
        exclusive = execution.exclusive == "node"
        self._schedule = schedule
        self._pool = pool
        self._sink = sink
        self._orders = orders
        self._clock = clock
        self._tally = tally
        self._interrupts = interrupts
        self._nodes = nodes = Nodes(exclusive=exclusive)
        self._crew = crew = Crew(
            shape,
            pool,
            clock,
            cpu_workers=execution.cpu_workers or 1,
            exclusive=exclusive,
            baseline_s=orders.baseline_s,
        )
        self._assignments = Assignments(schedule, crew, nodes, execution, clock)
        self._outlook = Outlook(schedule, self._assignments, crew, execution, clock)
        self._ledger = Ledger(
            schedule,
            sink,
            execution,
            tally,
            require_publishable=orders.require_publishable,
            completed_before=orders.completed_before,
        )
        self._fetching = Fetching(orders.fetch_key, pool, nodes, sink, clock)
        self._unsettled: list[Landed] = []
        """Completed in this step; their workers have their next tasks first."""
        self._needs = frozenset(schedule.waiting())
        """Of all that this run may begin."""
        self._checked_s = float("-inf")

    def run(self) -> Ending:
        """Run until every task is settled, or a reason to stop has come.

        Raises ClusterError when nothing is left that could run what remains.
        """
        self._occupy()
        while self._assignments.flights or (self._assignments.waits and not self._stopping):
            self._step(self._pool.next_events(self._assignments.gap_s(TURN_S)))
            if self._interrupts.untold():
                self._tally.message(STOPPING)
            self._check()
            self._show()
            if self._interrupts.past_grace(self._execution.grace_seconds):
                self._cut()
                return Ending.INTERRUPTED
        self._show(last=True)
        if self._ledger.stop is not None:
            return self._ledger.stop
        return Ending.INTERRUPTED if self._assignments.waits else Ending.FINISHED

    @property
    def _stopping(self) -> bool:
        return self._interrupts.stopping or self._ledger.stop is not None

    def _step(self, happened: Sequence[Event]) -> None:
        """What that changes, work for whoever is free, and only then the disk: they measure meanwhile."""
        try:
            for event in happened:
                self._handle(event)
            self._fetching.look(self._crew.nodes, self._assignments.upcoming)
            self._occupy()
        finally:
            if self._unsettled:
                landed, self._unsettled = self._unsettled, []
                self._ledger.settle_all(landed)

    def _show(self, *, last: bool = False) -> None:
        if last or self._tally.due:
            left_s = self._outlook.left_s() if self._orders.watched else None
            running = self._assignments.running()
            boards = self._boards_at_work
            self._tally.show(self._pool.states(), running, self._stopping, remaining_s=left_s, boards=boards)

    def _boards_at_work(self) -> int:
        """How many boards the sweep can have at work at once, on the nodes that there are now."""
        return boards_at_work(self._needs, ClusterShape(self._crew.fleet.nodes), self._execution)

    def _occupy(self) -> None:
        """Give work to whoever is free, workers that have to be brought up for it included."""
        if self._stopping:
            return
        for worker in self._crew.staff(self._schedule.turns(), self._assignments.rest_s):
            self._assignments.forget(worker)
        for worker in self._crew.idle:
            task = self._assignments.next_for(worker)
            if task is not None:
                self._begin(worker, task)

    def _begin(self, worker: str, task: Task) -> None:
        self._assignments.begin(worker, task)
        # Whether it was under way when the machine failed changes nothing: what isn't stored runs again.
        self._sink.mention("dispatched", **described(task, worker))
        self._pool.submit(worker, task.experiment, task.attempt)

    # What happened

    def _handle(self, event: Event) -> None:
        self._assignments.reconsider()
        match event:
            case Ready(worker, report):
                self._sink.journal("worker_ready", worker=worker, boards=report.boards, uuids=report.uuids)
                self._nodes.seat(worker, report.node)
                self._crew.ready(worker)
            case Finished():
                self._finish(event)
            case Lost(worker, reason, log_tail, kind):
                self._lose(worker, Failed(Stage.WORKER, kind, reason, "", log_tail))
            case Unfit(worker, failure):
                self._sink.journal("worker_unfit", worker=worker, reason=failure.message)
                self._tally.message(f"{worker} can't be used: {failure.message}")
                self._crew.unfit(worker, failure.message)
            case FetchEnded():
                self._fetching.ended(event)
            case Joined() | Draining() | Left():
                self._follow(event)

    def _follow(self, change: Joined | Draining | Left) -> None:
        """What becomes of the nodes."""
        match change:
            case Joined(node):
                self._sink.journal("node_joined", node=node.name, gpus=node.gpus, board=node.board)
                self._tally.message(f"{node.name} has joined, with {node.gpus} GPUs")
                self._crew.joined(node)
            case Draining(name, reason):
                self._sink.journal("node_draining", node=name, reason=reason)
                self._tally.message(f"{name} gets nothing more to do: {reason}")
                self._crew.draining(name)
            case Left(name, reason):
                self._fetching.lost(name)
                self._sink.journal("node_left", node=name, reason=reason)
                self._tally.message(f"{name} has left: {reason}")
                self._crew.left(name, reason)

    def _finish(self, finished: Finished) -> None:
        worker, outcome = finished.worker, finished.outcome
        flight, neighbours = self._assignments.land(worker)
        if isinstance(outcome, Completed):
            self._tally.ran(self._assignments.learn(flight, finished))
            completed = outcome._replace(result=with_neighbours(outcome.result, neighbours))
            self._complete(flight, worker, completed)
            return
        # Whatever fails lets its model go.
        self._assignments.let_go(worker)
        self._settle(flight, worker, outcome)
        if outcome.needs_new_worker:
            self._replace(worker, outcome.message)
        else:
            self._crew.free(worker)

    def _complete(self, flight: Flight, worker: str, outcome: Completed) -> None:
        """The worker goes on before the outcome is written, unless that decides whether anything more is begun."""
        self._crew.free(worker)
        if self._ledger.spoiled(flight.task, worker, outcome):
            return
        if self._orders.require_publishable:
            self._settle(flight, worker, outcome)
        else:
            self._unsettled.append(Landed(flight.task, worker, outcome))

    def _settle(self, flight: Flight, worker: str, outcome: Outcome) -> None:
        self._ledger.settle(flight.task, worker, outcome)

    def _lose(self, worker: str, failure: Failed) -> None:
        """A worker is gone, and whatever it ran has to be run again."""
        self._sink.journal("worker_lost", worker=worker, kind=failure.kind, reason=failure.message)
        self._tally.message(f"{worker} was lost: {failure.message}")
        if worker in self._assignments.flights:
            flight, _ = self._assignments.land(worker)
            self._ledger.lost(flight.task, worker, failure)
        self._assignments.forget(worker)
        self._crew.lost(worker, failure)

    def _replace(self, worker: str, reason: str) -> None:
        """A worker can't be used again; the next decision about workers brings up another."""
        self._sink.journal("worker_replaced", worker=worker, reason=reason)
        self._tally.message(f"{worker} is being replaced: {reason}")
        self._assignments.forget(worker)
        self._crew.end(worker, broken=True)

    def _cut(self) -> None:
        """The grace is over: what still runs is left unsettled, for a resume to run again."""
        for worker, flight in self._assignments.flights.items():
            self._sink.journal("cut", **described(flight.task, worker))

    # What must not go on

    def _check(self) -> None:
        """Now and then: what hangs, and what nothing is left to run."""
        now_s = self._clock.monotonic()
        if now_s - self._checked_s < TURN_S:
            return
        self._checked_s = now_s
        self._assignments.reconsider()
        self._end_what_hangs(now_s)
        for worker, why in self._crew.stuck().items():
            self._pool.end(worker, broken=True)
            self._lose(worker, Failed(Stage.START, FailureKind.WORKER_LOST, why))
        if not self._stopping:
            self._check_needs()

    def _end_what_hangs(self, now_s: float) -> None:
        states = self._pool.states()
        for worker, flight in list(self._assignments.flights.items()):
            flown_s = now_s - flight.since_s
            why = overdue(flight.task.experiment, states.get(worker), self._execution, flown_s)
            if why is not None:
                self._assignments.land(worker)
                tail = self._pool.log_tail(worker)
                self._settle(flight, worker, Failed(Stage.WORKER, FailureKind.TIMEOUT, why, "", tail))
                self._replace(worker, why)

    def _check_needs(self) -> None:
        """Ask for nodes where the cluster can grow, and give up what nothing is left to run."""
        waiting = self._schedule.waiting()
        running = Counter(need_of(each.config) for each in self._assignments.running().values())
        self._crew.want(running + Counter(waiting))
        for need, why in self._crew.hopeless(waiting, self._execution.node_wait_seconds).items():
            self._ledger.give_up(partial(_asks, need), Failed(Stage.QUEUE, FailureKind.NO_SUCH_GPU, why))


def _asks(need: Need, task: Task) -> bool:
    return need_of(task.experiment.config) == need
