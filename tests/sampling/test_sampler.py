from __future__ import annotations

import pytest

from llem_sweep.clock import SimulatedClock, SystemClock
from llem_sweep.device.protocol import Reading
from llem_sweep.device.simulated import SensorProfile, SimulatedGpu, simulated_boards
from llem_sweep.errors import BoardLostError
from llem_sweep.phases import Phase, PhaseStream
from llem_sweep.sampling.recording import Recording
from llem_sweep.sampling.sampler import SAMPLE_PERIOD_S, Sampler


def test_every_board_is_read_once_a_period_in_device_order() -> None:
    clock = SimulatedClock(start_s=50.0)
    with Sampler(simulated_boards([0, 1], clock), clock, PhaseStream(clock), 0.02) as sampler:
        clock.sleep(1.0)
        recording = sampler.stop()
    assert [sample.device for sample in recording.samples] == [0, 1] * 52
    assert [sample.at_s for sample in recording.of_device(1)] == pytest.approx(
        [*(50.0 + 0.02 * n for n in range(51)), 51.0], abs=1e-9
    )
    assert recording.period_s == 0.02


def test_each_sample_carries_the_phase_it_was_taken_in() -> None:
    clock = SimulatedClock()
    phases = PhaseStream(clock)
    with Sampler(simulated_boards([0], clock), clock, phases, 0.02) as sampler:
        clock.sleep(0.05)
        phases.mark(Phase.PREFILL)
        clock.sleep(0.04)
        recording = sampler.stop()
    assert [sample.phase for sample in recording.samples] == [Phase.IDLE] * 3 + [Phase.PREFILL] * 3


class SlowGpu(SimulatedGpu):
    """A board whose reading takes 10 ms."""

    def __init__(self, clock: SimulatedClock) -> None:
        super().__init__(0, clock)
        self._slow_clock = clock

    def read(self, *, slow: bool = True) -> Reading:
        reading = super().read(slow=slow)
        self._slow_clock._now_s += 0.01
        return reading


def test_a_sample_is_stamped_in_the_middle_of_its_reading() -> None:
    clock = SimulatedClock(start_s=50.0)
    sampler = Sampler([SlowGpu(clock)], clock, PhaseStream(clock), 0.02)
    sampler.start()
    assert [sample.at_s for sample in sampler.stop().samples] == pytest.approx([50.005, 50.015])


def test_health_is_asked_at_the_beginning_once_a_second_and_at_the_end_with_a_whole_sample() -> None:
    clock = SimulatedClock(start_s=50.0)
    with Sampler(simulated_boards([0], clock), clock, PhaseStream(clock), 0.02) as sampler:
        clock.sleep(2.5)
        samples = sampler.stop().samples
    asked = [sample for sample in samples if sample.health is not None]
    assert [sample.at_s for sample in asked] == pytest.approx([50.0, 51.0, 52.0, 52.5], abs=0.021)
    assert all(sample.reading.temperature_c is not None for sample in asked)


def test_latest_gives_the_newest_reading_of_each_board() -> None:
    clock = SimulatedClock()
    boards = simulated_boards([0, 1], clock)
    sampler = Sampler(boards, clock, PhaseStream(clock))
    assert sampler.latest() == (None, None)
    with sampler:
        clock.sleep(1.0)
        assert sampler.latest() == tuple(board.read() for board in boards)


def test_a_board_lost_meanwhile_is_raised_by_check_and_by_stop() -> None:
    clock = SimulatedClock(start_s=50.0)
    boards = [SimulatedGpu(0, clock), SimulatedGpu(1, clock, sensor=SensorProfile(lost_at_s=50.5))]
    sampler = Sampler(boards, clock, PhaseStream(clock), 0.02)
    sampler.start()
    clock.sleep(0.4)
    sampler.check()
    clock.sleep(0.4)
    with pytest.raises(BoardLostError):
        sampler.check()
    with pytest.raises(BoardLostError):
        sampler.stop()
    assert len(sampler.recording().of_device(1)) == 25


def test_leaving_the_context_ends_the_sampling_and_does_not_hide_the_error_on_the_way() -> None:
    clock = SimulatedClock(start_s=50.0)
    sampler = Sampler(
        [SimulatedGpu(0, clock, sensor=SensorProfile(lost_at_s=50.1))], clock, PhaseStream(clock)
    )

    def fail() -> None:
        clock.sleep(1.0)
        raise RuntimeError("the model failed")

    with pytest.raises(RuntimeError, match="the model failed"), sampler:
        fail()
    taken = len(sampler.recording().samples)
    clock.sleep(1.0)
    assert len(sampler.recording().samples) == taken


def test_over_no_board_nothing_is_started_and_nothing_recorded() -> None:
    clock = SimulatedClock()
    with Sampler((), clock, PhaseStream(clock)) as sampler:
        clock.sleep(1.0)
        assert sampler.stop() == Recording((), SAMPLE_PERIOD_S, None)
    assert sampler.latest() == ()


def test_on_a_real_clock_the_cost_of_sampling_is_counted() -> None:
    clock = SystemClock()
    sampler = Sampler([SimulatedGpu(0, clock)], clock, PhaseStream(clock), 0.001)
    with sampler:
        while len(sampler.recording().samples) < 20:
            clock.sleep(0.005)
        recording = sampler.stop()
    assert recording.cpu_time_s is not None
    assert 0 < recording.cpu_time_s < recording.samples[-1].at_s - recording.samples[0].at_s + 0.001
    times = [sample.at_s for sample in recording.samples]
    assert times == sorted(times)


def test_a_simulated_clock_has_no_cost_to_count() -> None:
    clock = SimulatedClock()
    with Sampler(simulated_boards([0], clock), clock, PhaseStream(clock)) as sampler:
        assert sampler.stop().cpu_time_s is None
