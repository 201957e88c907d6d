"""From admitted experiments to settled ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llem_sweep.clock import Clock
from llem_sweep.config.sweep import ExecutionConfig
from llem_sweep.execution.driver import Driver, Ending, Sink, Task
from llem_sweep.execution.interrupts import Interrupts
from llem_sweep.execution.pool import Cluster
from llem_sweep.execution.tally import Tally
from llem_sweep.plan.types import PlannedExperiment

STOPPING = "stopping: running experiments may finish; interrupt again to stop now"


def execute(
    experiments: Iterable[PlannedExperiment],
    cluster: Cluster,
    sink: Sink,
    execution: ExecutionConfig,
    clock: Clock,
    tally: Tally,
    *,
    require_publishable: bool = False,
) -> Ending:
    """Run every experiment, one width of workers after the other, each width with workers of its own.

    With ``require_publishable`` nothing more is begun after the first result that isn't.
    """
    attempts = sink.attempts()
    with Interrupts(clock, lambda: tally.message(STOPPING)) as interrupts:
        for gpus, group in by_width(experiments):
            tasks = [Task(planned, attempts.get(planned.experiment_id, 0) + 1) for planned in group]
            kind = f"workers of {gpus} GPU{'s' * (gpus > 1)} each" if gpus else "CPU workers"
            tally.message(f"bringing up {kind} for {len(group)} experiment{'s' * (len(group) != 1)}")
            pool = cluster.pool(gpus, baseline_s(group) if gpus else 0.0, execution.cpu_workers or 1)
            try:
                ending = Driver(
                    tasks,
                    pool,
                    sink,
                    execution,
                    clock,
                    tally,
                    interrupts,
                    require_publishable=require_publishable,
                ).run()
            finally:
                pool.close()
            if ending is not Ending.FINISHED:
                return ending
    return Ending.FINISHED


def by_width(experiments: Iterable[PlannedExperiment]) -> Iterator[tuple[int, list[PlannedExperiment]]]:
    """Experiments grouped by the GPUs they need, in the order in which each width first appears."""
    groups: dict[int, list[PlannedExperiment]] = {}
    for experiment in experiments:
        groups.setdefault(experiment.config.gpus, []).append(experiment)
    yield from groups.items()


def baseline_s(experiments: Iterable[PlannedExperiment]) -> float:
    """The longest baseline that any of them asks for; 0 when none does."""
    return max(
        (
            experiment.config.baseline.duration_seconds
            for experiment in experiments
            if experiment.config.baseline.enabled and experiment.config.energy.backend != "null"
        ),
        default=0.0,
    )
