"""What comes back from a worker for an experiment: completed or failed, never anything in between."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from llem_sweep.results.experiment import ExperimentResult


class Stage(StrEnum):
    """Where an experiment failed."""

    QUEUE = "queue"
    """Waiting: it was never begun."""
    START = "start"
    """Bringing the worker up: identity, NVML, cold baseline."""
    LOAD = "load"
    WARM_UP = "warm-up"
    RUN = "run"
    ASSEMBLE = "assemble"
    SAVE = "save"
    WORKER = "worker"
    """The worker itself was lost or had to be replaced."""


class FailureKind(StrEnum):
    """Why an experiment failed, as far as it decides what happens next."""

    ERROR = "error"
    OUT_OF_MEMORY = "out_of_memory"
    DEVICE_FAULT = "device_fault"
    """The worker's device context is broken; it has to be replaced."""
    BOARD_LOST = "board_lost"
    IDENTITY = "identity"
    TIMEOUT = "timeout"
    WORKER_LOST = "worker_lost"
    """Its worker's process died while the node went on."""
    HOST_MEMORY = "host_memory"
    """Its worker's process was ended because the node ran out of memory."""
    NODE_LOST = "node_lost"
    """Its node was preempted, failed or was cut off."""
    CONTAMINATED = "contaminated"
    """Something from outside spoiled the measurement, and it is run again."""
    INTERRUPTED = "interrupted"
    """Cut off by the user; the experiment isn't settled and a resume runs it again."""
    SAVE_FAILED = "save_failed"
    NO_SUCH_GPU = "no_such_gpu"
    """No node is left that could run it."""
    PRUNED = "pruned"
    """Not begun, because a point that needs less of everything ran out of memory."""


class Completed(NamedTuple):
    """An experiment that ran."""

    result: ExperimentResult
    timeseries_parquet: bytes


class Failed(NamedTuple):
    """An attempt that didn't."""

    stage: Stage
    kind: FailureKind
    message: str
    traceback: str = ""
    log_tail: str = ""
    """The end of the worker's log."""

    @property
    def needs_new_worker(self) -> bool:
        """Whether the worker that reported this can't be used again."""
        return self.kind in (FailureKind.DEVICE_FAULT, FailureKind.BOARD_LOST)


Outcome = Completed | Failed
