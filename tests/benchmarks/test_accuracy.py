"""The accuracy report from few windows and boards: what it prints, and that it tells what falls short."""

from __future__ import annotations

import pytest

import accuracy
from llem_sweep.device.sensors import GENERATIONS
from truth import calibration, faults, idle, windows
from truth.against_zeus import Both, shortfalls
from truth.random_windows import BOARDS
from truth.section import Given, Section

SEED = 7


def of(*, ours_j: float | None = 100.0, zeus_j: float = 110.0) -> Both:
    return Both(True, True, 1.0, ours_j, 1.0, 100.1, zeus_j, 100.0)


def test_the_parts_asked_for_are_printed_as_one_document(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        accuracy,
        "PARTS",
        {
            "first": lambda given: Section("First", (f"seed {given.seed}", f"{given.windows} windows"), ()),
            "second": lambda given: Section("Second", ("text",), ("too far off",)),
        },
    )
    assert accuracy.main(["--part", "first", "--seed", "3", "--windows", "5"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("# Accuracy against known truths\n\nSeed 3.\n\n## First\n\nseed 3\n5 windows\n")
    assert "Second" not in printed
    assert accuracy.main([]) == 1
    printed = capsys.readouterr().out
    assert printed.index("## First") < printed.index("Nothing falls short.") < printed.index("## Second")
    assert "**Falls short:** too far off" in printed


def test_windows_are_seen_through_every_board() -> None:
    section = windows.measured(Given(SEED, windows=4))
    covered = [line for line in section.text if line.startswith("| over all |")]
    assert covered[0].split(" | ")[2] == str(4 * len(BOARDS))
    assert "seeds 7000000 to 7000003" in section.text[0]
    rows = [line for line in section.text if " s | 1 |" in line or " s | 2 |" in line]
    assert len(rows) >= len(BOARDS)


def test_a_bound_that_misses_the_truth_falls_short() -> None:
    outcome = windows.outcomes_of(SEED)[0]
    sure = [outcome._replace(board=board, error=0.02, bound=0.001) for board in BOARDS]
    assert "over all : truth inside the bound in 0.00%" in windows.coverage(sure)[1]
    assert windows.verdict(sure[:1], outcome.board.tick_s, 10.0) == ["biased", "inaccurate"]


def test_the_timing_of_a_volta_board_is_recovered() -> None:
    found = calibration.recovered(calibration.Case("volta", SEED))
    assert found.power is not None
    assert found.power.update_period_s == pytest.approx(0.02, rel=calibration.MOST_ERROR)
    assert found.power.window_s == pytest.approx(0.01, rel=calibration.MOST_ERROR)


def test_timing_that_is_off_or_missing_falls_short() -> None:
    published = GENERATIONS["hopper"].power
    assert published is not None
    late = published.model_copy(update={"lag_s": 0.011})
    problems = [problem for _, problem in calibration.compared(published, [published, late])]
    assert problems == [None, None, "lag 11.0%"]
    problems = [problem for _, problem in calibration.compared(published, [published, None])]
    assert problems[0] == "update period 0.0%, 1 not found"


def test_energy_above_idle_is_inside_its_bound_where_the_cold_baseline_is_far_off() -> None:
    net = idle.net_energy(idle.Case("hopper", SEED))
    assert abs(net.error) <= net.bound < 0.01
    assert net.cold_error > 0.1


def test_a_window_far_off_and_a_small_lead_over_zeus_fall_short() -> None:
    assert shortfalls([of(), of(zeus_j=95.0)]) == ()
    assert shortfalls([of(ours_j=98.0)]) == ("the rms error is 4.8 x lower than Zeus's, not 5 x",)
    far, _ = shortfalls([of(ours_j=106.0)])
    assert far == "a window of 1.000 s is off by +5.89% (Zeus: +10.00%)"
    unknown, _ = shortfalls([of(ours_j=None)])
    assert "-100.00%" in unknown


def test_every_fault_is_caught_and_a_clean_experiment_is_left_alone() -> None:
    section = faults.measured(Given(SEED), experiments=1, clean=2)
    assert section.short == ()
    assert sum(line.count("| 1 |") for line in section.text) == 2 * len(faults.FAULTS)


def test_a_fault_that_nobody_sees_falls_short(monkeypatch: pytest.MonkeyPatch) -> None:
    unseen = {"nothing at all": faults.Fault("made_up")}
    monkeypatch.setattr(faults, "FAULTS", unseen)
    section = faults.measured(Given(SEED), experiments=1, clean=0)
    assert section.short == ("nothing at all was caught in 0 of 1",)
