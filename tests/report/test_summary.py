"""The sweep in one table, and the energy of every board."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from factories import START, UUIDS, make_board, make_environment, make_failed, make_plan, make_result_of
from llem_sweep.plan.types import PlannedExperiment, Refusal, RefusedExperiment
from llem_sweep.report.summary import BoardEnergy, energy_by_board, summary_table
from llem_sweep.results.experiment import ExperimentResult
from llem_sweep.results.failure import FailureRecord
from llem_sweep.results.outcome import FailureKind


def failure(planned: PlannedExperiment, attempt: int = 1, final: bool = True, **fields: Any) -> FailureRecord:
    return FailureRecord(
        experiment_id=planned.experiment_id,
        attempt=attempt,
        final=final,
        **make_failed(**fields).kept(),
        worker="w",
        time=START,
        config={},
    )


def test_every_planned_experiment_is_a_row_in_planned_order() -> None:
    plan = make_plan(5)
    first, second, third, fourth, fifth = plan.experiments
    table = summary_table(
        plan,
        results=[("folder-2", make_result_of(second)), ("folder-1", make_result_of(first))],
        failures=[
            ("failed-3", failure(third)),
            ("cut-5", failure(fifth, final=False, kind=FailureKind.INTERRUPTED)),
        ],
        refused=[RefusedExperiment(fourth, Refusal.TOO_LARGE, "needs 160 GB")],
    )
    assert table["experiment_id"].to_pylist() == [planned.experiment_id for planned in plan.experiments]
    assert table["status"].to_pylist() == ["completed", "completed", "failed", "refused", "pending"]
    assert table["folder"].to_pylist() == ["folder-1", "folder-2", "failed-3", None, "cut-5"]
    assert table["failure_kind"].to_pylist() == [None, None, "error", "too_large", "interrupted"]
    assert table["failure_message"].to_pylist()[3] == "needs 160 GB"
    assert table["config.synthetic.run_seconds"].to_pylist() == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_figures_are_those_of_the_result() -> None:
    plan = make_plan(1)
    result = make_result_of(plan.experiments[0])
    [row] = summary_table(plan, [("f", result)]).to_pylist()
    assert row["avg_tokens_per_second"] == result.avg_tokens_per_second
    assert row["avg_energy_per_token_j"] == result.avg_energy_per_token_j
    assert row["total_energy_j"] == result.total_energy_j
    assert row["energy_adjusted_j"] == result.energy_adjusted_j
    assert row["energy_per_device_j"] == [3000.0, 2000.0]
    assert row["device_uuids"] == list(UUIDS)
    assert row["warnings"] == ["power_throttle"]
    assert row["start_time"] == START
    assert (row["node"], row["measured_on"], row["simulated"]) == ("node7", "board", False)


def test_unknown_energy_is_null_and_never_zero() -> None:
    plan = make_plan(1)
    result = make_result_of(plan.experiments[0], total_energy_j=None, energy_per_device_j=(None, 2.0))
    [row] = summary_table(plan, [("f", result)]).to_pylist()
    assert row["total_energy_j"] is None
    assert row["energy_per_device_j"] == [None, 2.0]


def test_what_completed_in_the_end_tells_how_often_it_failed_but_not_how() -> None:
    plan = make_plan(1)
    [planned] = plan.experiments
    failures = [("a", failure(planned, 1, final=False)), ("b", failure(planned, 2, final=False))]
    [row] = summary_table(plan, [("f", make_result_of(planned))], failures).to_pylist()
    assert (row["status"], row["folder"], row["failed_attempts"]) == ("completed", "f", 2)
    assert row["failure_message"] is None


def test_of_several_failures_the_latest_is_told() -> None:
    plan = make_plan(1)
    [planned] = plan.experiments
    failures = [("a", failure(planned, 1, final=False)), ("b", failure(planned, 2, message="again"))]
    [row] = summary_table(plan, [], failures).to_pylist()
    assert (row["status"], row["folder"], row["failure_message"]) == ("failed", "b", "again")


@pytest.mark.parametrize("measured_on", ["simulated", "synthetic", "off-board"])
def test_what_is_no_measurement_says_so_in_its_row(measured_on: str) -> None:
    plan = make_plan(1)
    result = make_result_of(plan.experiments[0], measured_on=measured_on, simulated=True)
    [row] = summary_table(plan, [("f", result)]).to_pylist()
    assert (row["measured_on"], row["simulated"]) == (measured_on, True)


def test_types_dont_depend_on_what_ran() -> None:
    plan = make_plan(2)
    empty = summary_table(plan, [])
    full = summary_table(plan, [("f", make_result_of(planned)) for planned in plan.experiments])
    assert empty.schema == full.schema
    assert empty.schema.field("energy_per_device_j").type == pa.list_(pa.float64())
    assert empty.schema.field("failure_message").type == pa.string()


def test_results_are_looked_at_one_at_a_time() -> None:
    plan = make_plan(3)
    given: list[weakref.ref[ExperimentResult]] = []

    def results() -> Iterator[tuple[str, ExperimentResult]]:
        for planned in plan.experiments:
            assert all(each() is None for each in given[:-1]), "only the last one may still be in memory"
            one = make_result_of(planned)
            given.append(weakref.ref(one))
            yield "f", one

    assert summary_table(plan, results())["status"].to_pylist() == ["completed"] * 3


def result(energies_j: tuple[float | None, ...], **fields: Any) -> tuple[str, ExperimentResult]:
    [planned] = make_plan(1).experiments
    return "folder", make_result_of(planned, energy_per_device_j=energies_j, **fields)


def test_energy_is_summed_by_node_and_uuid() -> None:
    other = make_environment(node="node2", boards=[make_board("GPU-other")])
    boards = energy_by_board(
        [
            result((1.0, 10.0)),
            result((2.0, 20.0)),
            result((5.0,), environment_snapshot=other),
        ]
    )
    assert [(board.node, board.uuid, board.energy_j, board.experiments) for board in boards] == [
        ("node2", "GPU-other", 5.0, 1),
        ("node7", UUIDS[0], 3.0, 2),
        ("node7", UUIDS[1], 30.0, 2),
    ]


def test_unknown_energy_is_counted_and_not_summed() -> None:
    first, second = energy_by_board([result((None, None)), result((2.0, None))])
    assert (first.energy_j, first.experiments, first.unknown) == (2.0, 1, 1)
    assert (second.energy_j, second.experiments, second.unknown) == (None, 0, 2)


def test_measurements_are_never_summed_with_anything_else() -> None:
    simulated = make_environment(boards=[make_board(simulated=True)])
    real = make_environment(boards=[make_board()])
    boards = energy_by_board(
        [
            result((1.0,), environment_snapshot=real),
            result((10.0,), environment_snapshot=real, measured_on="off-board"),
            result((100.0,), environment_snapshot=real, measured_on="synthetic"),
            result((1000.0,), environment_snapshot=simulated, measured_on="synthetic", simulated=True),
            result((10000.0,), environment_snapshot=simulated, measured_on="simulated", simulated=True),
        ]
    )
    assert {(board.measured_on, board.simulated): board.energy_j for board in boards} == {
        ("board", False): 1.0,
        ("off-board", False): 10.0,
        ("synthetic", False): 100.0,
        ("synthetic", True): 1000.0,
        ("simulated", True): 10000.0,
    }


def test_experiments_without_boards_add_none() -> None:
    assert energy_by_board([result((), environment_snapshot=make_environment(boards=[]))]) == ()


def test_a_board_goes_by_its_name() -> None:
    [board] = energy_by_board([result((1.0,), environment_snapshot=make_environment(boards=[make_board()]))])
    assert board == BoardEnergy(
        "node7",
        UUIDS[0],
        "NVIDIA H100 80GB HBM3",
        1.0,
        experiments=1,
        unknown=0,
        measured_on="board",
        simulated=False,
    )
