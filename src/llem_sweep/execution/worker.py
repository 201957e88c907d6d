"""One worker: it proves its boards, keeps them, and turns each experiment into an outcome.

This is the whole life of a worker, without Ray: the actor and the inline executor both wrap it.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from llem_sweep.clock import Clock
from llem_sweep.config.options import Parallelism
from llem_sweep.device.assigned import VISIBLE_DEVICES, assigned_tokens, resolve_assigned
from llem_sweep.device.host_energy import HostMeter
from llem_sweep.device.nvml import NvmlGpu, library_path, list_boards
from llem_sweep.device.protocol import Gpu, Reading
from llem_sweep.device.sensor_cache import known_sensors
from llem_sweep.device.simulated import simulated_boards
from llem_sweep.errors import (
    BoardLostError,
    DeviceFaultError,
    GpuMemoryError,
    IdentityError,
)
from llem_sweep.execution.activity import Activity
from llem_sweep.execution.logs import own_log_tail
from llem_sweep.execution.progress import WorkerState
from llem_sweep.harness.gang import Alone, Gang
from llem_sweep.harness.measure import measure
from llem_sweep.harness.rig import Rig
from llem_sweep.phases import Phase, PhaseMark
from llem_sweep.plan.types import PlannedExperiment
from llem_sweep.redaction import redact
from llem_sweep.results.outcome import Completed, Failed, FailureKind, Outcome, Stage


class WorkerSpec(NamedTuple):
    """What a worker is to be."""

    name: str
    """Unique in the sweep, for example ``node7/gpu0``."""
    node: str
    gpus: int
    simulated: tuple[int, ...] | None
    """Indices of its simulated boards; None for real ones (or none at all, with ``gpus`` 0)."""
    baseline_s: float
    """Length of the cold baseline; 0 for none."""
    takes_first: bool = False
    """Take the first ``gpus`` boards that this process may use, where nobody assigned it just as many."""
    rank: int = 0
    """Its number among the processes that measure together."""
    size: int = 1
    """How many those are."""
    parallelism: Parallelism = "data"
    """How they share an experiment."""


class WorkerReport(NamedTuple):
    """What a worker is, as it found out at birth."""

    boards: tuple[str, ...]
    """NVML's name of each board, or none on a CPU worker."""
    uuids: tuple[str, ...]
    baseline_power_w: float | None
    pid: int
    node: str


class Ran(NamedTuple):
    """What came of an experiment."""

    outcome: Outcome
    took_s: float
    """On the worker, loading not counted. Waits for the driver aren't in it: more workers wouldn't divide them."""
    loading_s: float
    """Loading the model, and idle power taken with it resident before the run."""


STAGE_OF_PHASE = {
    Phase.IDLE: Stage.START,
    Phase.BASELINE: Stage.START,
    Phase.LOAD: Stage.LOAD,
    Phase.CONTEXT: Stage.LOAD,
    Phase.WARM_UP: Stage.WARM_UP,
    Phase.SETTLE: Stage.WARM_UP,
    Phase.PREFILL: Stage.RUN,
    Phase.DECODE: Stage.RUN,
    Phase.COOL: Stage.ASSEMBLE,
}

_KINDS: tuple[tuple[type[BaseException], FailureKind], ...] = (
    (GpuMemoryError, FailureKind.OUT_OF_MEMORY),
    (DeviceFaultError, FailureKind.DEVICE_FAULT),
    (BoardLostError, FailureKind.BOARD_LOST),
    (IdentityError, FailureKind.IDENTITY),
)


_UNLIMITED = (Phase.LOAD, Phase.CONTEXT)
"""Phases that don't count towards an experiment's time limit: their length is the user's or the network's."""


class Worker:
    """Runs experiments one after another on its own boards."""

    def __init__(self, spec: WorkerSpec, clock: Clock, gang: Gang | None = None) -> None:
        """``gang`` are the processes that run every experiment together with this one."""
        self.spec = spec
        self._clock = clock
        self._gang = gang or Alone(clock)
        self.activity = Activity(clock)
        self._rig: Rig | None = None
        self._experiment: PlannedExperiment | None = None
        self._active_before_s = self._loading_s = 0.0
        self._mark = PhaseMark(Phase.IDLE, clock.monotonic())
        self._steps, self._step_s = 0, clock.monotonic()
        """Batches when last looked at, and when that number changed."""

    def start(self) -> WorkerReport | Failed:
        """Open the assigned boards, prove which they are, and take the cold baseline."""
        try:
            self._rig = rig = open_rig(self.spec, self._clock, self._gang)
            rig.phases.subscribe(self._on_phase)
            rig.phases.subscribe(self.activity.on_phase)
            wanted = rig.gpus and self.spec.baseline_s
            baseline = rig.take_cold_baseline(self.spec.baseline_s) if wanted else None
        except Exception as error:  # noqa: BLE001 - the worker's boundary
            self.close()
            return failed(error, Stage.START)
        return WorkerReport(
            boards=tuple(board.name for board in rig.boards),
            uuids=tuple(board.uuid for board in rig.boards),
            baseline_power_w=baseline.power_w if baseline else None,
            pid=os.getpid(),
            node=self.spec.node,
        )

    def run(self, experiment: PlannedExperiment, attempt: int) -> Ran:
        """Run one experiment. Whatever goes wrong comes back as Failed, and the memory is free again."""
        self._loading_s, begun_s = 0.0, self._clock.monotonic()
        outcome = self._run(experiment, attempt)
        all_s = self._clock.monotonic() - begun_s
        return Ran(outcome, max(0.0, all_s - self._loading_s), self._loading_s)

    def _run(self, experiment: PlannedExperiment, attempt: int) -> Outcome:
        rig = self._rig
        if rig is None:
            raise RuntimeError("run() before start()")
        rig.steps, rig.run_tokens, rig.run_s = 0, 0, 0.0
        self._active_before_s, self._experiment = 0.0, experiment
        rig.phases.mark(Phase.IDLE)
        self._gang.begin(f"{experiment.experiment_id}/{attempt}")
        try:
            further: dict[str, bytes] = {}
            measured = measure(experiment, rig, attempt=attempt, keep=further.__setitem__)
            # Of processes that share one model each has all tokens.
            if self.spec.parallelism == "data" or self.spec.rank == 0:
                self.activity.completed(measured.result)
            return Completed(*measured, further)
        except Exception as error:  # noqa: BLE001 - the worker's boundary: every fault becomes an outcome
            outcome = failed(error, STAGE_OF_PHASE[rig.phases.current.phase])
            # The others first: in a group they may wait for this process until the model is released.
            # A model left loaded would starve the next experiment of memory.
            return _released(rig, _told(self._gang, outcome))
        finally:
            # Marked first, so that the time of the last phase is counted.
            rig.phases.mark(Phase.IDLE)
            self._experiment = None

    def state(self) -> WorkerState:
        """What the worker is doing now. Called from another thread while it works."""
        rig, experiment, mark = self._rig, self._experiment, self._mark
        # Between experiments nothing is sampled, and the last sample says nothing about now.
        readings = [
            reading for reading in (rig.latest() if rig and experiment else ()) if reading is not None
        ]
        now_s, steps = self._clock.monotonic(), rig.steps if rig else 0
        if steps != self._steps:
            self._steps, self._step_s = steps, now_s
        return WorkerState(
            name=self.spec.name,
            board=_board_label(rig.boards if rig else (), self.spec),
            model=experiment.config.model if experiment else None,
            experiment=experiment.experiment_id if experiment else None,
            phase=mark.phase,
            steps=steps,
            tokens_per_s=self._tokens_per_s(rig) if rig and experiment else None,
            active_s=self._active_s(mark),
            stalled_s=now_s - max(mark.at_s, self._step_s),
            power_w=_total_power_w(readings),
            temperature_c=max(
                (r.temperature_c for r in readings if r.temperature_c is not None), default=None
            ),
        )

    @property
    def rig(self) -> Rig | None:
        """What it measures with, for whoever watches; None before it was started."""
        return self._rig

    def close(self) -> None:
        """Free the model and let the boards go."""
        if self._rig is not None:
            self._rig.close()

    def _on_phase(self, mark: PhaseMark) -> None:
        # Idle power after the window comes with every experiment, not with the model.
        if self._mark.phase in _UNLIMITED and mark.phase is not Phase.IDLE:
            self._loading_s += mark.at_s - self._mark.at_s
        self._active_before_s = self._active_s(self._mark, mark.at_s)
        self._mark = mark

    def _tokens_per_s(self, rig: Rig) -> float | None:
        """This process's share of the rate, so that those of all processes add up to it."""
        if rig.run_s <= 0:
            return None
        # Processes that share one model all count the same tokens.
        return rig.run_tokens / rig.run_s / (self.spec.size if self.spec.parallelism == "tensor" else 1)

    def _active_s(self, mark: PhaseMark, now_s: float | None = None) -> float:
        if self._experiment is None or mark.phase in _UNLIMITED:
            return self._active_before_s
        return self._active_before_s + (now_s or self._clock.monotonic()) - mark.at_s


def failed(error: BaseException, stage: Stage) -> Failed:
    """``error`` as an outcome, with its traceback and the end of this process's log."""
    kind = next((kind for type_, kind in _KINDS if isinstance(error, type_)), FailureKind.ERROR)
    return Failed(
        stage=stage,
        kind=kind,
        # Here, because this process may know secrets that the driver doesn't.
        message=redact(f"{type(error).__name__}: {error}"),
        traceback=redact("".join(traceback.format_exception(error))),
        log_tail=own_log_tail(),
    )


def _told(gang: Gang, outcome: Failed) -> Failed:
    """``outcome``, told to the other processes, and whether one of those had failed before."""
    try:
        return outcome._replace(follows=gang.fail(outcome.message))
    except Exception as error:  # noqa: BLE001 - part of the worker's boundary
        note = f"{outcome.message}; then the other processes could not be told: {error}"
        return outcome._replace(message=note)


def _released(rig: Rig, outcome: Failed) -> Failed:
    try:
        rig.release_model()
    except Exception as error:  # noqa: BLE001 - part of the worker's boundary
        # Memory that can't be freed leaves the worker unfit; the first failure stays the one reported.
        note = f"{outcome.message}; then the model could not be released: {error}"
        return outcome._replace(kind=FailureKind.DEVICE_FAULT, message=note)
    return outcome


@contextmanager
def device_environment_restored() -> Iterator[None]:
    """Put back at the end what :func:`open_rig` sets in this process's environment, where that isn't its own."""
    kept = {name: os.environ.get(name) for name in (VISIBLE_DEVICES, "CUDA_DEVICE_ORDER")}
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def open_rig(spec: WorkerSpec, clock: Clock, gang: Gang | None = None) -> Rig:
    """Open the boards that ``spec`` assigns, by UUID, and hide all others from this process.

    Raises DeviceError when they can't be opened or told apart.
    """
    gpus = _open_boards(spec, clock)
    library = library_path() if spec.simulated is None and spec.gpus else None
    sensors = tuple(known_sensors(gpu.info, gpu.sensors) for gpu in gpus)
    # Beside simulated boards a real energy would only be taken for theirs.
    host = (lambda: HostMeter(clock)) if spec.simulated is None else None
    return Rig(gpus, clock, node=spec.node, nvml_library=library, sensors=sensors, host=host, gang=gang)


def _open_boards(spec: WorkerSpec, clock: Clock) -> tuple[Gpu, ...]:
    # PCI order makes CUDA's numbers agree with NVML's; it must be set before CUDA starts in this process.
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    if spec.simulated is not None or not spec.gpus:
        os.environ[VISIBLE_DEVICES] = ""
        return tuple(simulated_boards(spec.simulated or (), clock))
    boards = list_boards()
    tokens = assigned_tokens(os.environ)
    uuids = resolve_assigned(tokens, boards) if tokens is not None else tuple(b.uuid for b in boards)
    if spec.takes_first:
        uuids = uuids[: spec.gpus]
    if len(uuids) != spec.gpus:
        raise IdentityError(
            f"{spec.name} was to have {spec.gpus} GPU(s) but was assigned {', '.join(uuids) or 'none'}:"
            " check CUDA_VISIBLE_DEVICES and the GPUs that NVML lists on this node (nvidia-smi -L)"
        )
    # By UUID from here on: CUDA then can't see any board that isn't metered.
    os.environ[VISIBLE_DEVICES] = ",".join(uuids)
    return tuple(NvmlGpu.open(uuid) for uuid in uuids)


def _board_label(boards: tuple[object, ...], spec: WorkerSpec) -> str:
    if not spec.gpus:
        return "CPU"
    names = sorted({str(getattr(board, "name", "GPU")) for board in boards}) or ["GPU"]
    label = names[0] if spec.gpus == 1 else f"{spec.gpus} × {names[0]}"
    return f"{label} (simulated)" if spec.simulated is not None and "imulated" not in label else label


def _total_power_w(readings: list[Reading]) -> float | None:
    known = [reading.power_mw for reading in readings if reading.power_mw is not None]
    return sum(known) / 1000 if known else None
