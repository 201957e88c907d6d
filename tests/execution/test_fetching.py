"""Models brought onto nodes ahead of need, in simulated time."""

from __future__ import annotations

from execution.conftest import ONE, TWO, Drive, Script, planned
from llem_sweep.config.sweep import ExecutionConfig
from llem_sweep.execution.pool import Joined, Left
from llem_sweep.plan.types import PlannedExperiment
from llem_sweep.results.outcome import Completed


def points(models: str, each: int) -> list[PlannedExperiment]:
    return [
        planned(model)._replace(experiment_id=f"{model}{number}", config_hash=f"{model}{number}")
        for model in models
        for number in range(each)
    ]


def test_each_model_is_fetched_once_per_node_before_it_is_needed(drive: Drive) -> None:
    experiments = points("abc", 20)
    script = {(e.experiment_id, 1): Script(take_s=20.0) for e in experiments}
    execution = ExecutionConfig(cycle_order="longest_first")
    bench = drive(experiments, nodes=(ONE,), script=script, execution=execution, fetches=True, fetch_s=30.0)
    assert sorted(key for _, key, _ in bench.pool.fetched) == ["a", "b", "c"]
    began = {experiment[0]: at_s for _, experiment, at_s in reversed(bench.pool.submitted)}
    first = bench.pool.submitted[0][1][0]
    for _, key, at_s in bench.pool.fetched:
        assert key == first or at_s + 30.0 < began[key], "ahead of need"


def test_whoever_is_measured_beside_a_fetch_has_it_among_its_neighbours(drive: Drive) -> None:
    experiments = points("ab", 5)
    script = {(e.experiment_id, 1): Script(take_s=20.0) for e in experiments}
    bench = drive(experiments, nodes=(ONE,), script=script, fetches=True, fetch_s=3.0)
    met = [kept.outcome.result.neighbours for kept in bench.sink.kept if isinstance(kept.outcome, Completed)]
    assert ("fetch of b",) in met
    assert met.count(()) >= 5
    assert bench.sink.events.count("fetch_begun") == bench.sink.events.count("fetch_ended") > 0


def test_nothing_is_fetched_ahead_where_experiments_have_nodes_to_themselves(drive: Drive) -> None:
    execution = ExecutionConfig(cycle_order="interleaved", exclusive="node")
    bench = drive(points("ab", 3), nodes=(TWO,), execution=execution, fetches=True)
    assert bench.finished
    assert bench.pool.fetched == []


def test_what_comes_back_after_a_loss_is_fetched_again(drive: Drive) -> None:
    script = {(e.experiment_id, n): Script(take_s=5.0) for e in points("a", 8) for n in (1, 2)}
    bench = drive(
        points("a", 8), nodes=(ONE,), script=script, fetches=True,
        events=((7.0, Left("n0", "power cut")), (12.0, Joined(ONE))),
    )  # fmt: skip
    assert bench.finished
    assert [(node, key) for node, key, _ in bench.pool.fetched] == [("n0", "a"), ("n0", "a")]
