"""What the driver needs of a set of workers, however they are run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.execution.prefetch import FetchEnded, FetchOrder
from llem_sweep.execution.progress import SweepView, WorkerState
from llem_sweep.execution.worker import WorkerReport
from llem_sweep.plan.need import Need
from llem_sweep.plan.types import ClusterShape, ModelFacts, NodeShape, PlannedExperiment
from llem_sweep.results.outcome import Failed, FailureKind, Outcome


class Seat(NamedTuple):
    """Where a worker is to sit, and what it has there."""

    worker: str
    """Its name, for example ``node7/worker0``: one worker at a time has it."""
    node: str
    need: Need
    """Boards and processes; the kinds of board don't matter any more."""
    cpus: float
    """Of each process."""
    baseline_s: float
    """Length of the cold baseline; 0 for none."""


class Ready(NamedTuple):
    """A worker can take its first experiment."""

    worker: str
    report: WorkerReport


class Unfit(NamedTuple):
    """A worker could not be brought up. What it was to have stays held, so that no other gets it."""

    worker: str
    failure: Failed


class Finished(NamedTuple):
    """A worker's experiment came to its end."""

    worker: str
    outcome: Outcome
    took_s: float = 0.0
    """On the worker, loading not counted; of several processes, on the one that took longest."""
    loading_s: float = 0.0
    """Loading the model, and idle power taken with it resident before the run."""


class Lost(NamedTuple):
    """A worker is gone, and what it had is free again if its node still stands."""

    worker: str
    reason: str
    log_tail: str
    kind: FailureKind = FailureKind.WORKER_LOST
    """WORKER_LOST, HOST_MEMORY or NODE_LOST."""


class Joined(NamedTuple):
    """A node can be used."""

    node: NodeShape


class Draining(NamedTuple):
    """A node is about to leave: what runs there may finish, and nothing more is to begin."""

    node: str
    reason: str


class Left(NamedTuple):
    """A node is gone; Lost has come for each of its workers."""

    node: str
    reason: str


Event = Ready | Unfit | Finished | Lost | Joined | Draining | Left | FetchEnded


class WorkerPool(Protocol):
    """Workers on the nodes of a cluster, for one thread. Every method but ``next_events`` returns at once."""

    def open(self, seat: Seat) -> None:
        """Bring up a worker: Ready, Unfit or Lost follows. Its name is free and so is what it is to have."""

    def submit(self, worker: str, experiment: PlannedExperiment, attempt: int) -> None:
        """Run ``experiment`` on a worker that is ready and free."""

    def next_events(self, timeout_s: float) -> Sequence[Event]:
        """All that has happened since the last call, in order; waits at most ``timeout_s`` for the first of it."""

    def states(self) -> Mapping[str, WorkerState]:
        """Each worker as last heard of."""

    def log_tail(self, worker: str) -> str:
        """The end of a worker's log; empty where it has none of its own."""

    def end(self, worker: str, *, broken: bool = False) -> None:
        """End a worker, by force if need be, and set free what it has; no event follows.

        ``broken`` says that its process can't be used again. Raises ClusterError where that can't be helped.
        """

    def fetch(self, order: FetchOrder) -> bool:
        """Bring a model onto a node, beside its workers: FetchEnded follows, unless the node is lost.

        False where nothing can be fetched but by loading it.
        """

    def want(self, needs: Mapping[Need, int]) -> None:
        """So many workers for each need would find work at once; an autoscaler is told, where there is one."""

    def close(self) -> None:
        """End every worker. Safe to call twice."""


class Cluster(Protocol):
    """Somewhere to run workers."""

    @property
    def shape(self) -> ClusterShape:
        """What there is now, for admission."""

    def pool(self) -> WorkerPool:
        """A pool without workers; those of an earlier one are ended first. Its nodes are those of ``shape``."""

    @property
    def watchers(self) -> Sequence[SweepView]:
        """Those of the cluster's own who want to be told of the sweep."""

    def describe(self, config: ExperimentConfig) -> Mapping[str, ModelFacts]:
        """What each node besides the driver's own knows of a model, by the node's name."""

    def close(self) -> None:
        """Stop whatever was started. Safe to call twice."""
