"""The driver with the schedule, over workers whose models have to be loaded, in simulated time."""

from __future__ import annotations

from typing import Any

import pytest

from execution.conftest import Drive, Script, planned
from llem_sweep.config.sweep import ExecutionConfig
from llem_sweep.plan.types import NodeShape, PlannedExperiment

EIGHT = (NodeShape("n0", 8, 8.0, "Board"),)


def points(models: str, each: int, cycles: int = 1) -> list[PlannedExperiment]:
    return [
        planned(f"{model}{number}", cycle)._replace(config=planned(model).config)
        for model in models
        for cycle in range(1, cycles + 1)
        for number in range(each)
    ]


@pytest.mark.parametrize("order", ["blocked", "longest_first"])
def test_models_are_spread_over_the_workers_and_stay_with_them(drive: Drive, order: Any) -> None:
    experiments = points("abcd", 20)
    script = {(each.experiment_id, 1): Script(take_s=100.0) for each in experiments}
    bench = drive(experiments, nodes=EIGHT, script=script, execution=ExecutionConfig(cycle_order=order))
    assert bench.finished
    models: dict[str, set[str]] = {}
    for worker, experiment_id, _ in bench.pool.submitted:
        models.setdefault(worker, set()).add(experiment_id[0])
    assert len(models) == 8
    assert all(len(had) == 1 for had in models.values())
    reached = bench.tally.efficiency(8)
    assert reached is not None
    assert reached.share == pytest.approx(1.0, abs=0.02)
    assert reached.loads == 8


def test_cycles_of_a_point_stay_on_a_worker_by_default(drive: Drive) -> None:
    experiments = points("ab", 12, cycles=3)
    script = {(each.experiment_id, 1): Script(take_s=100.0) for each in experiments}
    bench = drive(experiments, nodes=EIGHT, script=script, execution=ExecutionConfig(n_cycles=3))
    workers: dict[str, set[str]] = {}
    for worker, experiment_id, _ in bench.pool.submitted:
        workers.setdefault(experiment_id.partition("-")[0], set()).add(worker)
    assert len(workers) == 24
    assert all(len(had) == 1 for had in workers.values())


def test_waiting_for_the_driver_is_no_work_of_a_worker(drive: Drive) -> None:
    experiments = points("a", 40)
    script = {(each.experiment_id, 1): Script(take_s=10.0, unheard_s=30.0) for each in experiments}
    bench = drive(experiments, nodes=EIGHT, script=script)
    reached = bench.tally.efficiency(8)
    assert reached is not None
    assert reached.wall_s == pytest.approx(5 * 40.0, abs=5.0)
    assert reached.busy_share == pytest.approx(10.0 / 40.0, abs=0.02), (
        "idle for the rest, whoever is to blame"
    )
    assert bench.estimates.measured_s(experiments[0].config_hash) == pytest.approx(10.0)
