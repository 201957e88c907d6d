from __future__ import annotations

import pytest

from llem_sweep.plan.efficiency import Piece, TimedRun, efficiency, lower_bound_s


def test_the_bound_is_all_work_with_each_model_once_over_the_boards() -> None:
    pieces = [Piece("a", 1, 30.0, 10.0)] * 3 + [Piece("b", 2, 20.0, 5.0)]
    assert lower_bound_s(pieces, 2) == (3 * 30 + 10 + 2 * 20 + 2 * 5) / 2


def test_or_the_longest_piece_with_its_load() -> None:
    assert lower_bound_s([Piece("a", 1, 100.0, 10.0), Piece("a", 1, 1.0, 10.0)], 8) == 110
    assert lower_bound_s([], 8) == 0


def test_what_a_run_reached() -> None:
    runs = [
        TimedRun("a", 1, 40.0, 20.0, "w0"),
        TimedRun("a", 1, 40.0, None, "w0"),
        TimedRun("a", 1, 30.0, 10.0, "w1"),
    ]
    reached = efficiency(runs, 100.0, 2)
    assert reached is not None
    assert reached.bound_s == (110 + 15) / 2
    assert reached.share == pytest.approx(0.625)
    assert reached.loads == 2
    assert reached.busy_share == pytest.approx(140 / 200)
    assert reached.least_busy_share == pytest.approx(0.4)


def test_wide_work_holds_all_its_boards() -> None:
    reached = efficiency([TimedRun("a", 4, 50.0, None, "w0")], 100.0, 8)
    assert reached is not None
    assert reached.busy_share == pytest.approx(4 * 50 / 800)


def test_nothing_ran() -> None:
    assert efficiency([], 10.0, 2) is None
    assert efficiency([TimedRun("a", 1, 1.0, None, "w")], 0.0, 2) is None
