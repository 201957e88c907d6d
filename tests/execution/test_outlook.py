"""The time left that a watcher is told, over scripted workers in simulated time."""

from __future__ import annotations

from itertools import islice

import pytest

from execution.conftest import Bench, Drive, Script, planned
from llem_sweep.clock import SimulatedClock
from llem_sweep.config.sweep import ExecutionConfig
from llem_sweep.execution import outlook
from llem_sweep.execution.assignments import Assignments
from llem_sweep.execution.crew import Crew
from llem_sweep.execution.nodes import Nodes
from llem_sweep.execution.outlook import Outlook
from llem_sweep.execution.progress import Progress
from llem_sweep.execution.scheduling.schedule import Schedule, Task
from llem_sweep.plan.estimates import Estimates
from llem_sweep.plan.types import ClusterShape, NodeShape, PlannedExperiment
from virtual.pool import Act, VirtualPool

TWO = (NodeShape("n0", 2, 2.0, "Board"),)


def ends_s(bench: Bench, *, after_s: float) -> list[float]:
    """When the sweep was to end, as told at every moment from ``after_s`` on."""
    told = [each for each in bench.view.seen if each.elapsed_s >= after_s]
    assert all(each.remaining_s is not None for each in told)
    return [each.elapsed_s + (each.remaining_s or 0.0) for each in told]


def took_s(bench: Bench) -> float:
    assert bench.finished
    return bench.clock.monotonic()


def wide(name: str, gpus: int) -> PlannedExperiment:
    experiment = planned(name)
    return experiment._replace(config=experiment.config.model_copy(update={"gpus": gpus}))


@pytest.mark.parametrize("order", ["interleaved", "blocked", "longest_first"])
def test_known_points_are_foretold_and_not_averaged(drive: Drive, order: str) -> None:
    """A tenth of a second off, the time between two looks: an average would have the last hour done in half."""
    experiments = [planned(name, cycle) for cycle in (1, 2) for name in ("short", "long")]
    script = {
        (f"{name}-{cycle}", 1): Script(take_s=take_s)
        for name, take_s in (("short", 60.0), ("long", 3600.0))
        for cycle in (1, 2)
    }
    execution = ExecutionConfig.model_validate({"cycle_order": order, "n_cycles": 2})
    bench = drive(experiments, script=script, execution=execution, watched=True, nodes=TWO)
    known_s = 3600.0 + 60.0
    for end_s in ends_s(bench, after_s=known_s):
        assert end_s == pytest.approx(took_s(bench), abs=1.0)


def test_what_runs_corrects_what_was_expected_of_the_rest(drive: Drive) -> None:
    """Points of one model that take a fraction of what was expected: half way, the end is foretold."""
    experiments = [planned(f"m{n}")._replace(config=planned("m").config) for n in range(12)]
    script = {(each.experiment_id, 1): Script(take_s=120.0) for each in experiments}
    bench = drive(experiments, script=script, watched=True, nodes=TWO)
    first = bench.view.seen[1]
    assert not first.learnt
    assert first.remaining_s is not None
    assert first.remaining_s > 2 * took_s(bench)
    for end_s in ends_s(bench, after_s=took_s(bench) / 2 + 1):
        assert end_s == pytest.approx(took_s(bench), rel=0.1)
    assert bench.view.seen[-1].learnt


def test_models_that_are_still_to_be_loaded_count(drive: Drive) -> None:
    experiments = [planned(name, cycle) for name in ("a", "b") for cycle in (1, 2, 3)]
    script = {
        (each.experiment_id, 1): Script(take_s=400.0 if each.cycle == 1 else 100.0, load_s=300.0)
        for each in experiments
    }
    script = {
        key: each if each.take_s == 400.0 else each._replace(load_s=0.0) for key, each in script.items()
    }
    execution = ExecutionConfig(cycle_order="sequential", n_cycles=3)
    one = (NodeShape("n0", 1, 1.0, "Board"),)
    bench = drive(experiments, script=script, execution=execution, watched=True, nodes=one)
    assert took_s(bench) == pytest.approx(1200, abs=1)
    at_half = next(each for each in bench.view.seen if each.elapsed_s >= 590)
    # 10 s of the third cycle, then another model: its load, and three cycles of a point that hasn't run yet.
    assert at_half.remaining_s is not None
    assert at_half.remaining_s > 10 + 300


def test_wide_experiments_follow_narrow_ones(drive: Drive) -> None:
    experiments = [planned("a"), planned("b"), wide("c", 2)]
    experiments += [each._replace(experiment_id=f"{each.config_hash}-2", cycle=2) for each in experiments]
    script = {(each.experiment_id, 1): Script(take_s=500.0) for each in experiments}
    execution = ExecutionConfig(cycle_order="interleaved", n_cycles=2)
    bench = drive(experiments, script=script, execution=execution, watched=True, nodes=TWO)
    for end_s in ends_s(bench, after_s=1000.5):
        assert end_s == pytest.approx(took_s(bench), abs=2.0)


def test_gaps_between_experiments_count(drive: Drive) -> None:
    experiments = [planned("a", cycle) for cycle in range(1, 6)]
    script = {(each.experiment_id, 1): Script(take_s=100.0) for each in experiments}
    execution = ExecutionConfig(cycle_order="interleaved", n_cycles=5, experiment_gap_seconds=60)
    bench = drive(
        experiments, script=script, execution=execution, watched=True, nodes=(NodeShape("n0", 1, 1.0, "B"),)
    )
    mid = next(each for each in bench.view.seen if each.elapsed_s > 110)
    assert mid.elapsed_s + (mid.remaining_s or 0.0) == pytest.approx(took_s(bench), abs=65)


def test_nobody_who_watches_is_told_nothing(drive: Drive) -> None:
    bench = drive([planned("a"), planned("b")])
    assert {each.remaining_s for each in bench.view.seen} == {None}


def test_an_experiment_that_takes_longer_than_expected_goes_on_having_time_left(drive: Drive) -> None:
    experiments = [planned("a", 1), planned("a", 2)]
    script = {("a-1", 1): Script(take_s=10.0), ("a-2", 1): Script(take_s=1000.0)}
    one = (NodeShape("n0", 1, 1.0, "Board"),)
    bench = drive(experiments, script=script, watched=True, nodes=one)
    late: list[Progress] = [each for each in bench.view.seen if 500 < each.elapsed_s < 1000]
    assert all(each.remaining_s == pytest.approx(0.1 * (each.elapsed_s - 10), rel=0.05) for each in late)


class Ticking(SimulatedClock):
    """A clock by which every look at it takes a tenth of a millisecond."""

    looks = 0

    def monotonic(self) -> float:
        self.looks += 1
        return super().monotonic() + 1e-4 * self.looks


def driverless(experiments: int, nodes: tuple[NodeShape, ...]) -> tuple[Ticking, Outlook]:
    clock = Ticking(start_s=0.0)
    estimates, execution = Estimates(lambda config: config.model), ExecutionConfig(cycle_order="interleaved")
    tasks = [Task(planned(f"m{number}"), 1) for number in range(experiments)]
    schedule = Schedule(tasks, execution, estimates)
    pool = VirtualPool(clock, lambda worker, experiment, attempt: Act(None))  # type: ignore[arg-type]
    crew = Crew(ClusterShape(nodes), pool, clock, cpu_workers=1, exclusive=False, baseline_s=lambda need: 0.0)
    assignments = Assignments(schedule, crew, Nodes(exclusive=False), execution, clock)
    return clock, Outlook(schedule, assignments, crew, execution, clock)


def test_a_long_forecast_is_gone_on_with_at_each_look() -> None:
    clock, long = driverless(1000, TWO)
    answers, costs = [], []
    for _ in range(400):
        before = clock.looks
        answers.append(long.left_s())
        costs.append((clock.looks - before) * 1e-4)
    assert answers[0] is None
    assert answers[-1] is not None
    assert max(costs) <= outlook.FIRST_BUDGET_S + 3e-4
    answered = answers.index(next(each for each in answers if each is not None))
    assert max(costs[answered + 1 :]) <= outlook.BUDGET_S + 3e-4
    assert len(set(islice(answers, answered, None))) > 1


def test_unknown_while_nobody_is_there_to_run_it() -> None:
    _, nobody = driverless(3, ())
    assert nobody.left_s() is None
    _, room = driverless(3, TWO)
    assert room.left_s() is not None
