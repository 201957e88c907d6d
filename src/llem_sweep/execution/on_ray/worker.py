"""One worker of the pool: an actor, or as many as it has processes, in one placement group on one node."""

from __future__ import annotations

import time
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

from llem_sweep.execution.meeting import Meeting
from llem_sweep.execution.on_ray.actor import GpuWorker, packed, unpacked
from llem_sweep.execution.on_ray.names import unique
from llem_sweep.execution.pool import Finished, Ready, Seat
from llem_sweep.execution.worker import Ran, WorkerReport, WorkerSpec
from llem_sweep.harness.gathering import gathered
from llem_sweep.plan.types import PlannedExperiment
from llem_sweep.results.outcome import Failed, FailureKind, Outcome, Stage

Call = ray.ObjectRef[Any]
PATIENCE_S = 15.0
"""For the other processes of a worker to notice that one has failed."""


class RayWorker:
    """The actors on a seat, and the calls that they haven't answered."""

    def __init__(self, seat: Seat, node_id: str, sweep: str, board: Any, *, simulated: bool) -> None:
        self.seat = seat
        self.node_id = node_id
        self.since_s = time.monotonic()
        self.members = member_names(seat)
        """Name of each process, by rank."""
        self.log_paths: tuple[str, ...] = ()
        self.pending: dict[Call, int] = {}
        """Rank by call."""
        self._answers: dict[int, Any] = {}
        self._starting = True
        together = seat.need.processes > 1
        self._group = _group(seat, node_id) if together else None
        self._meeting = _meeting(seat, node_id, sweep) if together else None
        self._patience_until_s: float | None = None
        """When processes that go on after another has failed are given up."""
        self._actors = [
            self._actor(rank, name, sweep, board, simulated) for rank, name in enumerate(self.members)
        ]
        self._call([actor.start.remote() for actor in self._actors])

    def run(self, experiment: PlannedExperiment, attempt: int) -> None:
        """Have every process run ``experiment``."""
        task = packed(experiment)
        self._call([actor.run.remote(task, attempt) for actor in self._actors])

    def answered(self, call: Call) -> Ready | Finished | Failed | None:
        """What came of it, once every process has answered; a Failed says that the worker can't be brought up.

        Raises RayError when the process that was called is gone.
        """
        rank = self.pending.pop(call)
        received = ray.get(call)
        self._answers[rank] = answer = received if self._starting else unpacked(received)
        if self.pending:
            if isinstance(answer, Ran) and isinstance(answer.outcome, Failed):
                self._patience_until_s = time.monotonic() + PATIENCE_S
            return None
        answers = [self._answers[rank] for rank in sorted(self._answers)]
        return self._started(answers) if self._starting else self._ran(answers)

    def given_up(self) -> Finished | None:
        """How the experiment failed, when processes don't notice that another one has: they can't be used again.

        A collective call on boards isn't woken by the end of a process that it waits for.
        """
        if self._patience_until_s is None or time.monotonic() < self._patience_until_s:
            return None
        silent = Failed(Stage.WORKER, FailureKind.TIMEOUT, "it didn't notice the failure", follows=True)
        ranks = range(self.seat.need.processes)
        failure = gathered([self._answers[r].outcome if r in self._answers else silent for r in ranks])
        self._patience_until_s = None
        return Finished(self.seat.worker, _unusable(failure))

    def end(self) -> None:
        """End every process."""
        for actor in (*self._actors, *([self._meeting] if self._meeting is not None else [])):
            ray.kill(actor, no_restart=True)
        if self._group is not None:
            remove_placement_group(self._group)
        self.pending.clear()

    def _call(self, calls: list[Call]) -> None:
        self._answers.clear()
        self._patience_until_s = None
        self.pending = {call: rank for rank, call in enumerate(calls)}

    def _started(self, answers: list[tuple[WorkerReport | Failed, tuple[str, ...]]]) -> Ready | Failed:
        self._starting = False
        self.log_paths = tuple(path for _, paths in answers for path in paths)
        reports: list[WorkerReport] = []
        for report, _ in answers:
            if isinstance(report, Failed):
                return report
            reports.append(report)
        return Ready(self.seat.worker, _merged(reports))

    def _ran(self, answers: list[Ran]) -> Finished:
        self._patience_until_s = None
        outcomes = [ran.outcome for ran in answers]
        outcome = gathered(outcomes)
        if isinstance(outcome, Failed) and any(_needs_new_worker(each) for each in outcomes):
            outcome = _unusable(outcome)
        took_s, loading_s = max(ran.took_s for ran in answers), max(ran.loading_s for ran in answers)
        return Finished(self.seat.worker, outcome, took_s, loading_s)

    def _actor(self, rank: int, name: str, sweep: str, board: Any, simulated: bool) -> Any:
        seat = self.seat
        spec = WorkerSpec(
            name=name,
            node=seat.node,
            gpus=seat.need.gpus,
            simulated=() if simulated else None,
            baseline_s=seat.baseline_s,
            rank=rank,
            size=seat.need.processes,
            parallelism=seat.need.parallelism,
        )
        where: Any = NodeAffinitySchedulingStrategy(self.node_id, soft=False)
        if self._group is not None:
            where = PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=rank)
        return (
            ray.remote(GpuWorker)
            .options(
                name=unique(f"{sweep}/{name}"),
                num_gpus=seat.need.gpus,
                num_cpus=seat.cpus,
                max_restarts=0,
                max_task_retries=0,
                scheduling_strategy=where,
            )
            .remote(spec, sweep, simulated, board, self._meeting)
        )


def member_names(seat: Seat) -> tuple[str, ...]:
    """What the processes of a worker are called."""
    if seat.need.processes == 1:
        return (seat.worker,)
    return tuple(f"{seat.worker}.{rank}" for rank in range(seat.need.processes))


def _group(seat: Seat, node_id: str) -> PlacementGroup:
    """Boards for every process, on the seat's node."""
    bundle: dict[str, float] = {"CPU": seat.cpus}
    if seat.need.gpus:
        bundle["GPU"] = float(seat.need.gpus)
    processes = seat.need.processes
    here = [{"ray.io/node-id": node_id}] * processes
    group: PlacementGroup = placement_group(
        [bundle] * processes, strategy="STRICT_PACK", bundle_label_selector=here
    )
    return group


def _meeting(seat: Seat, node_id: str, sweep: str) -> Any:
    """Where the processes of a worker meet, on their node."""
    here = NodeAffinitySchedulingStrategy(node_id, soft=False)
    name = unique(f"{sweep}/{seat.worker}/meeting")
    meeting = ray.remote(Meeting).options(num_cpus=0, name=name, scheduling_strategy=here)
    return meeting.remote(seat.need.processes)


def _needs_new_worker(outcome: Outcome) -> bool:
    return isinstance(outcome, Failed) and outcome.needs_new_worker


def _unusable(outcome: Outcome) -> Outcome:
    """``outcome``, saying that the worker can't be used again."""
    if not isinstance(outcome, Failed) or outcome.needs_new_worker:
        return outcome
    return outcome._replace(worker_unusable=True)


def _merged(reports: list[WorkerReport]) -> WorkerReport:
    first = reports[0]
    return first._replace(
        boards=tuple(board for report in reports for board in report.boards),
        uuids=tuple(uuid for report in reports for uuid in report.uuids),
    )
