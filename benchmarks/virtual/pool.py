"""Workers that do what a script says, in simulated time: the driver can't tell them from others."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Mapping
from typing import NamedTuple

from llem_sweep.clock import SimulatedClock
from llem_sweep.errors import ClusterError
from llem_sweep.execution.pool import Event, Finished, Left, Lost, Ready, Seat, Unfit
from llem_sweep.execution.prefetch import FetchEnded, FetchOrder
from llem_sweep.execution.progress import WorkerState
from llem_sweep.execution.worker import WorkerReport
from llem_sweep.phases import Phase
from llem_sweep.plan.need import Need
from llem_sweep.plan.types import PlannedExperiment
from llem_sweep.results.outcome import Failed, FailureKind, Outcome, Stage


class Act(NamedTuple):
    """What a worker does with an experiment."""

    outcome: Outcome
    take_s: float = 1.0
    """From being handed the experiment to its end, loading included."""
    load_s: float = 0.0
    lost: FailureKind | None = None
    """The worker is lost instead."""
    hang: bool = False
    unheard_s: float = 0.0
    """From its end until the driver hears of it."""


Play = Callable[[str, PlannedExperiment, int], Act]
"""Worker, experiment and attempt to what happens."""


class _Flight(NamedTuple):
    experiment: PlannedExperiment
    act: Act
    since_s: float


class Stay(NamedTuple):
    """Part of a worker's life."""

    worker: str
    node: str
    boards: int
    begin_s: float
    end_s: float
    experiment_id: str | None
    """None for coming up."""


class VirtualPool:
    """A pool over ``clock``; everything that happens in it is kept."""

    def __init__(
        self,
        clock: SimulatedClock,
        play: Play,
        *,
        birth_s: float = 0.0,
        fetch_s: float = 0.0,
        unfit: tuple[str, ...] = (),
        replaceable: bool = True,
    ) -> None:
        self._clock = clock
        self._play = play
        self._birth_s = birth_s
        self._fetch_s = fetch_s
        self._unfit = unfit
        self._replaceable = replaceable
        self._due: list[tuple[float, int, Event]] = []
        self._order = itertools.count()
        self._flights: dict[str, _Flight] = {}
        self.seats: dict[str, Seat] = {}
        self.submitted: list[tuple[str, str, float]] = []
        """Worker, experiment id, and when."""
        self.stays: list[Stay] = []
        self.ended: list[str] = []
        self.wanted: list[dict[Need, int]] = []
        self.fetched: list[tuple[str, str, float]] = []
        """Node, key, and when."""
        self.most_in_flight = 0

    def later(self, at_s: float, event: Event) -> None:
        """Let ``event`` happen at ``at_s``; a node that leaves takes its workers with it."""
        heapq.heappush(self._due, (at_s, next(self._order), event))

    def open(self, seat: Seat) -> None:
        assert seat.worker not in self.seats, "one worker at a time by each name"
        self.seats[seat.worker] = seat
        now_s = self._clock.monotonic()
        boards = tuple("Board" for _ in range(seat.need.boards))
        report = WorkerReport(boards, tuple(f"GPU-{n}" for n in range(len(boards))), 70.0, 1, seat.node)
        event: Event = Ready(seat.worker, report)
        if seat.worker in self._unfit:
            event = Unfit(seat.worker, Failed(Stage.START, FailureKind.IDENTITY, "wrong board"))
        self.stays.append(Stay(seat.worker, seat.node, seat.need.boards, now_s, now_s + self._birth_s, None))
        self.later(now_s + self._birth_s, event)

    def submit(self, worker: str, experiment: PlannedExperiment, attempt: int) -> None:
        assert worker not in self._flights, "one experiment in flight per worker"
        act, now_s = self._play(worker, experiment, attempt), self._clock.monotonic()
        self.submitted.append((worker, experiment.experiment_id, now_s))
        self._flights[worker] = _Flight(experiment, act, now_s)
        self.most_in_flight = max(self.most_in_flight, len(self._flights))
        seat = self.seats[worker]
        end_s = now_s + act.take_s
        self.stays.append(Stay(worker, seat.node, seat.need.boards, now_s, end_s, experiment.experiment_id))
        if act.hang:
            return
        event: Event = Finished(worker, act.outcome, act.take_s - act.load_s, act.load_s)
        if act.lost is not None:
            event = Lost(worker, "killed", "last words", act.lost)
        self.later(end_s + act.unheard_s, event)

    def next_events(self, timeout_s: float) -> list[Event]:
        now_s = self._clock.monotonic()
        at_s = self._next_s()
        if at_s is None or at_s > now_s + timeout_s:
            self._clock.sleep(timeout_s)
            return []
        self._clock.sleep(max(0.0, at_s - now_s))
        happened = []
        while (due_s := self._next_s()) is not None and due_s <= self._clock.monotonic():
            happened.append(self._happen(heapq.heappop(self._due)[2]))
        return happened

    def _happen(self, event: Event) -> Event:
        if isinstance(event, Left):
            return self._leave(event)
        if isinstance(event, Finished | Lost):
            self._flights.pop(event.worker)
        if isinstance(event, Lost | Unfit):
            self.seats.pop(event.worker)
        return event

    def states(self) -> Mapping[str, WorkerState]:
        return {worker: self._state(worker) for worker in self.seats}

    def log_tail(self, worker: str) -> str:
        return "end of the log"

    def end(self, worker: str, *, broken: bool = False) -> None:
        self.seats.pop(worker)
        self._flights.pop(worker, None)
        self.ended.append(worker)
        if broken and not self._replaceable:
            raise ClusterError("can't be replaced")
        self._due = [due for due in self._due if getattr(due[2], "worker", None) != worker]
        heapq.heapify(self._due)

    def fetch(self, order: FetchOrder) -> bool:
        self.fetched.append((order.node, order.key, self._clock.monotonic()))
        self.later(self._clock.monotonic() + self._fetch_s, FetchEnded(order.node, order.key))
        return True

    def want(self, needs: Mapping[Need, int]) -> None:
        self.wanted.append(dict(needs))

    def close(self) -> None:
        self._flights.clear()

    def _leave(self, event: Left) -> Event:
        """First each worker of the node is lost, then the node has left."""
        here = [worker for worker, seat in self.seats.items() if seat.node == event.node]
        if not here:
            return event
        self.later(self._clock.monotonic(), event)
        worker = here[0]
        self._due = [due for due in self._due if getattr(due[2], "worker", None) != worker]
        heapq.heapify(self._due)
        self.seats.pop(worker)
        self._flights.pop(worker, None)
        return Lost(worker, f"{event.node} has left", "", FailureKind.NODE_LOST)

    def _next_s(self) -> float | None:
        """When the next thing happens; what happens to workers that aren't there any more doesn't count."""
        while self._due:
            at_s, _, event = self._due[0]
            worker = getattr(event, "worker", None)
            if worker is None or worker in self.seats:
                return at_s
            heapq.heappop(self._due)
        return None

    def _state(self, worker: str) -> WorkerState:
        flight = self._flights.get(worker)
        if flight is None:
            return WorkerState(worker, "Board")
        spent_s = self._clock.monotonic() - flight.since_s
        active_s = spent_s - flight.act.load_s
        return WorkerState(
            worker,
            "Board",
            experiment=flight.experiment.experiment_id,
            phase=Phase.LOAD if active_s < 0 else Phase.DECODE,
            active_s=max(0.0, active_s),
            stalled_s=active_s if active_s > 0 else spent_s,
        )
