"""Workers as Ray actors."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayActorError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from llem_sweep.execution.pool import Event, Finished, Lost, Ready, Unfit
from llem_sweep.execution.progress import WorkerState
from llem_sweep.execution.ray_actor import GpuWorker, StatusBoard
from llem_sweep.execution.ray_logs import worker_log_tail
from llem_sweep.execution.worker import WorkerSpec
from llem_sweep.phases import Phase
from llem_sweep.plan.types import PlannedExperiment
from llem_sweep.results.outcome import Failed, FailureKind, Stage

BIRTHS = 3
"""Attempts to bring a worker up before it is given up."""
STATES_EVERY_S = 0.25
_log = logging.getLogger(__name__)


class Seat(NamedTuple):
    """Where a worker is to sit."""

    spec: WorkerSpec
    node_id: str
    cpus: float


class _Seated:
    """The actor on a seat, and what is asked of it."""

    def __init__(self, seat: Seat) -> None:
        self.seat = seat
        self.births = 0
        self.actor: Any = None
        """Ray types an actor's methods only through its own stubs."""
        self.pending: ray.ObjectRef[Any] | None = None
        self.starting = True
        self.log_paths: tuple[str, ...] = ()


class RayPool:
    """One actor per seat, each with at most one call in flight."""

    def __init__(self, seats: Sequence[Seat], sweep: str, *, simulated: bool) -> None:
        self._sweep = sweep
        self._simulated = simulated
        self._board: Any = ray.remote(StatusBoard).options(num_cpus=0, name=f"{sweep}/status").remote()
        self._actor_class: Any = ray.remote(GpuWorker)
        self._seated = {seat.spec.name: _Seated(seat) for seat in seats}
        self._asked: ray.ObjectRef[Any] | None = None
        self._heard: dict[str, tuple[WorkerState, float]] = {}
        self._heard_s = 0.0
        self._states_s = float("-inf")
        for seated in self._seated.values():
            self._bring_up(seated)

    def submit(self, worker: str, experiment: PlannedExperiment, attempt: int) -> None:
        seated = self._seated[worker]
        seated.pending = seated.actor.run.remote(experiment, attempt)

    def next_event(self, timeout_s: float) -> Event | None:
        waiting = {seated.pending: seated for seated in self._seated.values() if seated.pending is not None}
        if not waiting:
            time.sleep(timeout_s)
            return None
        ready, _ = ray.wait(list(waiting), num_returns=1, timeout=timeout_s)
        return self._event(waiting[ready[0]]) if ready else None

    def states(self) -> Mapping[str, WorkerState]:
        now_s = time.monotonic()
        if now_s - self._states_s >= STATES_EVERY_S:
            self._states_s = now_s
            self._hear()
        return {name: self._state(seated) for name, seated in self._seated.items()}

    def _hear(self) -> None:
        """Take the workers' newest states if the board has answered, and ask again; never waits for it."""
        if self._asked is not None:
            answered, _ = ray.wait([self._asked], timeout=0)
            if not answered:
                return
            try:
                self._heard, self._heard_s = ray.get(self._asked), time.monotonic()
            except RayError as error:
                # The sweep goes on without its view: what was heard last ages, so that limits still hold.
                _log.warning("the workers' states can't be read: %s", error)
        self._asked = self._board.snapshot.remote()

    def _state(self, seated: _Seated) -> WorkerState:
        heard = self._heard.get(seated.seat.spec.name)
        if heard is None:
            return WorkerState(seated.seat.spec.name, "starting")
        state, age_s = heard
        return _aged(state, age_s + time.monotonic() - self._heard_s)

    def log_tail(self, worker: str) -> str:
        seated = self._seated[worker]
        return worker_log_tail(seated.log_paths, seated.seat.node_id)

    def replace(self, worker: str) -> None:
        seated = self._seated[worker]
        self._end(seated)
        seated.births = 0
        self._bring_up(seated)

    def close(self) -> None:
        for seated in self._seated.values():
            self._end(seated)
        self._seated.clear()
        if self._board is not None:
            ray.kill(self._board)
            self._board = None

    def _bring_up(self, seated: _Seated) -> None:
        seat = seated.seat
        seated.births += 1
        # Ray keeps a dead actor's name for a while, so every birth has its own.
        suffix = f"#{time.monotonic_ns() % 10**8}" if seated.actor is not None else ""
        seated.actor = self._actor_class.options(
            name=f"{self._sweep}/{seat.spec.name}{suffix}",
            num_gpus=seat.spec.gpus,
            num_cpus=seat.cpus,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(seat.node_id, soft=False),
        ).remote(seat.spec, self._simulated, self._board)
        seated.starting = True
        seated.pending = seated.actor.start.remote()

    def _event(self, seated: _Seated) -> Event:
        pending: Any = seated.pending
        seated.pending = None
        name = seated.seat.spec.name
        try:
            answer = ray.get(pending)
        except RayActorError as error:
            return self._lost(seated, _reason(error))
        except RayError as error:
            return self._lost(seated, f"{type(error).__name__}: {error}")
        if not seated.starting:
            return Finished(name, answer)
        seated.starting = False
        report, seated.log_paths = answer
        if isinstance(report, Failed):
            self._give_up(name)
            return Unfit(name, report)
        return Ready(name, report)

    def _lost(self, seated: _Seated, reason: str) -> Event:
        name = seated.seat.spec.name
        tail = self.log_tail(name)
        self._end(seated)
        if seated.births >= BIRTHS and seated.starting:
            self._give_up(name)
            return Unfit(name, Failed(Stage.START, FailureKind.WORKER_LOST, reason, "", tail))
        if not seated.starting:
            seated.births = 0
        self._bring_up(seated)
        return Lost(name, reason, tail)

    def _give_up(self, name: str) -> None:
        self._end(self._seated.pop(name))

    def _end(self, seated: _Seated) -> None:
        if seated.actor is not None:
            ray.kill(seated.actor, no_restart=True)
        seated.pending = None


def _reason(error: RayActorError) -> str:
    """The sentence in which Ray says why; its messages begin with a paragraph of identifiers."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if "because" in line), lines[0] if lines else "the actor died")


def _aged(state: WorkerState, age_s: float) -> WorkerState:
    """A worker that fell silent goes on being active, so that its limit is reached all the same."""
    silent = state.experiment is not None and state.phase is not Phase.LOAD
    return state._replace(active_s=state.active_s + age_s) if silent else state
