"""What the driver needs of a set of workers, however they are run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from llem_sweep.execution.progress import WorkerState
from llem_sweep.execution.worker import WorkerReport
from llem_sweep.plan.types import ClusterShape, PlannedExperiment
from llem_sweep.results.outcome import Failed, Outcome


class Ready(NamedTuple):
    """A worker can take its first experiment."""

    worker: str
    report: WorkerReport


class Unfit(NamedTuple):
    """A worker could not be brought up, and won't be."""

    worker: str
    failure: Failed


class Finished(NamedTuple):
    """A worker's experiment came to its end."""

    worker: str
    outcome: Outcome


class Lost(NamedTuple):
    """A worker died; a new one is coming up under the same name unless Unfit follows."""

    worker: str
    reason: str
    log_tail: str


Event = Ready | Unfit | Finished | Lost


class WorkerPool(Protocol):
    """Workers of one width. Used from one thread; every method but ``next_event`` returns at once."""

    def submit(self, worker: str, experiment: PlannedExperiment, attempt: int) -> None:
        """Run ``experiment`` on a worker that is ready and free."""

    def next_event(self, timeout_s: float) -> Event | None:
        """The next thing that happened, waiting for it at most ``timeout_s``."""

    def states(self) -> Mapping[str, WorkerState]:
        """Each worker as last heard of."""

    def log_tail(self, worker: str) -> str:
        """The end of a worker's log; empty where it has none of its own."""

    def replace(self, worker: str) -> None:
        """End a worker by force and bring up another under its name: Ready follows.

        Raises ClusterError when this kind of pool can't.
        """

    def close(self) -> None:
        """End every worker. Safe to call twice."""


class Cluster(Protocol):
    """Somewhere to run workers."""

    @property
    def shape(self) -> ClusterShape:
        """What there is, for admission."""

    def pool(self, gpus: int, baseline_s: float, cpu_workers: int) -> WorkerPool:
        """Start workers of ``gpus`` boards each, on all boards there are; ``cpu_workers`` per node at 0."""

    def close(self) -> None:
        """Stop whatever was started. Safe to call twice."""
