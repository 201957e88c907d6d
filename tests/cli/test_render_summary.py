from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from factories import UUIDS, make_board, make_environment, make_plan
from llem_sweep.cli.render_points import FRONT_SHOWN
from llem_sweep.cli.render_summary import FAILURES_SHOWN, PENDING_SHOWN, summary_report
from llem_sweep.plan.efficiency import Efficiency
from llem_sweep.plan.types import PlannedExperiment, Refusal, RefusedExperiment, SkippedPoint, SweepPlan
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
    for figure in ("80.0", "5.00", "5.00 kJ", "0.24 %", "3.25 kJ"):
        assert figure in row
    assert "\nMeasured on 2 × NVIDIA H100 80GB HBM3\n" in text
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
    for word in ("tokens/s", "J/token", "energy", "adjusted", "Measured on", *UUIDS):
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
    row = row_of(text, "precision=bf16", "batch_size=8")
    assert row.split()[2:] == ["–", "–", "80.0", "–", "–"]
    assert "Pareto" not in text
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
    plan = make_plan(
        shared={}, sweep={"model": ["org/first", "org/second"], "precision": ["bf16", "fp16"]}, n_cycles=2
    )
    both = SIMULATED | {"measured_on": "synthetic"}
    narrow = printed(summary_report(make_sweep_result(plan, pending=[5], **both), 80), 80)
    for word in ("synthetic", "simulated"):
        assert sum(row.endswith(word) for row in table_rows(narrow)) == 4
    assert max(map(len, table_rows(narrow))) <= 80


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
    assert row_of(text, "first precision=fp16").split()[2:4] == ["precision=fp16", "2"]
    assert row_of(text, "second precision=fp16").split()[2:4] == ["precision=fp16", "2"]


def by_batch(
    figures: dict[int, tuple[float, float]], **fields: Any
) -> Callable[[PlannedExperiment], dict[str, Any]]:
    """Joules per token and tokens per second by batch size; in bf16 half the energy."""

    def each(planned: PlannedExperiment) -> dict[str, Any]:
        joules, rate = figures[planned.config.pytorch.batch_size]
        joules *= 0.5 if planned.config.precision == "bf16" else 1.0
        return {
            "avg_energy_per_token_j": joules,
            "avg_energy_per_token_uncertainty_j": 0.01 * joules,
            "avg_tokens_per_second": rate,
            **fields,
        }

    return each


def table_rows(text: str) -> list[str]:
    """The lines of the first table, without its head."""
    lines = text.splitlines()
    (head,) = [number for number, line in enumerate(lines) if "configuration" in line]
    end = next(
        number
        for number in range(head, len(lines))
        if lines[number].startswith("* least") or not lines[number]
    )
    return lines[head + 1 : end]


def test_the_least_energy_per_token_comes_first_and_what_stands_out_is_marked(
    make_sweep_result: MakeResult, printed: Printed
) -> None:
    result = make_sweep_result(each=by_batch({1: (8.0, 20.0), 8: (2.0, 90.0)}))
    text = printed(summary_report(result, 140))
    rows = table_rows(text)
    assert [row[:2] for row in rows] == ["*P", "  ", "  ", "  "]
    assert [row.split("batch_size=")[1].split()[1] for row in rows] == ["1.00", "2.00", "4.00", "8.00"]
    assert "precision=bf16 batch_size=8" in rows[0]
    assert "* least energy per token of its model\n" in text
    assert "  1.00 J/token at 90.0 tokens/s: precision=bf16 batch_size=8\n" in text


def test_the_pareto_front_is_listed_and_what_it_beats_is_not(
    make_sweep_result: MakeResult, printed: Printed
) -> None:
    result = make_sweep_result(each=by_batch({1: (2.0, 20.0), 8: (3.0, 90.0)}))
    text = printed(summary_report(result, 140))
    assert [row[:2] for row in table_rows(text)] == ["*P", " P", "  ", "  "]
    front = text[text.index("P Pareto front") :].splitlines()[1:4]
    assert front == [
        "  1.00 J/token at 20.0 tokens/s: precision=bf16 batch_size=1",
        "  1.50 J/token at 90.0 tokens/s: precision=bf16 batch_size=8",
        "",
    ]


def test_what_the_bounds_do_not_tell_from_the_best_says_so(
    make_sweep_result: MakeResult, printed: Printed
) -> None:
    close = printed(summary_report(make_sweep_result(each=by_batch({1: (2.0, 20.0), 8: (2.03, 20.0)})), 140))
    assert [row[0] for row in table_rows(close)] == ["*", "≈", " ", " "]
    assert "; ≈ as good within the bounds" in close
    apart = printed(summary_report(make_sweep_result(each=by_batch({1: (2.0, 20.0), 8: (2.1, 20.0)})), 140))
    assert [row[0] for row in table_rows(apart)] == ["*", " ", " ", " "]
    assert "≈" not in apart


def test_every_model_has_its_best(make_sweep_result: MakeResult, printed: Printed) -> None:
    plan = make_plan(shared={}, sweep={"model": ["org/first", "org/second"], "pytorch.batch_size": [1, 8]})
    text = printed(
        summary_report(make_sweep_result(plan, each=by_batch({1: (8.0, 20.0), 8: (2.0, 90.0)})), 140)
    )
    rows = table_rows(text)
    assert [row[0] for row in rows] == ["*", "*", " ", " "]
    assert {row.split()[1] for row in rows[:2]} | {row.split()[2] for row in rows[:2]} >= {
        "first",
        "batch_size=8",
    }
    same = make_plan(shared={}, sweep={"model": ["one/m", "two/m"]})
    text = printed(summary_report(make_sweep_result(same), 140))
    assert "one/m" in text
    assert "two/m" in text


def test_cycles_are_one_row_with_their_number_and_their_spread(
    make_sweep_result: MakeResult, printed: Printed
) -> None:
    plan = make_plan(1, n_cycles=3)
    joules = {1: 1.9, 2: 2.0, 3: 2.1}

    def each(planned: PlannedExperiment) -> dict[str, Any]:
        return {
            "avg_energy_per_token_j": joules[planned.cycle],
            "avg_energy_per_token_uncertainty_j": 0.0,
            "avg_tokens_per_second": 10.0 * joules[planned.cycle],
        }

    text = printed(summary_report(make_sweep_result(plan, each=each), 140))
    (row,) = table_rows(text)
    # Student's t for two degrees of freedom, 4.303, times 0.1 over the root of three, of 2.0.
    assert row.split()[1:6] == ["3", "2.00", "12", "%", "20.0"]
    assert row.split()[6:8] == ["12", "%"]
    assert "cycle 2" not in text
    verbose = printed(summary_report(make_sweep_result(plan, each=each), 140, verbose=True))
    assert [line.split()[:3] for line in table_rows(verbose)[1:]] == [
        ["cycle", "1", "1.90"],
        ["cycle", "2", "2.00"],
        ["cycle", "3", "2.10"],
    ]
    partly = printed(summary_report(make_sweep_result(plan, each=each, failed={1: "no"}, pending=[2]), 140))
    assert table_rows(partly)[0].split()[1:4] == ["1", "of", "3"]
    assert "\nNot run yet\n  Llama-3.1-8B cycle 3\n" in partly


def test_what_was_not_run_yet_is_named_and_cut(make_sweep_result: MakeResult, printed: Printed) -> None:
    result = make_sweep_result(make_plan(40), pending=range(2, 40))
    text = printed(summary_report(result, 140))
    assert f"  {38 - PENDING_SHOWN} more; -v shows them\n" in text
    assert "run_seconds=39.0" not in text
    assert "run_seconds=39.0\n" in printed(summary_report(result, 140, verbose=True))
    nothing = printed(summary_report(make_sweep_result(make_plan(2), pending=[0, 1]), 140))
    assert "J/token" not in nothing


def test_kinds_of_boards_are_never_ranked_against_each_other(
    make_sweep_result: MakeResult, printed: Printed
) -> None:
    """The simulated point needs less than any other, and is best in its own table alone."""

    def each(planned: PlannedExperiment) -> dict[str, Any]:
        figures = by_batch({1: (8.0, 20.0), 8: (2.0, 90.0)})(planned)
        return figures | (SIMULATED if planned.config.precision == "bf16" else {})

    for width in (80, 140):
        text = printed(summary_report(make_sweep_result(each=each), width), width)
        measured = text.index("\nMeasured on 2 × NVIDIA H100 80GB HBM3\n")
        simulated = text.index("\nSimulated on 2 × Simulated GPU: no measurement\n")
        assert text.count("configuration") == 2
        assert text.count("\n*P") == 2
        assert measured < text.index("\n*P") < simulated < text.rindex("\n*P")
        assert "2 experiments ran on SIMULATED boards: no measurement" in text


def test_the_report_s_path_stands_before_the_folder_s(
    make_sweep_result: MakeResult, printed: Printed
) -> None:
    without = printed(summary_report(make_sweep_result(), 80), 80)
    assert "report:" not in without
    place = Path("/results/" + "long name/" * 20 + "report.html")
    text = printed(summary_report(make_sweep_result()._replace(report=place), 80), 80)
    assert text.splitlines()[-2:] == [f"report: {place}", "/results/grid_20260304-050607"]


def test_a_long_front_is_cut_unless_asked_for(make_sweep_result: MakeResult, printed: Printed) -> None:
    def each(planned: PlannedExperiment) -> dict[str, Any]:
        step = planned.config.synthetic.run_seconds
        return {"avg_energy_per_token_j": 1.0 + step, "avg_tokens_per_second": 10.0 + step}

    result = make_sweep_result(make_plan(30), each=each)
    assert printed(summary_report(result, 140)).count("J/token at") == FRONT_SHOWN
    assert printed(summary_report(result, 140, verbose=True)).count("J/token at") == 30


def test_cycles_that_failed_alike_are_one_failure(make_sweep_result: MakeResult, printed: Printed) -> None:
    plan = make_plan(2, n_cycles=3)
    failures = {0: "broke", 1: "broke", 2: "otherwise", 5: "broke"}
    result = make_sweep_result(plan, failed=failures)
    text = printed(summary_report(result, 140))
    named = [f"  Llama-3.1-8B run_seconds={number}.0" for number in range(2)]
    assert f"{named[0]} cycles 1, 2: load, out_of_memory\n    broke\n" in text
    assert f"{named[0]} cycle 3: load, out_of_memory\n    otherwise\n" in text
    assert f"{named[1]} cycle 3: load, out_of_memory\n    broke\n" in text
    assert "/failure1/failure.json" in text
    assert "/failure0/failure.json" not in text
    assert "/failure0/failure.json" in printed(summary_report(result, 140, verbose=True))
