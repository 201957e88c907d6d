"""One worker in this process, without Ray: the same experiments, the same outcomes."""

from __future__ import annotations

import os
import platform
import queue
import threading
from collections.abc import Mapping
from contextlib import ExitStack

from llem_sweep.clock import Clock
from llem_sweep.device.assigned import assigned_tokens, resolve_assigned
from llem_sweep.device.nvml import list_boards
from llem_sweep.errors import ClusterError, ConfigError
from llem_sweep.execution.pool import Event, Finished, Ready, Unfit
from llem_sweep.execution.progress import WorkerState
from llem_sweep.execution.worker import Worker, WorkerSpec, device_environment_restored
from llem_sweep.plan.types import ClusterShape, NodeShape, PlannedExperiment
from llem_sweep.results.outcome import Failed

THREAD_NAME = "llem-sweep-inline"
"""A thread of this name outlives a sweep only when its worker is stuck, or was cut off by the user."""


class InlineCluster:
    """This process as a cluster of one node and one worker."""

    def __init__(self, simulate_gpus: int | None, clock: Clock) -> None:
        self._simulate_gpus = simulate_gpus
        self._clock = clock
        self._pool: InlinePool | None = None
        self._node = platform.node() or "localhost"
        self._environment = ExitStack()
        self._environment.enter_context(device_environment_restored())

    @property
    def shape(self) -> ClusterShape:
        """The boards of this machine that this process may use."""
        return local_shape(self._simulate_gpus, inline=True)

    def pool(self, gpus: int, baseline_s: float, cpu_workers: int) -> InlinePool:
        """The one worker, with ``gpus`` boards. Raises ConfigError for more CPU workers than one."""
        if not gpus and cpu_workers > 1:
            raise ConfigError(
                f"execution.cpu_workers: {cpu_workers} need processes of their own: run without --inline"
            )
        if self._pool is not None:
            self._pool.close()
        simulated = tuple(range(gpus)) if self._simulate_gpus is not None else None
        spec = WorkerSpec(f"{self._node}/inline", self._node, gpus, simulated, baseline_s, takes_first=True)
        self._pool = InlinePool(spec, self._clock)
        return self._pool

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()
        self._environment.close()


class InlinePool:
    """A worker on a thread of its own, so that the driver stays free to watch it and to be interrupted."""

    def __init__(self, spec: WorkerSpec, clock: Clock) -> None:
        self._worker = Worker(spec, clock)
        self._name = spec.name
        self._todo: queue.SimpleQueue[tuple[PlannedExperiment, int] | None] = queue.SimpleQueue()
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._fit = True
        self._busy = True
        """Whether the worker is at something that may never end: an experiment, or its own start."""
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=THREAD_NAME, daemon=True)
        self._thread.start()

    def submit(self, worker: str, experiment: PlannedExperiment, attempt: int) -> None:
        self._busy = True
        self._todo.put((experiment, attempt))

    def next_event(self, timeout_s: float) -> Event | None:
        try:
            return self._events.get(timeout=timeout_s) if timeout_s > 0 else self._events.get_nowait()
        except queue.Empty:
            return None

    def states(self) -> Mapping[str, WorkerState]:
        return {self._name: self._worker.state()} if self._fit else {}

    def log_tail(self, worker: str) -> str:
        return ""

    def replace(self, worker: str) -> None:
        raise ClusterError(
            "the inline worker is stuck or broken, and this process can't replace it: the sweep stops here."
            " Run such a sweep without --inline, where each worker has a process of its own"
        )

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._todo.put(None)
        # A worker that is stuck, or cut off by the user, can't be waited for; the thread ends with the process.
        if not self._busy:
            self._thread.join()

    def _work(self) -> None:
        report = self._worker.start()
        self._busy = False
        if isinstance(report, Failed):
            self._fit = False
            self._events.put(Unfit(self._name, report))
            return
        self._events.put(Ready(self._name, report))
        while (task := self._todo.get()) is not None:
            outcome = self._worker.run(*task)
            self._busy = False
            self._events.put(Finished(self._name, outcome))
        self._worker.close()


def local_shape(simulate_gpus: int | None, *, inline: bool) -> ClusterShape:
    """This machine as admission sees it: simulated boards, or those of NVML that this process may use."""
    name, cpus = platform.node() or "localhost", float(os.cpu_count() or 1)
    if simulate_gpus is not None:
        node = NodeShape(name, simulate_gpus, cpus, "Simulated GPU")
        return ClusterShape((node,), simulated=True, inline=inline)
    boards = list_boards()
    tokens = assigned_tokens(os.environ)
    if tokens is not None:
        allowed = set(resolve_assigned(tokens, boards))
        boards = tuple(board for board in boards if board.uuid in allowed)
    memory_mb = min((board.memory_total_mb for board in boards if board.memory_total_mb), default=None)
    board, driver = (boards[0].name, boards[0].driver_version) if boards else (None, None)
    node = NodeShape(name, len(boards), cpus, board, memory_mb, driver=driver)
    return ClusterShape((node,), inline=inline)
