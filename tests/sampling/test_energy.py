"""The estimators against simulated boards whose energy is known exactly."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import pytest

from llem_sweep.clock import SimulatedClock
from llem_sweep.device.protocol import Reading
from llem_sweep.device.simulated import PowerProfile, SensorProfile, SimulatedGpu
from llem_sweep.phases import Phase, PhaseStream
from llem_sweep.results.sensors import BoardSensors, SensorTiming
from llem_sweep.sampling.energy import RUN_ON_LIMIT_S, device_energy, needs_more
from llem_sweep.sampling.recording import Recording, Sample
from llem_sweep.sampling.sampler import Sampler

PERIOD_S = 0.02
CONSTANT = PowerProfile(400, 400, 400, 400, 400)


class Bench:
    """A simulated board, its clock and phases."""

    def __init__(self, power: PowerProfile = CONSTANT, sensor: SensorProfile | None = None) -> None:
        self.clock = SimulatedClock()
        self.gpu = SimulatedGpu(0, self.clock, power, sensor)
        self.phases = PhaseStream(self.clock)
        self.phases.subscribe(self.gpu.on_phase)

    def sampler(self, period_s: float = PERIOD_S) -> Sampler:
        return Sampler([self.gpu], self.clock, self.phases, period_s)

    def record(
        self, duration_s: float, work: Callable[[], None] | None = None, period_s: float = PERIOD_S
    ) -> Sequence[Sample]:
        with self.sampler(period_s) as sampler:
            if work is not None:
                work()
            self.clock.sleep(duration_s)
            return sampler.stop().samples


def sample(at_s: float, energy_mj: int | None = None, power_mw: int | None = None, device: int = 0) -> Sample:
    return Sample(at_s, device, Phase.DECODE, Reading(energy_mj, power_mw, None, None, None, None))


def counter_difference_j(samples: Sequence[Sample], start_s: float, end_s: float) -> float:
    """What reading the counter at both ends gives."""
    before = [sample.reading.energy_mj or 0 for sample in samples if sample.at_s <= start_s][-1]
    after = [sample.reading.energy_mj or 0 for sample in samples if sample.at_s <= end_s][-1]
    return (after - before) / 1000


def errors(
    bench: Bench, samples: Sequence[Sample], windows: Sequence[tuple[float, float]]
) -> tuple[float, float, float]:
    """Largest error and rms error of the estimate, and rms error of the counter difference, each relative."""
    own, naive = [], []
    for start_s, end_s in windows:
        true_j = bench.gpu.true_energy_j(start_s, end_s)
        estimate = device_energy(samples, start_s, end_s, PERIOD_S)
        assert estimate.energy_j is not None, estimate.reason
        own.append(estimate.energy_j / true_j - 1)
        naive.append(counter_difference_j(samples, start_s, end_s) / true_j - 1)
    return max(map(abs, own)), _rms(own), _rms(naive)


def _rms(values: Sequence[float]) -> float:
    return math.sqrt(sum(value * value for value in values) / len(values))


@pytest.mark.parametrize("tick_s", [0.02, 0.1, 0.5])
def test_at_constant_power_the_error_is_a_sampling_period_and_not_a_tick(tick_s: float) -> None:
    draw = random.Random(7)
    bench = Bench(sensor=SensorProfile(tick_s=tick_s, offset_s=draw.uniform(0, tick_s)))
    # A period that doesn't divide the tick, so that no error cancels by keeping step.
    samples = bench.record(30.0, period_s=0.0217)
    windows = [
        (start_s, start_s + draw.uniform(1.6, 5.0))
        for start_s in (1001 + draw.random() * 20 for _ in range(100))
    ]
    worst, rms, naive_rms = errors(bench, samples, windows)
    print(f"tick {tick_s} s: worst {worst:.2%}, rms {rms:.2%}; counter difference rms {naive_rms:.2%}")
    assert worst <= 0.0217 / 1.6
    if tick_s > PERIOD_S:
        assert rms < naive_rms / 3


def test_under_a_square_wave_it_beats_the_difference_of_the_counter() -> None:
    draw = random.Random(11)
    bench = Bench(PowerProfile(100, 100, 100, prefill_w=400, decode_w=100), SensorProfile(offset_s=0.043))

    def square_wave() -> None:
        for _ in range(40):
            bench.phases.mark(Phase.PREFILL)
            bench.clock.sleep(0.35)
            bench.phases.mark(Phase.DECODE)
            bench.clock.sleep(0.35)

    samples = bench.record(1.0, square_wave)
    windows = [
        (start_s, start_s + draw.uniform(0.5, 3.0))
        for start_s in (1001 + draw.random() * 20 for _ in range(100))
    ]
    worst, rms, naive_rms = errors(bench, samples, windows)
    print(f"square wave: worst {worst:.2%}, rms {rms:.2%}; counter difference rms {naive_rms:.2%}")
    assert rms < naive_rms / 2


@pytest.mark.parametrize("tick_s", [0.1, 0.5])
def test_a_step_in_power_at_the_ends_costs_at_most_a_quarter_tick_each(tick_s: float) -> None:
    draw = random.Random(3)
    power = PowerProfile(100, 100, 100, prefill_w=600, decode_w=600)
    for _ in range(20):
        bench = Bench(power, SensorProfile(tick_s=tick_s, offset_s=draw.uniform(0, tick_s)))
        with bench.sampler() as sampler:
            bench.clock.sleep(1.0 + draw.random())
            start_s = bench.phases.mark(Phase.PREFILL).at_s
            bench.clock.sleep(draw.uniform(2.0, 4.0))
            end_s = bench.phases.mark(Phase.COOL).at_s
            while needs_more(sampler.recording(), end_s, bench.clock.monotonic()):
                bench.clock.sleep(PERIOD_S)
            recording = sampler.stop()
        energy_j = device_energy(recording.samples, start_s, end_s, PERIOD_S).energy_j
        assert energy_j is not None
        error_j = abs(energy_j - bench.gpu.true_energy_j(start_s, end_s))
        assert error_j <= 2 * (tick_s / 4 * 500 + PERIOD_S / 2 * 600)


def test_a_recording_that_ends_with_the_window_extrapolates_by_the_last_interval() -> None:
    bench = Bench(sensor=SensorProfile(offset_s=0.05))
    samples = bench.record(3.0)
    start_s, end_s = samples[0].at_s, samples[-1].at_s
    estimate = device_energy(samples, start_s, end_s, PERIOD_S)
    assert estimate.method == "counter"
    assert estimate.energy_j == pytest.approx(400 * (end_s - start_s), rel=0.02)


@pytest.mark.parametrize("window_s", [0.01, 0.1])
def test_a_window_without_a_tick_is_unknown_and_not_zero(window_s: float) -> None:
    bench = Bench(sensor=SensorProfile(tick_s=0.5, offset_s=0.2))
    samples = bench.record(5.0)
    start_s = 1002.25
    estimate = device_energy(samples, start_s, start_s + window_s, PERIOD_S)
    assert estimate.energy_j is None
    assert estimate.uncertainty_j is None
    assert estimate.resolvable
    assert estimate.reason is not None
    assert "didn't tick" in estimate.reason


def test_a_counter_that_goes_backwards_gives_no_energy() -> None:
    samples = [sample(0.02 * n, energy_mj=(n // 5) * 40_000 % 1_200_000) for n in range(300)]
    estimate = device_energy(samples, 1.0, 5.0, PERIOD_S)
    assert estimate.energy_j is None
    assert estimate.reason is not None
    assert "backwards" in estimate.reason


def test_short_gaps_in_the_counter_are_bridged_and_a_long_one_at_an_end_is_not() -> None:
    bench = Bench(sensor=SensorProfile(offset_s=0.05))
    samples = bench.record(6.0)

    def without(begin_s: float, end_s: float) -> list[Sample]:
        lacking = Reading(None, None, None, None, None, None)
        return [s._replace(reading=lacking) if begin_s < s.at_s < end_s else s for s in samples]

    for gap in [(1002.4, 1003.1), (1000.8, 1001.2), (1004.85, 1005.2)]:
        bridged = device_energy(without(*gap), 1001.0, 1005.0, PERIOD_S)
        assert bridged.energy_j == pytest.approx(1600, rel=0.015)
    assert device_energy(without(1004.2, 1006.1), 1001.0, 1005.0, PERIOD_S).energy_j is None
    assert device_energy(without(1000.0, 1002.0), 1001.0, 1005.0, PERIOD_S).energy_j is None


def test_a_stall_of_the_sampler_does_not_shift_the_tick_behind_it() -> None:
    bench = Bench(sensor=SensorProfile(offset_s=0.05))
    samples = [s for s in bench.record(6.0) if not 1000.6 < s.at_s < 1001.0]
    energy_j = device_energy(samples, 1001.0, 1005.0, PERIOD_S).energy_j
    # Half the stall would be 0.2 s, or 5 % of the window.
    assert energy_j == pytest.approx(1600, rel=0.015)


def test_power_of_a_board_without_counter_agrees_with_the_truth_at_constant_power() -> None:
    bench = Bench(sensor=SensorProfile(has_counter=False))
    samples = bench.record(4.0)
    estimate = device_energy(samples, 1000.513, 1003.207, PERIOD_S)
    assert estimate.energy_j == pytest.approx(bench.gpu.true_energy_j(1000.513, 1003.207), rel=1e-6)


def test_power_with_too_few_samples_or_a_long_gap_gives_no_energy() -> None:
    samples = [sample(0.02 * n, power_mw=300_000) for n in range(300)]
    assert device_energy(samples, 1.001, 1.03, PERIOD_S).energy_j is None
    holed = [s for s in samples if not 2.0 < s.at_s < 3.0]
    assert device_energy(holed, 1.0, 5.0, PERIOD_S).energy_j is None
    bridged = [s for s in samples if not 2.0 < s.at_s < 2.3]
    assert device_energy(bridged, 1.0, 5.0, PERIOD_S).energy_j == pytest.approx(1200)


def test_a_board_that_reports_nothing_is_told_from_a_window_too_short() -> None:
    silent = [sample(0.02 * n) for n in range(100)]
    unmetered = device_energy(silent, 0.5, 1.5, PERIOD_S)
    assert unmetered.energy_j is None
    assert unmetered.reason == "the board's driver reports neither energy nor power"
    assert not unmetered.resolvable
    assert device_energy([], 0.5, 1.5, PERIOD_S).energy_j is None
    assert device_energy(silent, 0.5, 0.5, PERIOD_S).energy_j is None


def test_samples_of_several_boards_are_refused() -> None:
    with pytest.raises(ValueError, match="several boards"):
        device_energy([sample(0, 1), sample(0, 1, device=1)], 0, 1, PERIOD_S)


def test_sampling_goes_on_until_every_board_ticked_after_the_end() -> None:
    clock = SimulatedClock()
    phases = PhaseStream(clock)
    boards = [
        SimulatedGpu(n, clock, CONSTANT, SensorProfile(tick_s=tick_s, offset_s=0.01))
        for n, tick_s in enumerate((0.1, 0.5))
    ]
    with Sampler(boards, clock, phases, PERIOD_S) as sampler:
        clock.sleep(2.53)
        end_s = clock.monotonic()
        while needs_more(sampler.recording(), end_s, clock.monotonic()):
            clock.sleep(PERIOD_S)
        recording = sampler.stop()
    assert 1.48 <= clock.monotonic() - end_s <= 1.53
    for device in (0, 1):
        estimate = device_energy(recording.of_device(device), end_s - 2.0, end_s, PERIOD_S)
        assert estimate.energy_j == pytest.approx(800, rel=0.01)


def test_sampling_never_goes_on_for_ever() -> None:
    stuck = Recording(tuple(sample(0.02 * n, energy_mj=7) for n in range(200)), PERIOD_S, None)
    assert needs_more(stuck, 3.9, 3.98)
    assert not needs_more(stuck, 3.9, 3.9 + RUN_ON_LIMIT_S)
    stalled = Recording(stuck.samples[:50], PERIOD_S, None)
    assert needs_more(stalled, 3.9, 3.98)
    assert not needs_more(Recording((), PERIOD_S, None), 3.9, 3.9)


def test_without_a_counter_power_is_read_for_the_longest_window_after_the_end() -> None:
    read = Recording(tuple(sample(0.02 * n, power_mw=7) for n in range(200)), PERIOD_S, None)
    assert not needs_more(read, 2.77, 3.99)
    assert needs_more(read, 2.79, 3.99)


def test_a_running_mean_states_more_uncertainty_where_its_window_is_published_only() -> None:
    power = SensorTiming(update_period_s=0.1, window_s=1.0)
    samples = [
        sample(0.02 * n, power_mw=round(100_000 + 3000 * math.floor(0.02 * n / 0.1))) for n in range(600)
    ]
    published = device_energy(samples, 4.0, 8.0, PERIOD_S, BoardSensors(power=power))
    found = device_energy(
        samples, 4.0, 8.0, PERIOD_S, BoardSensors(power=power, measured=("power.window_s",))
    )
    assert published.energy_j == found.energy_j
    assert published.uncertainty_j is not None
    assert found.uncertainty_j is not None
    assert published.uncertainty_j > 2 * found.uncertainty_j


def test_at_constant_power_the_bound_of_a_short_window_knows_that_both_ends_share_their_ticks() -> None:
    bench = Bench(sensor=SensorProfile(tick_s=0.1, offset_s=0.043))
    samples = bench.record(30.0, period_s=0.0217)
    short = device_energy(samples, 1010.02, 1011.02, 0.0217)
    long = device_energy(samples, 1010.02, 1020.02, 0.0217)
    assert short.uncertainty_j is not None
    assert long.uncertainty_j is not None
    assert short.uncertainty_j < long.uncertainty_j
