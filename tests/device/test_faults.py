from __future__ import annotations

import math

import pytest

from llem_sweep.device.faults import Faults, ForeignProcess

SPAN = ForeignProcess(41, begin_s=10.0, end_s=12.0, extra_w=80.0)


def test_by_default_nothing_ever_goes_wrong() -> None:
    faults = Faults()
    for at_s in (-1e9, 0.0, 1e9):
        assert not faults.lost(at_s)
        assert faults.stalled_s(at_s) == 0
        assert faults.present(at_s) == ()
        assert faults.ecc_errors(at_s) == 0
    assert not faults.mig


def test_a_board_is_lost_from_its_moment_on() -> None:
    faults = Faults(lost_at_s=5.0)
    assert [faults.lost(at_s) for at_s in (4.999, 5.0, 1e9)] == [False, True, True]
    assert Faults(lost_at_s=0.0).lost(0.0)


def test_an_answer_takes_until_the_latest_stall_under_way_ends_and_never_less_than_no_time() -> None:
    faults = Faults(stalls=((10.0, 0.5), (10.2, 1.0), (20.0, 0.25)))
    expected = {9.9: 0, 10.0: 0.5, 10.1: 0.4, 10.3: 0.9, 11.3: 0, 15.0: 0, 20.1: 0.15, 99.0: 0}
    assert {at_s: faults.stalled_s(at_s) for at_s in expected} == pytest.approx(expected)


def test_errors_are_counted_from_their_moment_on() -> None:
    faults = Faults(ecc_errors_at_s=(3.0, 1.0, 1.0))
    assert [faults.ecc_errors(at_s) for at_s in (0.9, 1.0, 2.9, 3.0)] == [0, 2, 2, 3]


def test_a_foreign_process_is_there_from_its_beginning_until_its_end() -> None:
    assert [SPAN.present(at_s) for at_s in (9.99, 10.0, 11.99, 12.0)] == [False, True, True, False]
    faults = Faults(foreign=(SPAN, ForeignProcess(7)))
    assert [process.pid for process in faults.present(11.0)] == [41, 7]
    assert [process.pid for process in faults.present(13.0)] == [7]


@pytest.mark.parametrize(
    ("begin_s", "end_s"), [(10.0, 12.0), (-math.inf, 12.0), (10.0, math.inf), (-math.inf, math.inf)]
)
def test_its_power_is_drawn_exactly_while_it_is_there(begin_s: float, end_s: float) -> None:
    extra = ForeignProcess(1, begin_s, end_s, extra_w=80.0).extra
    for at_s in (5.0, 10.5, 20.0):
        assert extra.power_w(at_s) == (80.0 if begin_s <= at_s < end_s else 0.0)
    there_s = min(end_s, 15.0) - max(begin_s, 5.0)
    assert extra.energy_j(15.0) - extra.energy_j(5.0) == pytest.approx(80.0 * there_s, abs=1e-3)
    assert math.isfinite(extra.energy_j(1e6))
