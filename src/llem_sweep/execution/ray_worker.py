"""One worker of the pool: an actor, or as many as it has processes, in one placement group on one node."""

from __future__ import annotations

import time
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

from llem_sweep.execution.pool import Finished, Ready, Seat
from llem_sweep.execution.ray_actor import GpuWorker, packed, unpacked
from llem_sweep.execution.worker import Ran, WorkerReport, WorkerSpec
from llem_sweep.plan.types import PlannedExperiment
from llem_sweep.results.outcome import Failed

Call = ray.ObjectRef[Any]


class RayWorker:
    """The actors on a seat, and the calls that they haven't answered."""

    def __init__(self, seat: Seat, node_id: str, sweep: str, board: Any, *, simulated: bool) -> None:
        self.seat = seat
        self.node_id = node_id
        self.members = member_names(seat)
        """Name of each process, by rank."""
        self.log_paths: tuple[str, ...] = ()
        self.pending: dict[Call, int] = {}
        """Rank by call."""
        self._answers: dict[int, Any] = {}
        self._starting = True
        self._group = _group(seat, node_id) if seat.need.processes > 1 else None
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
        self._answers[rank] = ray.get(call)
        if self.pending:
            return None
        answers = [self._answers[rank] for rank in sorted(self._answers)]
        return self._started(answers) if self._starting else self._ran(answers)

    def end(self) -> None:
        """End every process."""
        for actor in self._actors:
            ray.kill(actor, no_restart=True)
        if self._group is not None:
            remove_placement_group(self._group)
        self.pending.clear()

    def _call(self, calls: list[Call]) -> None:
        self._answers.clear()
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

    def _ran(self, answers: list[bytes]) -> Finished:
        (answer,) = answers
        ran: Ran = unpacked(answer)
        return Finished(self.seat.worker, ran.outcome, ran.loading_s)

    def _actor(self, rank: int, name: str, sweep: str, board: Any, simulated: bool) -> Any:
        seat = self.seat
        spec = WorkerSpec(
            name=name,
            node=seat.node,
            gpus=seat.need.gpus,
            simulated=() if simulated else None,
            baseline_s=seat.baseline_s,
        )
        where: Any = NodeAffinitySchedulingStrategy(self.node_id, soft=False)
        if self._group is not None:
            where = PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=rank)
        return (
            ray.remote(GpuWorker)
            .options(
                # Ray keeps a dead actor's name for a while, so every birth has its own.
                name=f"{sweep}/{name}#{time.monotonic_ns()}",
                num_gpus=seat.need.gpus,
                num_cpus=seat.cpus,
                max_restarts=0,
                max_task_retries=0,
                scheduling_strategy=where,
            )
            .remote(spec, simulated, board)
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


def _merged(reports: list[WorkerReport]) -> WorkerReport:
    first = reports[0]
    return first._replace(
        boards=tuple(board for report in reports for board in report.boards),
        uuids=tuple(uuid for report in reports for uuid in report.uuids),
    )
