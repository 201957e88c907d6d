"""The driver loop over a scripted pool, in simulated time."""

from __future__ import annotations

import signal

import pytest

from execution.conftest import ONE, TWO, Drive, ListSink, Script, planned
from factories import make_result
from llem_sweep.clock import SimulatedClock
from llem_sweep.config.sweep import ExecutionConfig
from llem_sweep.errors import ClusterError, OutputError
from llem_sweep.execution.driver import STOPPING
from llem_sweep.execution.interrupts import Interrupts
from llem_sweep.execution.ledger import Ending
from llem_sweep.plan.types import PlannedExperiment
from llem_sweep.results.outcome import Completed, Failed, FailureKind, Outcome, Stage
from llem_sweep.results.verdict import Verdict
from llem_sweep.results.warnings import MeasurementWarning, WarningCode


def test_every_experiment_is_settled_once_and_one_is_in_flight_per_worker(drive: Drive) -> None:
    experiments = [planned(f"m{number}") for number in range(7)]
    bench = drive(experiments)
    assert bench.finished
    assert sorted(kept.experiment for kept in bench.sink.kept) == sorted(e.experiment_id for e in experiments)
    assert all(kept.final for kept in bench.sink.kept)
    assert bench.pool.most_in_flight == 2
    assert bench.view.progress is not None
    assert bench.view.progress.done == 7


def test_a_failure_stays_with_its_experiment(drive: Drive) -> None:
    broken = Failed(Stage.RUN, FailureKind.ERROR, "boom")
    bench = drive([planned("a"), planned("b"), planned("c")], script={("b-1", 1): Script(outcome=broken)})
    assert {kept.experiment: type(kept.outcome).__name__ for kept in bench.sink.kept} == {
        "a-1": "Completed",
        "b-1": "Failed",
        "c-1": "Completed",
    }
    assert [note.message for note in bench.view.failures] == ["boom"]


def test_a_broken_device_replaces_the_worker(drive: Drive) -> None:
    broken = Failed(Stage.RUN, FailureKind.DEVICE_FAULT, "CUDA error")
    bench = drive([planned("a"), planned("b")], nodes=(ONE,), script={("a-1", 1): Script(outcome=broken)})
    assert bench.pool.ended[0] == "n0/worker0"
    assert [kept.experiment for kept in bench.sink.kept] == ["a-1", "b-1"]


def test_a_lost_workers_experiment_runs_again_next(drive: Drive) -> None:
    bench = drive(
        [planned("a"), planned("b")], nodes=(ONE,), script={("a-1", 1): Script(lose=FailureKind.WORKER_LOST)}
    )
    assert [(kept.experiment, kept.attempt, kept.final) for kept in bench.sink.kept] == [
        ("a-1", 1, False),
        ("a-1", 2, True),
        ("b-1", 1, True),
    ]
    assert isinstance(bench.sink.kept[0].outcome, Failed)
    assert bench.sink.kept[0].outcome.log_tail == "last words"


def test_a_lost_workers_experiment_is_given_up_after_max_retries(drive: Drive) -> None:
    script = {("a-1", attempt): Script(lose=FailureKind.WORKER_LOST) for attempt in (1, 2, 3)}
    execution = ExecutionConfig(max_retries=1)
    bench = drive([planned("a"), planned("b")], nodes=(ONE,), script=script, execution=execution)
    finals = [(kept.experiment, kept.attempt) for kept in bench.sink.kept if kept.final]
    assert finals == [("a-1", 2), ("b-1", 1)]


def test_a_hung_experiment_fails_at_its_limit_and_the_worker_is_replaced(drive: Drive) -> None:
    execution = ExecutionConfig(experiment_timeout_seconds=10)
    bench = drive(
        [planned("a"), planned("b")],
        nodes=(ONE,),
        script={("a-1", 1): Script(hang=True)},
        execution=execution,
    )
    assert bench.pool.ended[0] == "n0/worker0"
    outcome = bench.sink.kept[0].outcome
    assert isinstance(outcome, Failed)
    assert outcome.kind is FailureKind.TIMEOUT
    assert outcome.log_tail == "end of the log"
    assert bench.pool.submitted[1][2] == pytest.approx(11.0, abs=1.0)


def test_a_hang_is_settled_even_where_the_worker_can_not_be_replaced(drive: Drive) -> None:
    sink = ListSink()
    with pytest.raises(ClusterError):
        drive(
            [planned("a")],
            nodes=(ONE,),
            script={("a-1", 1): Script(hang=True)},
            execution=ExecutionConfig(experiment_timeout_seconds=10),
            sink=sink,
            replaceable=False,
        )
    assert [(kept.experiment, kept.final) for kept in sink.kept] == [("a-1", True)]


def test_loading_does_not_count_towards_the_limit(drive: Drive) -> None:
    execution = ExecutionConfig(experiment_timeout_seconds=10)
    slow = Script(take_s=109.0, load_s=100.0)
    bench = drive([planned("a")], nodes=(ONE,), script={("a-1", 1): slow}, execution=execution)
    assert isinstance(bench.sink.kept[0].outcome, Completed)


def test_a_failed_save_is_a_failed_experiment(drive: Drive) -> None:
    unsaved = Failed(Stage.SAVE, FailureKind.SAVE_FAILED, "disk full")
    bench = drive([planned("a")], sink=ListSink(lambda outcome: unsaved))
    assert bench.view.progress is not None
    assert (bench.view.progress.done, bench.view.progress.failed) == (0, 1)


def test_the_first_interrupt_lets_running_experiments_finish(drive: Drive) -> None:
    experiments = [planned(f"m{number}") for number in range(6)]
    bench = drive(experiments, interrupt_at_s=(0.5,))
    assert not bench.finished
    assert len(bench.sink.kept) == 2


def test_what_outlasts_the_grace_is_left_unsettled(drive: Drive) -> None:
    script = {("a-1", 1): Script(hang=True)}
    execution = ExecutionConfig(grace_seconds=5)
    bench = drive([planned("a"), planned("b")], script=script, execution=execution, interrupt_at_s=(0.5,))
    assert not bench.finished
    assert [kept.experiment for kept in bench.sink.kept] == ["b-1"]
    assert bench.sink.events.count("cut") == 1


def test_the_second_interrupt_stops_now(drive: Drive) -> None:
    script = {("a-1", 1): Script(take_s=20.0)}
    bench = drive([planned("a")], script=script, interrupt_at_s=(0.5, 1.5))
    assert not bench.finished
    assert bench.sink.kept == []
    assert bench.clock.monotonic() < 3.0


def test_a_worker_that_can_not_be_used_leaves_the_rest_to_the_others(drive: Drive) -> None:
    bench = drive([planned("a"), planned("b")], unfit=("n0/worker0",))
    assert bench.finished
    assert {worker for worker, *_ in bench.pool.submitted} == {"n0/worker1"}


def test_without_any_usable_worker_the_sweep_stops_and_says_why(drive: Drive) -> None:
    with pytest.raises(ClusterError, match="wrong board"):
        drive([planned("a")], unfit=("n0/worker0", "n0/worker1"))


def test_gaps_between_experiments_and_cycles_are_kept(drive: Drive) -> None:
    experiments = [planned("a", 1), planned("b", 1), planned("a", 2)]
    execution = ExecutionConfig(cycle_order="interleaved", experiment_gap_seconds=2, cycle_gap_seconds=7)
    bench = drive(experiments, nodes=(ONE,), execution=execution)
    starts = [start_s for *_, start_s in bench.pool.submitted]
    assert starts == pytest.approx([0.0, 3.0, 11.0], abs=0.3)


def test_a_node_to_itself_means_one_experiment_at_a_time_on_each(drive: Drive) -> None:
    experiments = [planned(f"m{number}") for number in range(6)]
    execution = ExecutionConfig(exclusive="node")
    bench = drive(experiments, execution=execution, nodes=(TWO, ONE._replace(name="n1")))
    assert bench.finished
    assert bench.pool.most_in_flight == 2
    busy: dict[str, float] = {}
    for worker, _, start_s in bench.pool.submitted:
        node = worker.partition("/")[0]
        assert start_s >= busy.get(node, -1.0) + 1.0 - 1e-9, "the one before has ended"
        busy[node] = start_s


def test_whoever_was_on_the_same_node_meanwhile_is_in_the_result(drive: Drive) -> None:
    script = {("a-1", 1): Script(take_s=2.5), ("b-1", 1): Script(take_s=1.0), ("c-1", 1): Script(take_s=1.0)}
    bench = drive(
        [planned("a"), planned("b"), planned("far"), planned("c")],
        nodes=(TWO, ONE._replace(name="elsewhere")),
        script=script,
    )
    met = {
        kept.experiment: kept.outcome.result
        for kept in bench.sink.kept
        if isinstance(kept.outcome, Completed)
    }
    assert met["a-1"].neighbours == ("b-1", "c-1")
    assert met["b-1"].neighbours == ("a-1",)
    assert met["c-1"].neighbours == ("a-1",)
    assert met["far-1"].neighbours == ()
    codes = {name: [each.code for each in result.measurement_warnings] for name, result in met.items()}
    assert WarningCode.SHARED_NODE in codes["a-1"]
    assert WarningCode.SHARED_NODE not in codes["far-1"]


def spoiled() -> Outcome:
    doubt = MeasurementWarning.of(WarningCode.FOREIGN_PROCESS, "process 4711")
    return Completed(make_result(measurement_warnings=(doubt,)), b"")


def test_a_spoiled_experiment_is_run_again_if_asked(drive: Drive) -> None:
    script = {("a-1", 1): Script(outcome=spoiled())}
    execution = ExecutionConfig(on_contamination="retry")
    bench = drive([planned("a"), planned("b")], nodes=(ONE,), script=script, execution=execution)
    kept = [(each.experiment, each.attempt, each.final, type(each.outcome)) for each in bench.sink.kept]
    assert kept == [("a-1", 1, False, Failed), ("a-1", 2, True, Completed), ("b-1", 1, True, Completed)]
    failure = bench.sink.kept[0].outcome
    assert isinstance(failure, Failed)
    assert failure.kind is FailureKind.CONTAMINATED
    assert "process 4711" in failure.message
    assert bench.view.progress is not None
    assert (bench.view.progress.done, bench.view.progress.failed) == (2, 0)


def test_a_spoiled_experiment_is_kept_with_its_warnings_at_the_end_of_its_attempts(drive: Drive) -> None:
    script = {("a-1", attempt): Script(outcome=spoiled()) for attempt in (1, 2, 3, 4)}
    execution = ExecutionConfig(on_contamination="retry", max_retries=2)
    bench = drive([planned("a")], nodes=(ONE,), script=script, execution=execution)
    assert [(each.attempt, type(each.outcome)) for each in bench.sink.kept] == [
        (1, Failed),
        (2, Failed),
        (3, Completed),
    ]


@pytest.mark.parametrize(("kind", "attempts"), [("context", 2), ("cold", 1)])
def test_a_cold_baseline_that_no_attempt_can_better_is_no_reason_to_try_again(
    drive: Drive, kind: str, attempts: int
) -> None:
    doubt = MeasurementWarning.of(WarningCode.BASELINE_NOT_IDLE, "process 4711")
    known = make_result().energy_breakdown
    assert known is not None
    breakdown = known.model_copy(update={"baseline_kind": kind})
    outcome = Completed(make_result(measurement_warnings=(doubt,), energy_breakdown=breakdown), b"")
    execution = ExecutionConfig(on_contamination="retry")
    bench = drive([planned("a")], script={("a-1", 1): Script(outcome=outcome)}, execution=execution)
    assert [each.attempt for each in bench.sink.kept][-1] == attempts


def test_a_spoiled_experiment_is_kept_at_once_by_default(drive: Drive) -> None:
    bench = drive([planned("a")], nodes=(ONE,), script={("a-1", 1): Script(outcome=spoiled())})
    assert [each.attempt for each in bench.sink.kept] == [1]


def test_nothing_more_is_begun_after_a_result_that_is_not_publishable_as_it_had_to_be(drive: Drive) -> None:
    good = Completed(make_result(verdict=Verdict(publishable=True)), b"")
    bad = Completed(make_result(verdict=Verdict(publishable=False, because=("short_window: 2 s",))), b"")
    script = {(f"{name}-1", 1): Script(outcome=outcome) for name, outcome in (("a", good), ("b", bad))}
    experiments = [planned(name) for name in "abc"]
    bench = drive(experiments, nodes=(ONE,), script=script, require_publishable=True)
    assert bench.ending is Ending.UNPUBLISHABLE
    assert [each.experiment for each in bench.sink.kept] == ["a-1", "b-1"]
    assert any("short_window: 2 s" in message for message in bench.view.messages)


def test_what_completes_is_kept_with_its_load_for_the_closing_table(drive: Drive) -> None:
    script = {("a-1", 1): Script(take_s=9.0, load_s=5.0), ("b-1", 1): Script(take_s=7.0, load_s=6.0)}
    bench = drive([planned("a", 1), planned("a", 2), planned("b", 1)], nodes=(ONE,), script=script)
    reached = bench.tally.efficiency(1)
    assert reached is not None
    assert reached.loads == 2
    assert reached.bound_s == pytest.approx(4 + 1 + 1 + 5 + 6)
    assert reached.share == pytest.approx(1, abs=0.05)
    assert reached.busy_share == pytest.approx(1, abs=0.05)


def test_the_schedule_learns_from_what_completes_and_nothing_from_what_fails(drive: Drive) -> None:
    broken = Script(take_s=500.0, outcome=Failed(Stage.RUN, FailureKind.ERROR, "boom"))
    bench = drive([planned("a", 1), planned("a", 2), planned("b", 1)], script={("b-1", 1): broken})
    assert bench.estimates.recorded == ["a", "a"]
    assert bench.estimates.measured_s("a") == pytest.approx(1.0, abs=0.1)


class Log(ListSink):
    """Writes down when what was handed out and kept; stops working when ``full_at`` is handed out."""

    def __init__(self, full_at: str = "") -> None:
        super().__init__()
        self.log: list[str] = []
        self._full_at = full_at

    def commit(
        self, experiment: PlannedExperiment, attempt: int, outcome: Outcome, *, final: bool, worker: str
    ) -> Outcome:
        self.log.append(f"kept {experiment.experiment_id}")
        return super().commit(experiment, attempt, outcome, final=final, worker=worker)

    def mention(self, event: str, **fields: object) -> None:
        if fields["experiment_id"] == self._full_at:
            raise OutputError("can't write the journal")
        self.log.append(f"{event} {fields['experiment_id']}")


GOES_ON = ["dispatched a-1", "dispatched b-1", "kept a-1", "kept b-1"]
WAITS = ["dispatched a-1", "kept a-1", "dispatched b-1", "kept b-1"]


def test_a_worker_has_its_next_task_before_its_outcome_is_written(drive: Drive) -> None:
    sink = Log()
    drive([planned("a"), planned("b")], nodes=(ONE,), sink=sink)
    assert sink.log == GOES_ON


def test_of_many_that_finish_at_once_none_waits_for_the_outcome_of_another(drive: Drive) -> None:
    sink = Log()
    drive([planned(model) for model in "abcd"], nodes=(TWO,), sink=sink)
    begun, kept = sink.log[:4], sink.log[4:]
    assert {event.split()[0] for event in begun} == {"dispatched"}
    assert {event.split()[0] for event in kept} == {"kept"}


def test_it_waits_where_the_outcome_decides_whether_anything_more_is_begun(drive: Drive) -> None:
    good = Completed(make_result(verdict=Verdict(publishable=True)), b"")
    both = {("a-1", 1): Script(outcome=good), ("b-1", 1): Script(outcome=good)}
    sink = Log()
    drive([planned("a"), planned("b")], nodes=(ONE,), script=both, sink=sink, require_publishable=True)
    assert sink.log == WAITS


def test_it_waits_after_a_failure_that_may_settle_others(drive: Drive) -> None:
    broken = Failed(Stage.RUN, FailureKind.ERROR, "boom")
    sink = Log()
    drive([planned("a"), planned("b")], nodes=(ONE,), script={("a-1", 1): Script(outcome=broken)}, sink=sink)
    assert sink.log == WAITS


def test_an_outcome_is_written_even_where_the_next_task_can_not_be_handed_out(drive: Drive) -> None:
    sink = Log(full_at="b-1")
    with pytest.raises(OutputError, match="journal"):
        drive([planned("a"), planned("b")], nodes=(ONE,), sink=sink)
    assert sink.log == ["dispatched a-1", "kept a-1"]


def test_an_interrupt_is_told_of_once_and_by_the_driver(drive: Drive) -> None:
    """A signal comes in the midst of anything: in a handler, a line could be written into another one."""
    bench = drive([planned(f"m{number}") for number in range(9)], interrupt_at_s=(1.5, 1.6))
    assert bench.ending is Ending.INTERRUPTED
    assert bench.view.messages == [STOPPING]
    clock = SimulatedClock()
    interrupts = Interrupts(clock)
    assert not interrupts.untold()
    with interrupts:
        signal.raise_signal(signal.SIGINT)
        assert interrupts.stopping
    assert [interrupts.untold(), interrupts.untold()] == [True, False]
