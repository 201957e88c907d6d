"""What runs inside Ray's worker processes."""

from __future__ import annotations

import gc
import logging
import pickle
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayTaskError

from llem_sweep.clock import SystemClock
from llem_sweep.device.nvml import list_boards
from llem_sweep.errors import DeviceError
from llem_sweep.execution.logs import own_log_paths
from llem_sweep.execution.meeting import Call, Member
from llem_sweep.execution.on_ray.names import boards_label
from llem_sweep.execution.on_ray.worker_metrics import WorkerMetrics
from llem_sweep.execution.progress import News, WorkerState
from llem_sweep.execution.worker import Ran, Worker, WorkerReport, WorkerSpec
from llem_sweep.plan.types import PlannedExperiment
from llem_sweep.results.environment import BoardInfo
from llem_sweep.results.outcome import Failed

PUSH_PERIOD_S = 0.3
"""How often a worker tells what it is doing: one push costs it about 0.3 ms, and far more where many workers share
few cores."""
METRICS_EVERY = 3
"""Pushes between two tellings of metrics: Ray forgets a gauge that wasn't set within two of its reports, which may
be a second apart."""
MUST_MATCH = ("llem-sweep", "torch", "transformers")


class GpuWorker:
    """A :class:`Worker` as a Ray actor. Ray's restarts are off: the driver alone decides what runs again."""

    def __init__(
        self, spec: WorkerSpec, sweep: str, simulated: bool, board: Any, meeting: Any = None
    ) -> None:
        """``meeting`` is where the processes of a worker of several meet; None for a worker of one."""
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        ids = ray.get_runtime_context().get_accelerator_ids().get("GPU", []) if spec.gpus else []
        label = boards_label(ids) or spec.name.removeprefix(f"{spec.node}/")
        self._name = f"{sweep}/{spec.node}/{label}"
        if simulated and spec.gpus:
            spec = spec._replace(simulated=tuple(int(number) for number in ids))
        clock = SystemClock()
        gang = (
            None
            if meeting is None
            else Member(spec.rank, spec.size, spec.parallelism, _calls(meeting), clock)
        )
        self._worker = Worker(spec, clock, gang)
        self._board = board
        self._news = News()
        self._metrics = WorkerMetrics(self._worker, sweep, label)
        self._looks = count()
        clock.every(PUSH_PERIOD_S, self._push)

    def __repr__(self) -> str:
        """Which boards it has, on Ray's dashboard and before its log lines: Ray asks once, now."""
        return self._name

    def start(self) -> tuple[WorkerReport | Failed, tuple[str, ...]]:
        """Prove the boards and take the cold baseline; what came of it, and the paths of this process's log."""
        started = self._worker.start()
        # What is there by now stays. A collection that went through all of it again would take as long as dozens
        # of short experiments' handling, and might fall into a window.
        gc.collect()
        gc.freeze()
        return started, own_log_paths()

    def _push(self) -> None:
        state = self._worker.state()
        if self._news.is_in(state):
            self._board.push.remote(state)
        if next(self._looks) % METRICS_EVERY == 0:
            self._metrics.tell()

    def run(self, experiment: bytes, attempt: int) -> bytes:
        """Run one experiment; it and what came of it, a :class:`Ran`, are packed."""
        return packed(self._worker.run(unpacked(experiment), attempt))


def packed(value: PlannedExperiment | Ran) -> bytes:
    """``value`` as bytes: Ray passes them on as they are, and takes four times as long to pack it itself."""
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def unpacked(data: bytes) -> Any:
    """What :func:`packed` was given."""
    return pickle.loads(data)


def _calls(meeting: Any) -> Call:
    """Calls of a meeting's methods that raise what they raise there."""

    def call(method: str, *arguments: Any) -> Any:
        try:
            return ray.get(getattr(meeting, method).remote(*arguments))
        except RayTaskError as error:
            raise error.cause from None

    return call


class StatusBoard:
    """The one place that workers push their state to and the driver reads."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._states: dict[str, tuple[WorkerState, float]] = {}

    def __repr__(self) -> str:
        return self._name

    def push(self, state: WorkerState) -> None:
        self._states[state.name] = (state, time.monotonic())

    def snapshot(self) -> dict[str, tuple[WorkerState, float]]:
        """The newest state of each worker and its age in seconds."""
        now_s = time.monotonic()
        return {name: (state, now_s - pushed_s) for name, (state, pushed_s) in self._states.items()}


class NodeReport(NamedTuple):
    """What a node says of itself."""

    host: str
    versions: dict[str, str]
    """Of :data:`MUST_MATCH`; the public part, since builds for CPU and CUDA are the same release."""
    boards: tuple[BoardInfo, ...]
    problem: str | None


def report_node() -> NodeReport:
    """Versions and boards of the node that this runs on."""
    try:
        boards, problem = list_boards(), None
    except DeviceError as error:
        boards, problem = (), str(error)
    return NodeReport(platform.node(), versions(), boards, problem)


def versions() -> dict[str, str]:
    """Installed versions of :data:`MUST_MATCH`, without their local part."""
    found = {}
    for name in MUST_MATCH:
        try:
            found[name] = version(name).split("+")[0]
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
