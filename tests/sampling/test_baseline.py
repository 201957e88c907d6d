from __future__ import annotations

import pytest

from llem_sweep.clock import SimulatedClock
from llem_sweep.device.simulated import SensorProfile, SimulatedGpu, simulated_boards
from llem_sweep.errors import BoardLostError
from llem_sweep.phases import Phase, PhaseStream
from llem_sweep.sampling.baseline import measure_baseline


def test_it_is_the_mean_power_of_each_board_while_nothing_runs() -> None:
    clock = SimulatedClock()
    boards = simulated_boards([0, 3], clock)
    phases = PhaseStream(clock)
    baseline = measure_baseline(boards, clock, phases, 5.0)
    start_s = baseline.span.start_s
    expected = [board.true_energy_j(start_s, start_s + 5.0) / 5.0 for board in boards]
    assert baseline.estimate.power_per_device_w == pytest.approx(expected, rel=0.005)
    assert baseline.power_w == pytest.approx(sum(expected), rel=0.005)
    assert baseline.estimate.method == "counter"
    assert phases.current.phase is Phase.BASELINE


def test_it_says_when_it_was_taken_and_for_how_long() -> None:
    clock = SimulatedClock(start_s=50.0)
    baseline = measure_baseline(simulated_boards([0], clock), clock, PhaseStream(clock), 2.0)
    assert baseline.span.duration_s == pytest.approx(2.0)
    assert baseline.span.end_s == pytest.approx(52.5)
    assert {sample.phase for sample in baseline.recording.samples} == {Phase.BASELINE}


def test_without_a_counter_it_comes_from_power() -> None:
    clock = SimulatedClock()
    board = SimulatedGpu(0, clock, sensor=SensorProfile(has_counter=False))
    baseline = measure_baseline([board], clock, PhaseStream(clock), 1.0)
    assert baseline.estimate.method == "mean_power"
    assert baseline.power_w == pytest.approx(70.0)


def test_a_board_that_reports_nothing_makes_the_total_unknown_and_not_zero() -> None:
    clock = SimulatedClock()
    silent = SimulatedGpu(1, clock, sensor=SensorProfile(has_counter=False, has_power=False))
    baseline = measure_baseline([SimulatedGpu(0, clock), silent], clock, PhaseStream(clock), 1.0)
    known_w, unknown_w = baseline.estimate.power_per_device_w
    assert known_w == pytest.approx(70.0, rel=0.03)
    assert unknown_w is None
    assert baseline.power_w is None
    alone = measure_baseline([silent], clock, PhaseStream(clock), 1.0)
    assert (alone.power_w, alone.estimate.method) == (None, None)


def test_a_board_lost_meanwhile_is_raised() -> None:
    clock = SimulatedClock(start_s=50.0)
    board = SimulatedGpu(0, clock, sensor=SensorProfile(lost_at_s=50.5))
    with pytest.raises(BoardLostError):
        measure_baseline([board], clock, PhaseStream(clock), 1.0)
