"""From admitted experiments to settled ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llem_sweep.clock import Clock
from llem_sweep.execution.driver import Driver, Orders
from llem_sweep.execution.interrupts import Interrupts
from llem_sweep.execution.ledger import Ending, Sink
from llem_sweep.execution.pool import Cluster
from llem_sweep.execution.retries import Retries
from llem_sweep.execution.scheduling.schedule import Schedule, Task
from llem_sweep.execution.tally import Tally
from llem_sweep.plan.estimates import Estimates
from llem_sweep.plan.need import Need, need_of
from llem_sweep.plan.types import PlannedExperiment


def execute(
    experiments: Sequence[PlannedExperiment],
    cluster: Cluster,
    sink: Sink,
    orders: Orders,
    clock: Clock,
    tally: Tally,
    estimates: Estimates,
) -> Ending:
    """Run every experiment on the workers of ``cluster``, in the order that suits ``estimates``, which learn."""
    retries = Retries(orders.execution, sink.tried())
    tasks = [Task(planned, retries.attempt(planned.experiment_id)) for planned in experiments]
    pool = cluster.pool()
    with Interrupts(clock) as interrupts:
        try:
            schedule = Schedule(tasks, orders.execution, estimates)
            return Driver(schedule, cluster.shape, pool, sink, orders, clock, tally, interrupts).run()
        finally:
            pool.close()


def baselines_s(experiments: Sequence[PlannedExperiment]) -> Callable[[Need], float]:
    """Length of the cold baseline of workers for a need: the longest that any experiment with it asks for."""
    longest_s: dict[Need, float] = {}
    for experiment in experiments:
        config = experiment.config
        need = need_of(config)._replace(accelerators=())
        wanted = need.gpus and config.baseline.enabled and config.energy.backend != "null"
        length_s = config.baseline.duration_seconds if wanted else 0.0
        longest_s[need] = max(longest_s.get(need, 0.0), length_s)
    return lambda need: longest_s[need._replace(accelerators=())]
