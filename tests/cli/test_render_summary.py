from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from factories import UUIDS, make_board, make_environment, make_plan
from llem_sweep.cli.render_summary import FAILURES_SHOWN, summary_report
from llem_sweep.plan.efficiency import Efficiency
from llem_sweep.plan.types import Refusal, RefusedExperiment, SkippedPoint, SweepPlan
from llem_sweep.results.warnings import REMEDIES, MeasurementWarning, WarningCode
from llem_sweep.sweep import SweepResult

MakeResult = Callable[..., SweepResult]
Printed = Callable[..., str]

SIMULATED: dict[str, Any] = {
    "simulated": True,
    "measured_on": "simulated",
    "environment_snapshot": make_environment(
        [make_board(uuid, name="Simulated GPU", simulated=True) for uuid in UUIDS]
    ),
}


def row_of(text: str, *words: str) -> str:
    (row,) = [line for line in text.splitlines() if all(word in line for word in words)]
    return row


def test_every_experiment_has_its_figures(make_sweep_result: MakeResult, printed: Printed) -> None:
    text = printed(summary_report(make_sweep_result(), 140))
    row = row_of(text, "precision=bf16", "batch_size=8")
    for figure in ("80.0", "5.00", "5.00 kJ", "0.24 %", "3.25 kJ", "measured"):
        assert figure in row
    assert "4 of 4 experiments completed\n" in text


def test_the_efficiency_reached_is_stated_where_something_ran(
    make_sweep_result: MakeResult, printed: Printed
) -> None:
    reached = Efficiency(
        wall_s=4000, bound_s=3600, boards=8, loads=13, busy_share=0.934, least_busy_share=0.88
    )
    text = printed(summary_report(make_sweep_result()._replace(efficiency=reached), 140))
    assert (
        "Took 1 h 06 min, at best 1 h 00 min (efficiency 90 %); 13 loads; busy 93 % of the time, the worker"
        " least used 88 %\n" in text
    )
    alone = reached._replace(boards=1, loads=1)
    text = printed(summary_report(make_sweep_result()._replace(efficiency=alone), 140))
    assert "1 load; busy 93 % of the time\n" in text
    assert "Took" not in printed(summary_report(make_sweep_result(), 140))


def test_eighty_columns_are_enough(make_sweep_result: MakeResult, printed: Printed) -> None:
    text = printed(summary_report(make_sweep_result(folder="/r"), 80), 80)
    assert max(len(line) for line in text.splitlines()) <= 80
    for word in ("tokens/s", "J/token", "energy", "adjusted", "measured", *UUIDS):
        assert word in text


def test_unknown_energy_is_not_shown_as_zero(make_sweep_result: MakeResult, printed: Printed) -> None:
    unknown = {
        "total_energy_j": None,
        "energy_uncertainty_j": None,
        "avg_energy_per_token_j": None,
        "energy_adjusted_j": None,
        "energy_per_device_j": (None, None),
        "measurement_warnings": (),
    }
    text = printed(summary_report(make_sweep_result(**unknown), 140))
    assert row_of(text, "precision=bf16", "batch_size=8").split()[2:] == [
        "80.0",
        "–",
        "–",
        "–",
        "–",
        "measured",
    ]
    assert "0 and 4 unknown" in row_of(text, UUIDS[0])


def test_a_path_is_whole_and_alone_however_narrow_the_terminal(
    make_sweep_result: MakeResult, printed: Printed
) -> None:
    folder = "/home/someone/" + "long name/" * 20 + "grid"
    text = printed(summary_report(make_sweep_result(folder=folder), 80), 80)
    assert text.splitlines()[-1] == folder


def test_simulated_numbers_are_marked_in_title_rows_and_boards(
    make_sweep_result: MakeResult, printed: Printed
) -> None:
    text = printed(summary_report(make_sweep_result(**SIMULATED), 140))
    assert "All numbers were made on SIMULATED boards: no measurement" in text
    assert "simulated" in row_of(text, "precision=bf16", "batch_size=8")
    assert "Simulated GPU" in row_of(text, UUIDS[0])
    assert "measured" not in text.replace("Energy of each board over all measured windows", "")


@pytest.mark.parametrize(
    ("measured_on", "words"), [("synthetic", "SYNTHETIC backend"), ("off-board", "computed OFF the board")]
)
def test_other_numbers_that_are_no_measurement_are_marked(
    make_sweep_result: MakeResult, printed: Printed, measured_on: str, words: str
) -> None:
    text = printed(summary_report(make_sweep_result(measured_on=measured_on), 140))
    assert words in text
    assert measured_on in row_of(text, "precision=bf16", "batch_size=8")
    assert f"({measured_on})" in row_of(text, UUIDS[0])


def test_a_synthetic_backend_on_simulated_boards_is_both(
    make_sweep_result: MakeResult, printed: Printed
) -> None:
    text = printed(summary_report(make_sweep_result(**SIMULATED | {"measured_on": "synthetic"}), 140))
    assert "SIMULATED boards" in text
    assert "SYNTHETIC backend" in text
    assert "synthetic, simulated" in row_of(text, "precision=bf16", "batch_size=8")


def test_a_real_board_s_numbers_carry_no_reservation(make_sweep_result: MakeResult, printed: Printed) -> None:
    text = printed(summary_report(make_sweep_result(), 140))
    assert "no measurement" not in text
    assert "imulated" not in text


def test_a_failure_tells_where_and_why(make_sweep_result: MakeResult, printed: Printed) -> None:
    text = printed(summary_report(make_sweep_result(failed={1: "CUDA out of memory\nTried 20 GiB"}), 140))
    assert "3 of 4 experiments completed, 1 failed\n" in text
    assert "Llama-3.1-8B precision=fp32 batch_size=8: load, out_of_memory" in text
    assert (
        "    CUDA out of memory\n    Tried 20 GiB\n    /results/grid_20260304-050607/failure1/failure.json"
        in text
    )


def test_a_hostile_message_stays_text(make_sweep_result: MakeResult, printed: Printed) -> None:
    text = printed(summary_report(make_sweep_result(failed={1: "[red]\x1b[2J\u202e[/red] :smile:"}), 140))
    assert r"[red]\x1b[2J\u202e[/red] :smile:" in text
    assert "\x1b" not in text


def test_many_failures_are_counted_unless_asked_for(make_sweep_result: MakeResult, printed: Printed) -> None:
    result = make_sweep_result(make_plan(30), failed=dict.fromkeys(range(30), "broke"))
    assert printed(summary_report(result, 140)).count("broke") == FAILURES_SHOWN
    assert f"{30 - FAILURES_SHOWN} more failed; -v shows them" in printed(summary_report(result, 140))
    assert printed(summary_report(result, 140, verbose=True)).count("broke") == 30


def test_a_long_table_is_cut_in_the_middle_and_says_so(
    make_sweep_result: MakeResult, printed: Printed
) -> None:
    result = make_sweep_result(make_plan(200))
    text = printed(summary_report(result, 140))
    assert "… 150 more; -v shows them" in text
    assert "run_seconds=0.0 " in text
    assert "run_seconds=199.0 " in text
    assert "run_seconds=100.0 " not in text
    assert "run_seconds=100.0 " in printed(summary_report(result, 140, verbose=True))


def test_refused_and_skipped_points_have_their_reasons(
    make_sweep_result: MakeResult, printed: Printed, grid_plan: SweepPlan
) -> None:
    refused = [
        RefusedExperiment(planned, Refusal.TOO_LARGE, "needs 161 GiB, the largest board has 80 GiB")
        for planned in grid_plan.experiments[2:]
    ]
    skipped = [SkippedPoint({"decoder.temperature": 3.0}, "decoder.temperature: must be at most 2")]
    text = printed(summary_report(make_sweep_result(refused=refused, skipped=skipped), 140))
    assert "2 of 4 experiments completed, 2 refused, 1 point skipped" in text
    assert text.count("needs 161 GiB") == 1
    assert "2 experiments: precision=bf16 batch_size=1; precision=bf16 batch_size=8" in text
    assert "decoder.temperature: must be at most 2\n    1 point: temperature=3.0" in text


def test_each_warning_is_explained_once_with_its_remedy(
    make_sweep_result: MakeResult, printed: Printed
) -> None:
    short = MeasurementWarning.of(WarningCode.SHORT_WINDOW, "2.1 s")
    text = printed(summary_report(make_sweep_result(measurement_warnings=(short,)), 140))
    assert text.count(REMEDIES[WarningCode.SHORT_WINDOW]) == 1
    assert row_of(text, "short_window").split()[:2] == ["4", "×"]
    verbose = printed(summary_report(make_sweep_result(measurement_warnings=(short,)), 140, verbose=True))
    assert "short_window" in row_of(verbose, "precision=bf16", "batch_size=8")


def test_an_interrupted_sweep_says_how_to_go_on(make_sweep_result: MakeResult, printed: Printed) -> None:
    result = make_sweep_result(pending=[2, 3], interrupted=True, folder="/my results/grid")
    text = printed(summary_report(result, 80), 80)
    assert "Interrupted: 2 of 4 experiments completed, 2 not run yet\n" in text
    assert "Run the rest with: llem-sweep --resume '/my results/grid'\n" in text
    assert text.splitlines()[-1] == "/my results/grid"


def test_a_sweep_in_an_object_store_is_named_by_its_uri(
    make_sweep_result: MakeResult, printed: Printed
) -> None:
    place = "s3://bucket/runs/grid?region=r"
    result = make_sweep_result(failed={1: "no"}, pending=[2], interrupted=True)._replace(uri=place)
    text = printed(summary_report(result, 80), 80)
    assert f"llem-sweep --resume '{place}'\n" in text
    assert "s3://bucket/runs/grid/failure1/failure.json?region=r\n" in text
    assert text.splitlines()[-1] == place


def test_the_plan_s_warnings_are_repeated(make_sweep_result: MakeResult, printed: Printed) -> None:
    text = printed(summary_report(make_sweep_result(warnings=["version has no effect: leave it out"]), 140))
    assert "warning: version has no effect: leave it out\n" in text


def test_cycles_and_models_are_told_apart_where_there_are_several(
    make_sweep_result: MakeResult, printed: Printed
) -> None:
    plan = make_plan(
        shared={},
        sweep={"model": ["org/first", "org/second"], "precision": ["bf16", "fp16"]},
        n_cycles=2,
    )
    text = printed(summary_report(make_sweep_result(plan), 140))
    assert row_of(text, "first precision=fp16 cycle=2")
    assert row_of(text, "second precision=fp16 cycle=1")
