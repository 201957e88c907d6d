"""Sensors calibrated on simulated boards whose sensors are known."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from llem_sweep.clock import SimulatedClock
from llem_sweep.device.protocol import Reading
from llem_sweep.device.sensors import GENERATIONS
from llem_sweep.device.simulated import PowerProfile, SensorView, SimulatedGpu
from llem_sweep.phases import Phase, PhaseStream
from llem_sweep.results.sensors import BoardSensors, SensorTiming
from llem_sweep.sampling.calibration import (
    READINGS,
    Calibration,
    Finding,
    ReadingName,
    calibrate,
    points_of,
    refined,
    window_by_counter,
)
from llem_sweep.sampling.recording import Sample
from llem_sweep.sampling.sampler import SAMPLE_PERIOD_S, Sampler
from llem_sweep.sampling.steps import PhasesAlone, Steps, calibrate_board, record_steps
from llem_sweep.sampling.updates import Point

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def view_of(sensors: BoardSensors, seed: int, jitter_s: float = 0.0) -> SensorView:
    """Sensors out of step with each other and with the samples, on a board with a gain of its own."""
    draw = random.Random(seed)
    first_s, second_s, third_s = (draw.uniform(0, 0.1) for _ in READINGS)
    return SensorView(sensors, first_s, second_s, third_s, draw.uniform(0.9, 1.1), jitter_s)


def board(view: SensorView, power: PowerProfile | None = None) -> tuple[SimulatedGpu, SimulatedClock]:
    clock = SimulatedClock()
    return SimulatedGpu(0, clock, power, view), clock


def calibrated(view: SensorView, known: BoardSensors | None = None) -> Calibration:
    gpu, clock = board(view)
    return calibrate_board(gpu, clock, PhasesAlone(), gpu.sensors if known is None else known)


def finding(calibration: Calibration, reading: ReadingName) -> Finding:
    return next(each for each in calibration.findings if each.reading == reading)


def steps_of(view: SensorView, power: PowerProfile | None = None) -> Steps:
    gpu, clock = board(view, power)
    return record_steps(gpu, clock, PhasesAlone(), pulses=8)


@pytest.mark.parametrize("jitter_s", [0.0, 0.001])
@pytest.mark.parametrize("generation", sorted(GENERATIONS))
def test_every_published_timing_is_found_on_a_board_that_has_it(generation: str, jitter_s: float) -> None:
    truth = GENERATIONS[generation]
    seed = sorted(GENERATIONS).index(generation) + (10 if jitter_s else 0)
    # Nothing is known beforehand: what comes out was found.
    found = calibrated(view_of(truth, seed, jitter_s), BoardSensors(generation=generation))
    expected = {"counter.update_period_s"}
    for reading in READINGS:
        true: SensorTiming | None = getattr(truth, reading)
        timing: SensorTiming | None = getattr(found.sensors, reading)
        assert finding(found, reading).offered is (true is not None)
        if true is None:
            assert timing is None
            continue
        assert timing is not None
        assert timing.update_period_s == pytest.approx(true.update_period_s, rel=1e-4)
        if true.window_s is not None:
            expected |= {f"{reading}.{field}" for field in ("update_period_s", "window_s", "lag_s")}
            assert timing.window_s == pytest.approx(true.window_s, rel=0.1)
            assert timing.lag_s == pytest.approx(0, abs=0.002)
            residual = finding(found, reading).residual
            assert residual is not None
            assert residual < 0.03
    assert set(found.sensors.measured) == expected
    assert found.sensors.source == "measured"
    assert found.sensors.generation == generation
    assert found.sensors.measured_at is not None
    assert all(each.note is None for each in found.findings if each.offered)


def test_a_lag_and_odd_timings_are_found_though_nothing_is_published() -> None:
    odd = BoardSensors(
        counter=SensorTiming(update_period_s=0.0371, lag_s=0.02),
        power=SensorTiming(update_period_s=0.0633, window_s=0.31, lag_s=0.12),
        instant=SensorTiming(update_period_s=0.0517, window_s=0.021, lag_s=0.034),
    )
    sensors = calibrated(view_of(odd, 3), BoardSensors()).sensors
    assert sensors.counter is not None
    assert sensors.counter.update_period_s == pytest.approx(0.0371, rel=1e-3)
    for found, true in ((sensors.power, odd.power), (sensors.instant, odd.instant)):
        assert found is not None
        assert true is not None
        assert true.window_s is not None
        assert found.update_period_s == pytest.approx(true.update_period_s, rel=1e-3)
        assert found.window_s == pytest.approx(true.window_s, rel=0.1)
        assert found.lag_s == pytest.approx(true.lag_s, abs=0.003)


@pytest.mark.parametrize("missing", READINGS)
def test_a_reading_that_the_board_lacks_is_said_to_be_missing_and_the_others_are_found(
    missing: ReadingName,
) -> None:
    known = GENERATIONS["hopper"]
    calibration = calibrated(view_of(known.model_copy(update={missing: None}), 5), known)
    lacking = finding(calibration, missing)
    assert lacking == Finding(missing, False, None, (), None, "not offered by this board's driver")
    assert getattr(calibration.sensors, missing) is None
    assert not any(name.startswith(missing) for name in calibration.sensors.measured)
    assert calibration.sensors.source == "measured"
    for reading in set(READINGS) - {missing}:
        assert getattr(calibration.sensors, reading).update_period_s == pytest.approx(0.1, rel=1e-3)


def test_of_a_board_that_reports_nothing_nothing_is_measured() -> None:
    silent = BoardSensors()
    steps = steps_of(SensorView(silent))
    calibration = calibrate(steps.recording.samples, steps.edges, silent, NOW)
    assert calibration.sensors == silent
    assert calibrate((), (), silent, NOW) == calibration
    assert not any(each.offered for each in calibration.findings)


STEADFAST = PowerProfile(300, 300, 300, 300, 300)


@pytest.mark.parametrize("known", [GENERATIONS["hopper"], BoardSensors(generation="blackwell")])
def test_a_board_that_does_not_follow_the_load_keeps_what_was_known_of_its_windows(
    known: BoardSensors,
) -> None:
    class Wandering(SimulatedGpu):
        """Somebody else's load moves its power, and ours doesn't."""

        def read(self, *, slow: bool = True) -> Reading:
            reading = super().read(slow=slow)
            assert reading.power_mw is not None
            turn = random.Random(f"{self._clock.monotonic() // 0.1}").randrange(200_000)
            return reading._replace(power_mw=reading.power_mw + turn, instant_mw=None)

    clock = SimulatedClock()
    gpu = Wandering(0, clock, STEADFAST)
    steps = record_steps(gpu, clock, PhasesAlone(), pulses=8)
    calibration = calibrate(steps.recording.samples, steps.edges, known, NOW)
    power = finding(calibration, "power")
    assert power.offered
    assert power.note is not None
    assert "does not follow the switched load" in power.note
    assert power.residual is None
    assert calibration.sensors.source == known.source
    assert (calibration.sensors.power is None) is (known.power is None)
    if known.power is not None:
        assert power.measured == ("update_period_s",)
        assert power.timing == calibration.sensors.power
        assert power.timing is not None
        assert power.timing.window_s == known.power.window_s
    else:
        # Whatever is named as measured has to be there to be looked at.
        assert power.timing is None
        assert power.measured == ()
        assert calibration.sensors.measured == ("counter.update_period_s",)


def test_power_that_never_changes_has_no_period_and_keeps_what_was_known() -> None:
    known = GENERATIONS["turing"]
    steps = steps_of(view_of(known, 6), STEADFAST)
    calibration = calibrate(steps.recording.samples, steps.edges, known, NOW)
    power = finding(calibration, "power")
    assert power.note is not None
    assert "no update period found (samples 1.9 ms apart" in power.note
    assert (power.timing, power.measured) == (known.power, ())
    assert calibration.sensors.measured == ("counter.update_period_s",)
    assert calibration.sensors.source == "prior"
    assert calibration.sensors.measured_at == NOW


def test_without_switched_load_only_periods_are_found() -> None:
    known = GENERATIONS["turing"]
    steps = steps_of(view_of(known, 8))
    calibration = calibrate(steps.recording.samples, (), known, NOW)
    power = finding(calibration, "power")
    assert power.note == "window and lag need load that is switched: none was given"
    assert power.measured == ("update_period_s",)
    assert power.timing is not None
    assert power.timing.window_s == 0.1
    assert calibration.sensors.source == "prior"


def baseline(view: SensorView, noise_mw: int = 0) -> list[Sample]:
    """Fifteen idle seconds at the sampler's ordinary rate; ``noise_mw`` on every power update."""
    gpu, clock = board(view)
    with Sampler([gpu], clock, PhaseStream(clock)) as sampler:
        clock.sleep(15.0)
        samples = sampler.stop().samples

    def noisy(sample: Sample) -> Sample:
        turn = random.Random(f"{(sample.at_s - view.power_offset_s) // 0.1}").randint(-noise_mw, noise_mw)
        power_mw = (sample.reading.power_mw or 0) + turn
        return sample._replace(reading=sample.reading._replace(power_mw=power_mw, instant_mw=None))

    return [noisy(sample) for sample in samples]


@pytest.mark.parametrize("tick_s", [0.0637, 0.1, 0.2, 0.5])
def test_a_baseline_tells_the_tick_of_the_counter_and_leaves_the_rest_as_published(tick_s: float) -> None:
    known = GENERATIONS["hopper"]
    truth = known.model_copy(update={"counter": SensorTiming(update_period_s=tick_s)})
    found = refined(baseline(view_of(truth, 4)), known, NOW)
    assert found.counter is not None
    assert found.counter.update_period_s == pytest.approx(tick_s, rel=2e-3)
    assert (found.power, found.instant) == (known.power, known.instant)
    assert found.measured == ("counter.update_period_s",)
    assert (found.source, found.measured_at) == ("prior", NOW)


def test_where_idle_power_moves_a_baseline_tells_its_updates_and_never_its_window() -> None:
    known = GENERATIONS["hopper"].model_copy(
        update={"power": SensorTiming(update_period_s=0.02, window_s=1.0)}
    )
    found = refined(baseline(view_of(GENERATIONS["hopper"], 4), noise_mw=1_500), known, NOW)
    assert found.power is not None
    assert found.power.update_period_s == pytest.approx(0.1, rel=2e-3)
    assert found.power.window_s == 1.0
    assert found.measured == ("counter.update_period_s", "power.update_period_s")


def test_of_an_unknown_board_a_baseline_tells_the_tick_alone() -> None:
    samples = baseline(view_of(GENERATIONS["hopper"], 4), noise_mw=1_500)
    found = refined(samples, BoardSensors(generation="blackwell"), NOW)
    assert found.counter is not None
    assert found.counter.update_period_s == pytest.approx(0.1, rel=2e-3)
    assert (found.power, found.instant) == (None, None)
    assert (found.source, found.measured) == ("unknown", ("counter.update_period_s",))


@pytest.mark.parametrize("source", ["measured", "cached"])
def test_sensors_that_were_calibrated_stay_as_they_are(source: str) -> None:
    known = GENERATIONS["hopper"].model_copy(
        update={"source": source, "counter": SensorTiming(update_period_s=0.0999)}
    )
    assert refined(baseline(view_of(GENERATIONS["hopper"], 4)), known, NOW) is known


def test_a_recording_that_tells_nothing_changes_nothing() -> None:
    known = GENERATIONS["hopper"]
    assert refined([], known, NOW) is known
    assert refined(baseline(view_of(known, 4))[:40], known, NOW) is known


def working(view: SensorView) -> tuple[Sample, ...]:
    """A load that comes and goes as a warm-up's does, at the sampler's ordinary rate."""
    gpu, clock = board(view)
    phases = PhaseStream(clock)
    phases.subscribe(gpu.on_phase)
    with Sampler([gpu], clock, phases, SAMPLE_PERIOD_S) as sampler:
        for on_s, off_s in ((3.3, 2.1), (1.2, 2.9), (4.4, 1.7), (2.3, 3.1)):
            phases.mark(Phase.WARM_UP)
            clock.sleep(on_s)
            phases.mark(Phase.CONTEXT)
            clock.sleep(off_s)
        return sampler.stop().samples


@pytest.mark.parametrize("generation", ["ampere", "ada", "hopper"])
def test_a_window_of_many_ticks_is_found_against_the_counter_in_any_load(generation: str) -> None:
    samples = working(view_of(GENERATIONS[generation], 11))
    found = window_by_counter(samples, "power")
    assert found is not None
    assert found.window_s == pytest.approx(1.0, rel=0.03)
    assert found.lag_s == pytest.approx(0, abs=0.02)
    # Both readings have the board's gain, which the slope of one against the other is free of.
    assert found.span == pytest.approx(1000.0, rel=0.01)


def test_a_window_that_the_counter_does_not_resolve_is_not_told() -> None:
    samples = working(view_of(GENERATIONS["hopper"], 11))
    assert window_by_counter(samples, "instant") is None
    counterless = [s._replace(reading=s.reading._replace(energy_mj=None)) for s in samples]
    assert window_by_counter(counterless, "power") is None
    powerless = [s._replace(reading=s.reading._replace(power_mw=None)) for s in samples]
    assert window_by_counter(powerless, "power") is None
    assert window_by_counter(samples[:100], "power") is None
    assert window_by_counter((), "power") is None


def test_points_are_the_values_of_one_reading_without_those_that_were_not_offered() -> None:
    readings = [(1, 10, None), (None, 20, 200), (3, None, 300)]
    samples = [
        Sample(float(at_s), 0, Phase.IDLE, Reading(energy, power, None, None, None, None, instant))
        for at_s, (energy, power, instant) in enumerate(readings)
    ]
    assert points_of(samples, "counter") == [Point(0.0, 1), Point(2.0, 3)]
    assert points_of(samples, "power") == [Point(0.0, 10), Point(1.0, 20)]
    assert points_of(samples, "instant") == [Point(1.0, 200), Point(2.0, 300)]
