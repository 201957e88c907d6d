"""One worker in this process, without Ray: the same experiments, the same outcomes."""

from __future__ import annotations

import os
import platform
import queue
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from llem_sweep.clock import Clock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.device.assigned import assigned_tokens, resolve_assigned
from llem_sweep.device.nvml import list_boards
from llem_sweep.errors import ClusterError
from llem_sweep.execution.pool import Event, Finished, Ready, Seat, Unfit
from llem_sweep.execution.prefetch import FetchOrder
from llem_sweep.execution.progress import SweepView, WorkerState
from llem_sweep.execution.worker import Worker, WorkerSpec, device_environment_restored
from llem_sweep.plan.need import Need
from llem_sweep.plan.types import ClusterShape, ModelFacts, NodeShape, PlannedExperiment
from llem_sweep.results.outcome import Failed

THREAD_NAME = "llem-sweep-inline"
"""A thread of this name outlives a sweep only when its worker is stuck, or was cut off by the user."""


class InlineCluster:
    """This process as a cluster of one node and one worker."""

    def __init__(self, simulate_gpus: int | None, clock: Clock) -> None:
        self._simulate_gpus = simulate_gpus
        self._clock = clock
        self._pool: InlinePool | None = None
        self._environment = ExitStack()
        self._environment.enter_context(device_environment_restored())

    @property
    def shape(self) -> ClusterShape:
        """The boards of this machine that this process may use."""
        return local_shape(self._simulate_gpus, inline=True)

    def pool(self) -> InlinePool:
        """A pool for the one worker."""
        if self._pool is not None:
            self._pool.close()
        self._pool = InlinePool(self._clock, simulated=self._simulate_gpus is not None)
        return self._pool

    @property
    def watchers(self) -> Sequence[SweepView]:
        return ()

    def describe(self, config: ExperimentConfig) -> Mapping[str, ModelFacts]:
        return {}

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()
        self._environment.close()


class InlinePool:
    """One worker at a time, on a thread of its own: the driver stays free to watch it and to be interrupted."""

    def __init__(self, clock: Clock, *, simulated: bool) -> None:
        self._clock = clock
        self._simulated = simulated
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._desk: _Desk | None = None

    def open(self, seat: Seat) -> None:
        if self._desk is not None:
            raise ClusterError(f"{self._desk.name} is there already: this process has one worker at a time")
        simulated = tuple(range(seat.need.gpus)) if self._simulated else None
        spec = WorkerSpec(
            seat.worker, seat.node, seat.need.gpus, simulated, seat.baseline_s, takes_first=True
        )
        self._desk = _Desk(spec, self._clock, self._events)

    def submit(self, worker: str, experiment: PlannedExperiment, attempt: int) -> None:
        if self._desk is None:
            raise ClusterError(f"there is no worker {worker}")
        self._desk.submit(experiment, attempt)

    def next_events(self, timeout_s: float) -> Sequence[Event]:
        try:
            return [self._events.get(timeout=timeout_s) if timeout_s > 0 else self._events.get_nowait()]
        except queue.Empty:
            return []

    def states(self) -> Mapping[str, WorkerState]:
        return {self._desk.name: self._desk.state()} if self._desk is not None else {}

    def log_tail(self, worker: str) -> str:
        return ""

    def end(self, worker: str, *, broken: bool = False) -> None:
        if self._desk is None:
            return
        if broken or self._desk.busy:
            raise ClusterError(
                "the inline worker is stuck or broken, and this process can't replace it: the sweep stops here."
                " Run such a sweep without --inline, where each worker has a process of its own"
            )
        self.close()

    def fetch(self, order: FetchOrder) -> bool:
        return False

    def want(self, needs: Mapping[Need, int]) -> None:
        """There is nothing to be had but this process."""

    def close(self) -> None:
        if self._desk is not None:
            self._desk.close()
            self._desk = None


class _Desk:
    """The worker and its thread."""

    def __init__(self, spec: WorkerSpec, clock: Clock, events: queue.SimpleQueue[Event]) -> None:
        self.name = spec.name
        self.busy = True
        """Whether the worker is at something that may never end: an experiment, or its own start."""
        self._worker = Worker(spec, clock)
        self._events = events
        self._todo: queue.SimpleQueue[tuple[PlannedExperiment, int] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=THREAD_NAME, daemon=True)
        self._thread.start()

    def submit(self, experiment: PlannedExperiment, attempt: int) -> None:
        self.busy = True
        self._todo.put((experiment, attempt))

    def state(self) -> WorkerState:
        return self._worker.state()

    def close(self) -> None:
        self._todo.put(None)
        # A worker that is stuck, or cut off by the user, can't be waited for; the thread ends with the process.
        if not self.busy:
            self._thread.join()

    def _work(self) -> None:
        report = self._worker.start()
        self.busy = False
        if isinstance(report, Failed):
            self._events.put(Unfit(self.name, report))
            return
        self._events.put(Ready(self.name, report))
        while (task := self._todo.get()) is not None:
            ran = self._worker.run(*task)
            self.busy = False
            self._events.put(Finished(self.name, *ran))
        self._worker.close()


def local_shape(simulate_gpus: int | None, *, inline: bool) -> ClusterShape:
    """This machine as admission sees it: simulated boards, or those of NVML that this process may use."""
    name, cpus, workers = platform.node() or "localhost", float(os.cpu_count() or 1), 1 if inline else None
    if simulate_gpus is not None:
        node = NodeShape(name, simulate_gpus, cpus, "Simulated GPU", workers=workers)
        return ClusterShape((node,), simulated=True, inline=inline)
    boards = list_boards()
    tokens = assigned_tokens(os.environ)
    if tokens is not None:
        allowed = set(resolve_assigned(tokens, boards))
        boards = tuple(board for board in boards if board.uuid in allowed)
    memory_mb = min((board.memory_total_mb for board in boards if board.memory_total_mb), default=None)
    board, driver = (boards[0].name, boards[0].driver_version) if boards else (None, None)
    node = NodeShape(
        name,
        len(boards),
        cpus,
        board,
        memory_mb,
        workers=workers,
        driver=driver,
        generations=frozenset(info.generation for info in boards if info.generation),
    )
    return ClusterShape((node,), inline=inline)
