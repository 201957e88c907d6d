"""Workers as Ray actors: one for each process of a worker."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import ActorUnschedulableError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from llem_sweep.execution.on_ray.actor import StatusBoard
from llem_sweep.execution.on_ray.fetch import RayFetches
from llem_sweep.execution.on_ray.logs import worker_log_tail
from llem_sweep.execution.on_ray.losses import kind_of_loss, reason
from llem_sweep.execution.on_ray.names import unique
from llem_sweep.execution.on_ray.nodes import RayNodes
from llem_sweep.execution.on_ray.scaling import Scaling
from llem_sweep.execution.on_ray.worker import RayWorker
from llem_sweep.execution.pool import Event, Finished, Left, Lost, Ready, Seat, Unfit
from llem_sweep.execution.prefetch import FetchOrder
from llem_sweep.execution.progress import STARTING, WorkerState
from llem_sweep.phases import Phase
from llem_sweep.plan.need import Need
from llem_sweep.plan.types import PlannedExperiment
from llem_sweep.results.outcome import FailureKind

STATES_EVERY_S = 0.25
_log = logging.getLogger(__name__)


class RayPool:
    """Workers by name, each with at most one experiment in flight."""

    def __init__(self, nodes: RayNodes, sweep: str, *, simulated: bool) -> None:
        self._nodes = nodes
        self._sweep = sweep
        self._simulated = simulated
        self._scaling = Scaling()
        self._fetches = RayFetches(nodes.ids)
        # Beside the driver: on any other node it could be lost without the driver, and hangs be found late.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        name = f"{sweep}/status"
        board = ray.remote(StatusBoard).options(num_cpus=0, name=unique(name), scheduling_strategy=here)
        self._board: Any = board.remote(name)
        self._workers: dict[str, RayWorker] = {}
        self._unfit: list[RayWorker] = []
        """Kept, so that what they hold is given to nobody else."""
        self._events: list[Event] = []
        self._asked: ray.ObjectRef[Any] | None = None
        self._heard: dict[str, tuple[WorkerState, float]] = {}
        self._heard_s = 0.0
        self._deaf = False
        self._states_s = float("-inf")

    def open(self, seat: Seat) -> None:
        try:
            node_id = self._nodes.ids[seat.node]
        except KeyError:
            self._events.append(Lost(seat.worker, f"{seat.node} has left", "", FailureKind.NODE_LOST))
            return
        self._heard.pop(seat.worker, None)
        self._workers[seat.worker] = RayWorker(
            seat, node_id, self._sweep, self._board, simulated=self._simulated
        )

    def submit(self, worker: str, experiment: PlannedExperiment, attempt: int) -> None:
        self._workers[worker].run(experiment, attempt)

    def next_events(self, timeout_s: float) -> Sequence[Event]:
        self._look_at_nodes()
        self._events.extend(self._fetches.poll())
        if not self._events:
            self._wait(timeout_s)
        happened, self._events = self._events, []
        return happened

    def states(self) -> Mapping[str, WorkerState]:
        now_s = time.monotonic()
        if now_s - self._states_s >= STATES_EVERY_S:
            self._states_s = now_s
            self._hear()
        return {name: self._state(name) for name in self._workers}

    def log_tail(self, worker: str) -> str:
        found = self._workers[worker]
        return worker_log_tail(found.log_paths, found.node_id)

    def end(self, worker: str, *, broken: bool = False) -> None:
        if (found := self._workers.pop(worker, None)) is not None:
            found.end()

    def fetch(self, order: FetchOrder) -> bool:
        self._fetches.begin(order)
        return True

    def want(self, needs: Mapping[Need, int]) -> None:
        self._scaling.want(needs)

    def close(self) -> None:
        for worker in (*self._workers.values(), *self._unfit):
            worker.end()
        self._workers.clear()
        self._unfit.clear()
        self._events.clear()
        self._fetches.close()
        self._scaling.close()
        if self._board is not None:
            ray.kill(self._board)
            self._board = None

    def _wait(self, timeout_s: float) -> None:
        """Wait for any call to return, and take up all that have."""
        pending = {call: worker for worker in self._workers.values() for call in worker.pending}
        if not pending:
            time.sleep(timeout_s)
            return
        self._give_up_stuck()
        ready, _ = ray.wait(list(pending), num_returns=1, timeout=timeout_s)
        if ready and len(pending) > 1:
            ready, _ = ray.wait(list(pending), num_returns=len(pending), timeout=0)
        for call in ready:
            worker = pending[call]
            if self._workers.get(worker.seat.worker) is worker:
                self._take_up(worker, call)

    def _give_up_stuck(self) -> None:
        self._events.extend(ended for worker in self._workers.values() if (ended := worker.given_up()))

    def _take_up(self, worker: RayWorker, call: ray.ObjectRef[Any]) -> None:
        name = worker.seat.worker
        try:
            answer = worker.answered(call)
        except RayError as error:
            self._lose(worker, reason(error), self._kind(worker, error))
            return
        if answer is None:
            return
        if isinstance(answer, Finished | Ready):
            self._events.append(answer)
            return
        self._unfit.append(self._workers.pop(name))
        self._events.append(Unfit(name, answer))

    def _kind(self, worker: RayWorker, error: RayError) -> FailureKind:
        """On a node that stays, a worker that can't be placed asks for more than there is: the node isn't lost."""
        if isinstance(error, ActorUnschedulableError) and self._nodes.stays(worker.node_id):
            return FailureKind.WORKER_LOST
        return kind_of_loss(error)

    def _lose(self, worker: RayWorker, why: str, kind: FailureKind) -> None:
        name = worker.seat.worker
        # The log of a node that can't be reached isn't worth waiting for.
        tail = self.log_tail(name) if kind is not FailureKind.NODE_LOST else ""
        self.end(name)
        self._events.append(Lost(name, why, tail, kind))

    def _look_at_nodes(self) -> None:
        for change in self._nodes.look():
            if isinstance(change, Left):
                for worker in [w for w in self._workers.values() if w.seat.node == change.node]:
                    self._lose(worker, f"{change.node} has left: {change.reason}", FailureKind.NODE_LOST)
                self._unfit = [worker for worker in self._unfit if worker.seat.node != change.node]
            self._events.append(change)

    def _hear(self) -> None:
        """Take the workers' newest states if the board has answered, and ask again; never waits for it."""
        if self._asked is not None:
            answered, _ = ray.wait([self._asked], timeout=0)
            if not answered:
                return
            try:
                self._heard, self._heard_s = ray.get(self._asked), time.monotonic()
            except RayError as error:
                # The sweep goes on without its view. Of workers never heard of, only the whole time is limited.
                _log.warning("what workers are doing can't be read any more: %s", error)
                self._heard, self._asked, self._deaf = {}, None, True
        if self._deaf:
            return
        self._asked = self._board.snapshot.remote()

    def _state(self, name: str) -> WorkerState:
        heard = [self._heard[member] for member in self._workers[name].members if member in self._heard]
        if not heard:
            return WorkerState(name, STARTING, silent_s=self._unheard_s(name))
        aged = [_aged(state, age_s + time.monotonic() - self._heard_s) for state, age_s in heard]
        return together(name, aged)

    def _unheard_s(self, name: str) -> float | None:
        """How long a worker of which nothing was ever heard had been there at the board's last answer."""
        if self._deaf:
            return None
        return max(0.0, self._heard_s - self._workers[name].since_s)


def together(name: str, states: list[WorkerState]) -> WorkerState:
    """The state of a worker of several processes: the first one's, as active and as stuck as the worst of them."""
    rates = [state.tokens_per_s for state in states if state.tokens_per_s is not None]
    powers_w = [state.power_w for state in states if state.power_w is not None]
    return states[0]._replace(
        name=name,
        active_s=max(state.active_s for state in states),
        stalled_s=max(state.stalled_s for state in states),
        silent_s=max((s.silent_s for s in states if s.silent_s is not None), default=None),
        tokens_per_s=sum(rates) if len(rates) == len(states) else None,
        power_w=sum(powers_w) if powers_w else None,
        temperature_c=max((s.temperature_c for s in states if s.temperature_c is not None), default=None),
    )


def _aged(state: WorkerState, age_s: float) -> WorkerState:
    """A worker that fell silent goes on being active, so that its limit is reached all the same."""
    state = state._replace(silent_s=age_s)
    if state.experiment is None:
        return state
    active_s = state.active_s if state.phase is Phase.LOAD else state.active_s + age_s
    return state._replace(active_s=active_s, stalled_s=state.stalled_s + age_s)
