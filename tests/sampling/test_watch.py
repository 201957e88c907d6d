"""What was seen of the boards besides energy, over one stretch of a recording."""

from __future__ import annotations

import pytest

from llem_sweep.clock import SimulatedClock
from llem_sweep.device.faults import Faults, ForeignProcess
from llem_sweep.device.protocol import Health, Reading
from llem_sweep.device.simulated import Limits, SimulatedGpu
from llem_sweep.phases import Phase, PhaseStream
from llem_sweep.sampling.recording import Recording, Sample
from llem_sweep.sampling.sampler import Sampler
from llem_sweep.sampling.watch import slope, watch

NOTHING = Reading(None, None, None, None, None, None)


def recorded(
    gpu: SimulatedGpu, clock: SimulatedClock, seconds: float, phase: Phase = Phase.DECODE
) -> Recording:
    phases = PhaseStream(clock)
    phases.subscribe(gpu.on_phase)
    phases.mark(Phase.LOAD)
    phases.mark(phase)
    with Sampler([gpu], clock, phases) as sampler:
        clock.sleep(seconds)
        return sampler.stop()


def of(*samples: Sample) -> Recording:
    return Recording(samples, 0.1, None)


def test_a_quiet_board_shows_nothing() -> None:
    clock = SimulatedClock(start_s=100.0)
    seen = watch(recorded(SimulatedGpu(0, clock), clock, 10.0), 102.0, 108.0)
    assert (seen.foreign, seen.ecc_errors, seen.mig) == (frozenset(), 0, False)
    assert (seen.power_throttle_s, seen.thermal_throttle_s) == (0.0, 0.0)
    assert seen.clock_change == 0.0
    assert seen.utilisation_pct == pytest.approx(85.0)


@pytest.mark.parametrize(
    ("begin_s", "end_s", "seen"),
    [
        (103.2, 105.4, True),
        (90.0, 100.9, False),
        (90.0, 102.01, True),
        (107.99, 200.0, True),
        (109.2, 200.0, False),
    ],
)
def test_others_are_seen_within_the_stretch_and_at_its_edges(
    begin_s: float, end_s: float, seen: bool
) -> None:
    clock = SimulatedClock(start_s=100.0)
    other = ForeignProcess(4711, begin_s=begin_s, end_s=end_s)
    recording = recorded(SimulatedGpu(0, clock, faults=Faults(foreign=(other,))), clock, 12.0)
    assert watch(recording, 102.005, 107.995).foreign == (frozenset({4711}) if seen else frozenset())


def test_memory_errors_count_from_the_last_look_before() -> None:
    clock = SimulatedClock(start_s=100.0)
    gpu = SimulatedGpu(0, clock, faults=Faults(ecc_errors_at_s=(101.0, 103.5, 104.5)))
    recording = recorded(gpu, clock, 10.0)
    assert watch(recording, 102.5, 107.5).ecc_errors == 2
    assert watch(recording, 105.5, 107.5).ecc_errors == 0


def test_time_held_down_comes_from_the_cumulative_counters() -> None:
    clock = SimulatedClock(start_s=100.0)
    gpu = SimulatedGpu(0, clock, limits=Limits(power_cap_w=200.0))
    recording = recorded(gpu, clock, 10.0)
    seen = watch(recording, 102.3, 107.8)
    assert seen.power_throttle_s == pytest.approx(5.5, abs=0.05)
    assert seen.thermal_throttle_s == 0.0


def test_the_rise_of_temperature_is_the_slope_over_the_whole_stretch() -> None:
    rising = [
        Sample(100.0 + second, 0, Phase.DECODE, NOTHING._replace(temperature_c=50 + round(second / 4)))
        for second in range(41)
    ]
    assert watch(of(*rising), 100.0, 140.0).temperature_rise_c == pytest.approx(10.0, abs=0.3)
    assert watch(of(*rising), 100.0, 120.0).temperature_rise_c == pytest.approx(5.0, abs=0.4)


def test_a_clock_that_falls_is_told_by_its_first_and_last_third() -> None:
    falling = [
        Sample(100.0 + n, 0, Phase.DECODE, NOTHING._replace(sm_clock_mhz=1980 if n < 15 else 1500))
        for n in range(30)
    ]
    assert watch(of(*falling), 100.0, 129.0).clock_change == pytest.approx(1500 / 1980 - 1)


def test_what_the_driver_does_not_tell_is_none() -> None:
    silent = Sample(100.0, 0, Phase.DECODE, NOTHING, Health(foreign=None))
    assert watch(of(silent), 99.0, 101.0) == (frozenset(), None, None, None, None, None, None, None)
    assert watch(of(), 0.0, 1.0) == (frozenset(), None, None, None, None, None, None, None)


def test_the_slope_is_that_of_least_squares_with_its_standard_error() -> None:
    exact = slope([0.0, 1.0, 2.0, 3.0], [5.0, 7.0, 9.0, 11.0])
    assert exact is not None
    assert exact == pytest.approx((2.0, 0.0), abs=1e-12)
    # By hand: mean 1.5, squares 5, slope 0.8, residuals 0.2, -0.6, 0.6, -0.2: sqrt(0.8 / 2 / 5).
    scattered = slope([0.0, 1.0, 2.0, 3.0], [1.0, 1.0, 3.0, 3.0])
    assert scattered == pytest.approx((0.8, 0.282842712))
    assert slope([1.0, 2.0], [1.0, 2.0]) is None
    assert slope([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) is None
