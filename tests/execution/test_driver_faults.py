"""What the driver makes of workers, nodes and experiments that fail, in simulated time."""

from __future__ import annotations

import pytest

from execution.conftest import ONE, TWO, Bench, Drive, Script, planned
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.sweep import ExecutionConfig
from llem_sweep.errors import ClusterError
from llem_sweep.execution.ledger import Ending
from llem_sweep.execution.pool import Draining, Joined, Left
from llem_sweep.plan.types import NodeShape, PlannedExperiment
from llem_sweep.results.outcome import Failed, FailureKind, Stage

FIXED = {"cycle_order": "interleaved"}


def sized(name: str, **fields: object) -> PlannedExperiment:
    config = ExperimentConfig.model_validate({"model": "acme/m", "energy": {"backend": "null"}} | fields)
    return PlannedExperiment(f"{name}-1", name, config, 1, {})


def kinds(bench: Bench) -> dict[str, FailureKind | None]:
    """What each settled experiment ended as; None for completed."""
    return {
        kept.experiment: kept.outcome.kind if isinstance(kept.outcome, Failed) else None
        for kept in bench.sink.kept
        if kept.final
    }


@pytest.mark.parametrize("second", [FailureKind.WORKER_LOST, FailureKind.HOST_MEMORY])
def test_an_experiment_that_kills_its_worker_twice_is_set_aside(drive: Drive, second: FailureKind) -> None:
    script = {("a-1", 1): Script(lose=FailureKind.WORKER_LOST), ("a-1", 2): Script(lose=second)}
    execution = ExecutionConfig.model_validate(FIXED | {"max_retries": 7})
    bench = drive([planned("a"), planned("b")], nodes=(ONE,), script=script, execution=execution)
    assert bench.settled == [("a-1", 2), ("b-1", 1)]
    outcome = bench.sink.kept[1].outcome
    assert isinstance(outcome, Failed)
    assert "set aside, having lost 2 workers" in outcome.message


def test_a_node_that_goes_has_a_budget_of_its_own(drive: Drive) -> None:
    script = {("a-1", attempt): Script(lose=FailureKind.NODE_LOST) for attempt in range(1, 5)}
    execution = ExecutionConfig.model_validate(FIXED | {"max_retries": 0, "max_preemptions": 4})
    bench = drive([planned("a")], nodes=(ONE,), script=script, execution=execution)
    assert bench.settled == [("a-1", 5)]
    assert kinds(bench) == {"a-1": None}


def test_nothing_is_opened_for_a_while_on_a_node_that_may_be_gone(drive: Drive) -> None:
    script = {("a-1", 1): Script(lose=FailureKind.NODE_LOST)}
    other = ONE._replace(name="n1")
    experiments = [planned(name) for name in "abcd"]
    bench = drive(experiments, nodes=(ONE, other), script=script)
    assert [worker for worker, *_ in bench.pool.submitted] == ["n0/worker0"] + ["n1/worker0"] * 4


def test_a_node_that_leaves_takes_its_workers_and_their_experiments_run_elsewhere(drive: Drive) -> None:
    script = {(f"{name}-1", 1): Script(take_s=10.0) for name in "abc"}
    other = ONE._replace(name="n1")
    bench = drive(
        [planned(name) for name in "abc"],
        nodes=(TWO, other),
        script=script,
        events=((5.0, Left("n0", "terminated")),),
    )
    assert bench.finished
    assert sorted(bench.settled) == [("a-1", 2), ("b-1", 2), ("c-1", 1)]
    assert {worker for worker, _, at_s in bench.pool.submitted if at_s > 5.0} == {"n1/worker0"}


def test_a_node_that_joins_is_used(drive: Drive) -> None:
    bench = drive(
        [planned(str(number)) for number in range(10)],
        nodes=(ONE,),
        events=((2.5, Joined(TWO._replace(name="n1"))),),
    )
    assert bench.finished
    assert {"n1/worker0", "n1/worker1"} <= {worker for worker, *_ in bench.pool.submitted}
    assert bench.clock.monotonic() < 6.5


def test_a_node_that_drains_gets_nothing_new_and_what_runs_there_may_finish(drive: Drive) -> None:
    script = {("a-1", 1): Script(take_s=10.0)}
    other = ONE._replace(name="n1")
    experiments = [planned(str(name)) for name in "abcde"]
    bench = drive(
        experiments, nodes=(ONE, other), script=script, events=((0.5, Draining("n0", "preempted soon")),)
    )
    assert bench.finished
    assert [worker for worker, *_ in bench.pool.submitted].count("n0/worker0") == 1
    assert sorted(bench.settled) == [(f"{name}-1", 1) for name in "abcde"]
    assert "n0/worker0" in bench.pool.ended


def test_a_kind_of_board_that_leaves_for_good_fails_its_own_experiments_alone(drive: Drive) -> None:
    h100 = NodeShape("n1", 1, 1.0, "NVIDIA H100 80GB HBM3", accelerator="H100")
    experiments = [sized("h", accelerator="H100"), *(planned(str(number)) for number in range(200))]
    script = {("h-1", 1): Script(take_s=50.0)}
    execution = ExecutionConfig.model_validate(FIXED | {"node_wait_seconds": 60.0})
    bench = drive(
        experiments,
        nodes=(h100, ONE),
        script=script,
        execution=execution,
        events=((5.0, Left("n1", "spot capacity gone")),),
    )
    assert bench.finished
    found = kinds(bench)
    assert found.pop("h-1") is FailureKind.NO_SUCH_GPU
    assert set(found.values()) == {None}
    failed = next(k.outcome for k in bench.sink.kept if k.final and isinstance(k.outcome, Failed))
    assert "H100" in failed.message
    assert "spot capacity gone" in failed.message


def test_a_kind_of_board_that_comes_back_in_time_goes_on(drive: Drive) -> None:
    h100 = NodeShape("n1", 1, 1.0, "NVIDIA H100 80GB HBM3")
    execution = ExecutionConfig.model_validate(FIXED | {"node_wait_seconds": 60.0})
    bench = drive(
        [sized("h", accelerator=["A100", "h100"]), planned("b")],
        nodes=(h100, ONE),
        script={("h-1", 1): Script(take_s=50.0)},
        execution=execution,
        events=((5.0, Left("n1", "gone")), (40.0, Joined(h100._replace(name="n2")))),
    )
    assert kinds(bench) == {"h-1": None, "b-1": None}


def test_when_every_node_has_left_for_good_the_sweep_stops_to_be_resumed(drive: Drive) -> None:
    with pytest.raises(ClusterError, match="n0 has left: power cut"):
        drive(
            [planned("a")], nodes=(ONE,), script={("a-1", 1): Script(take_s=50.0)},
            events=((5.0, Left("n0", "power cut")),),
        )  # fmt: skip


def test_an_autoscaler_is_asked_for_what_the_queue_needs_and_waited_for(drive: Drive) -> None:
    kind = NodeShape("gpu4", 4, 8.0)
    bench = drive(
        [sized("a", gpus=4), sized("b", gpus=4)],
        nodes=(ONE,),
        startable=(kind,),
        events=((500.0, Joined(kind._replace(name="n9"))),),
    )
    assert bench.finished
    assert {need.boards: count for need, count in bench.pool.wanted[0].items()} == {4: 2}


def test_nodes_of_unknown_kinds_are_waited_for_and_not_for_ever(drive: Drive) -> None:
    execution = ExecutionConfig(cycle_order="interleaved", node_wait_seconds=60.0)
    wide, narrow = sized("wide", gpus=4), sized("narrow", gpus=1)
    joins = (50.0, Joined(NodeShape("n9", 4, 8.0)))
    bench = drive([wide, narrow], nodes=(ONE,), grows=True, execution=execution, events=(joins,))
    assert kinds(bench) == {"wide-1": None, "narrow-1": None}
    bench = drive([wide, narrow], nodes=(ONE,), grows=True, execution=execution)
    assert kinds(bench) == {"wide-1": FailureKind.NO_SUCH_GPU, "narrow-1": None}
    assert bench.clock.monotonic() == pytest.approx(60.0, abs=2.0)


def test_the_sweep_stops_early_when_the_first_experiments_all_fail_alike(drive: Drive) -> None:
    script = {
        (f"{number}-1", 1): Script(outcome=Failed(Stage.LOAD, FailureKind.ERROR, f"no file {number}.bin"))
        for number in range(20)
    }
    bench = drive([planned(str(number)) for number in range(20)], nodes=(ONE,), script=script)
    assert bench.ending is Ending.FAILING
    assert len(bench.sink.kept) == 5
    assert any("no file 4.bin" in message for message in bench.view.messages)


@pytest.mark.parametrize("good", [0, 4])
def test_one_success_or_another_reason_among_the_first_goes_on(drive: Drive, good: int) -> None:
    script = {
        (f"{number}-1", 1): Script(outcome=Failed(Stage.LOAD, FailureKind.ERROR, "no file"))
        for number in range(12)
        if number != good
    }
    bench = drive([planned(str(number)) for number in range(12)], nodes=(ONE,), script=script)
    assert bench.finished
    assert len(bench.settled) == 12


def test_stopping_early_can_be_switched_off(drive: Drive) -> None:
    broken = Failed(Stage.LOAD, FailureKind.ERROR, "no file")
    script = {(f"{number}-1", 1): Script(outcome=broken) for number in range(12)}
    execution = ExecutionConfig.model_validate(FIXED | {"fail_fast_after": 0})
    bench = drive([planned(str(number)) for number in range(12)], script=script, execution=execution)
    assert bench.finished


def batches(*sizes: int) -> list[PlannedExperiment]:
    return [sized(f"batch{size}", pytorch={"batch_size": size}) for size in sizes]


OOM = Script(outcome=Failed(Stage.RUN, FailureKind.OUT_OF_MEMORY, "CUDA out of memory"))


def test_points_that_need_more_than_one_that_ran_out_of_memory_are_pruned(drive: Drive) -> None:
    experiments = [*batches(8, 4, 16, 32), sized("long", max_input_tokens=2048, pytorch={"batch_size": 1})]
    bench = drive(experiments, nodes=(ONE,), script={("batch8-1", 1): OOM})
    assert kinds(bench) == {
        "batch8-1": FailureKind.OUT_OF_MEMORY,
        "batch16-1": FailureKind.PRUNED,
        "batch32-1": FailureKind.PRUNED,
        "batch4-1": None,
        "long-1": None,
    }
    assert [experiment for _, experiment, _ in bench.pool.submitted] == ["batch8-1", "batch4-1", "long-1"]


def test_nothing_is_pruned_if_told_not_to(drive: Drive) -> None:
    execution = ExecutionConfig.model_validate(FIXED | {"prune_out_of_memory": False})
    bench = drive(batches(8, 16), nodes=(ONE,), script={("batch8-1", 1): OOM}, execution=execution)
    assert kinds(bench)["batch16-1"] is None


def test_a_worker_that_is_alive_without_progress_is_replaced(drive: Drive) -> None:
    execution = ExecutionConfig.model_validate(
        FIXED | {"stall_timeout_seconds": 30.0, "experiment_timeout_seconds": 1000.0}
    )
    bench = drive(
        [planned("a"), planned("b")],
        nodes=(ONE,),
        script={("a-1", 1): Script(hang=True)},
        execution=execution,
    )
    assert kinds(bench) == {"a-1": FailureKind.TIMEOUT, "b-1": None}
    failure = bench.sink.kept[0].outcome
    assert isinstance(failure, Failed)
    assert "no progress for 3" in failure.message
    assert "phase decode" in failure.message


def test_a_worker_that_never_comes_up_is_tried_again_and_then_given_up(drive: Drive) -> None:
    with pytest.raises(ClusterError, match="did not come up within 600 s"):
        drive([planned("a")], nodes=(ONE,), birth_s=5000.0)


def test_an_autoscaler_is_told_no_more_often_than_it_looks(drive: Drive) -> None:
    bench = drive([planned(f"m{number}") for number in range(60)], nodes=(ONE,))
    assert bench.clock.monotonic() == pytest.approx(60.0, abs=1.0)
    assert 2 <= len(bench.pool.wanted) <= 60 / 5 + 1
