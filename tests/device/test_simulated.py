from __future__ import annotations

import math
import threading

import pytest

from llem_sweep.clock import SimulatedClock, SystemClock
from llem_sweep.device.faults import Faults, ForeignProcess
from llem_sweep.device.sensors import GENERATIONS
from llem_sweep.device.simulated import (
    REASON_GPU_IDLE,
    REASON_POWER_CAP,
    REASON_THERMAL,
    Limits,
    PowerProfile,
    SensorProfile,
    SensorView,
    SimulatedGpu,
    simulated_boards,
)
from llem_sweep.device.traces import Constant, Exponential, Ramp, Trace, Within, square
from llem_sweep.errors import BoardLostError
from llem_sweep.phases import Phase, PhaseMark, PhaseStream

POWER = PowerProfile(idle_w=50, context_w=100, load_w=150, prefill_w=600, decode_w=300)


def board(clock: SimulatedClock, sensor: SensorProfile | None = None) -> tuple[SimulatedGpu, PhaseStream]:
    gpu = SimulatedGpu(0, clock, POWER, sensor)
    phases = PhaseStream(clock)
    phases.subscribe(gpu.on_phase)
    return gpu, phases


def test_true_energy_is_the_sum_of_power_times_time_by_phase() -> None:
    clock = SimulatedClock()
    gpu, phases = board(clock)
    start_s = clock.monotonic()
    expected_j = 0.0
    for phase, power_w in [
        (Phase.BASELINE, 50),
        (Phase.LOAD, 150),
        (Phase.WARM_UP, 300),
        (Phase.SETTLE, 300),
        (Phase.PREFILL, 600),
        (Phase.DECODE, 300),
        (Phase.COOL, 100),
        (Phase.BASELINE, 100),
        (Phase.IDLE, 100),
    ]:
        phases.mark(phase)
        clock.sleep(0.75)
        expected_j += 0.75 * power_w
    assert gpu.true_energy_j(start_s, clock.monotonic()) == pytest.approx(expected_j, rel=1e-12)
    assert gpu.true_energy_j(start_s + 0.25, start_s + 1.0) == pytest.approx(0.5 * 50 + 0.25 * 150, rel=1e-12)


def test_the_counter_stands_still_between_ticks_and_is_exact_at_them() -> None:
    clock = SimulatedClock(start_s=100.0)
    gpu, _ = board(clock, SensorProfile(tick_s=0.1, offset_s=0.03))
    clock.sleep(0.035)
    first = gpu.read().energy_mj
    clock.sleep(0.09)
    assert gpu.read().energy_mj == first
    clock.sleep(0.01)
    after = gpu.read().energy_mj
    assert first is not None
    assert after == pytest.approx(first + 50 * 0.1 * 1000, abs=1)


def test_power_is_the_mean_of_the_window_before_the_last_tick() -> None:
    clock = SimulatedClock(start_s=100.0)
    gpu, phases = board(clock, SensorProfile(tick_s=0.1, window_s=1.0))
    assert gpu.read().power_mw == 50_000
    phases.mark(Phase.LOAD)
    phases.mark(Phase.PREFILL)
    clock.sleep(0.5001)
    assert gpu.read().power_mw == pytest.approx(1000 * (0.5 * 600 + 0.5 * 50), rel=1e-3)
    clock.sleep(0.6)
    assert gpu.read().power_mw == 600_000


def test_temperature_approaches_its_end_exponentially() -> None:
    clock = SimulatedClock()
    gpu, phases = board(clock)
    cold = gpu.read().temperature_c
    phases.mark(Phase.LOAD)
    phases.mark(Phase.PREFILL)
    clock.sleep(25.0)
    warm = gpu.read().temperature_c
    clock.sleep(500.0)
    hot = gpu.read().temperature_c
    assert cold is not None
    assert warm is not None
    assert hot is not None
    assert hot == round(28 + 0.07 * 600)
    assert warm - cold == pytest.approx((hot - cold) * (1 - math.exp(-1)), abs=1.5)


def test_utilisation_memory_and_reasons_follow_the_phase() -> None:
    clock = SimulatedClock()
    gpu, phases = board(clock)
    idle = gpu.read()
    assert (idle.sm_utilisation_pct, idle.throttle_reasons) == (0, REASON_GPU_IDLE)
    phases.mark(Phase.LOAD)
    phases.mark(Phase.DECODE)
    busy = gpu.read()
    assert busy.throttle_reasons == 0
    assert busy.sm_utilisation_pct is not None
    assert busy.sm_utilisation_pct > 50
    assert busy.memory_used_mb is not None
    assert idle.memory_used_mb is not None
    assert busy.memory_used_mb > idle.memory_used_mb


def test_a_long_sweep_keeps_a_bounded_trace_and_exact_recent_energy() -> None:
    clock = SimulatedClock()
    gpu, phases = board(clock)
    phases.mark(Phase.LOAD)
    begin_s = clock.monotonic()
    for _ in range(20_000):
        phases.mark(Phase.PREFILL)
        clock.sleep(0.5)
        phases.mark(Phase.DECODE)
        clock.sleep(0.5)
    assert len(gpu._drawn.segments) < 2_000
    end_s = clock.monotonic()
    assert gpu.true_energy_j(end_s - 300, end_s) == pytest.approx(300 * 450, rel=1e-9)
    with pytest.raises(ValueError, match="trace begins"):
        gpu.true_energy_j(begin_s, end_s)


def test_boards_differ_in_power_and_identity_and_say_that_they_are_simulated() -> None:
    clock = SimulatedClock()
    boards = simulated_boards(range(16), clock)
    again = simulated_boards(range(16), clock)
    clock.sleep(2.0)
    powers = [gpu.read().power_mw for gpu in boards]
    assert powers == [gpu.read().power_mw for gpu in again]
    assert len(set(powers)) == 16
    assert len({gpu.info.uuid for gpu in boards}) == 16
    assert all(gpu.info.simulated and gpu.info.name == "Simulated GPU" for gpu in boards)
    assert [gpu.info.index for gpu in simulated_boards([5, 2], clock)] == [5, 2]


def test_what_the_sensor_lacks_is_none_and_a_lost_board_says_so() -> None:
    clock = SimulatedClock(start_s=100.0)
    gpu, _ = board(clock, SensorProfile(has_counter=False, has_power=False, lost_at_s=101.0))
    reading = gpu.read()
    assert (reading.energy_mj, reading.power_mw) == (None, None)
    clock.sleep(1.0)
    with pytest.raises(BoardLostError, match="no longer answers"):
        gpu.read()


def test_a_mark_older_than_a_reading_cannot_turn_the_counter_back() -> None:
    clock = SimulatedClock(start_s=100.0)
    gpu, phases = board(clock, SensorProfile(tick_s=0.1))
    phases.mark(Phase.LOAD)
    phases.mark(Phase.PREFILL)
    clock.sleep(1.0)
    before = gpu.read().energy_mj
    gpu.on_phase(PhaseMark(Phase.COOL, clock.monotonic() - 0.5))
    assert gpu.read().energy_mj == before


def test_marks_and_readings_from_two_threads_never_turn_the_counter_back() -> None:
    clock = SystemClock()
    gpu = SimulatedGpu(0, clock, POWER, SensorProfile(tick_s=0.0005))
    readings: list[int] = []

    def read() -> None:
        for _ in range(2_000):
            readings.append(gpu.read().energy_mj or 0)

    reader = threading.Thread(target=read)
    reader.start()
    while reader.is_alive():
        gpu.on_phase(PhaseMark(Phase.PREFILL, clock.monotonic()))
        gpu.on_phase(PhaseMark(Phase.COOL, clock.monotonic()))
    reader.join()
    assert len(readings) == 2_000
    assert readings == sorted(readings)


def test_without_slow_readings_only_energy_and_power_are_read() -> None:
    clock = SimulatedClock(start_s=100.0)
    gpu, _ = board(clock)
    slow, fast = gpu.read(), gpu.read(slow=False)
    assert None not in slow
    assert fast == (slow.energy_mj, slow.power_mw, None, None, None, None, slow.instant_mw, None)


def test_the_context_phase_draws_what_a_resident_model_does() -> None:
    clock = SimulatedClock()
    gpu, phases = board(clock)
    start_s = clock.monotonic()
    phases.mark(Phase.LOAD)
    clock.sleep(1.0)
    phases.mark(Phase.CONTEXT)
    clock.sleep(2.0)
    assert gpu.true_energy_j(start_s, clock.monotonic()) == pytest.approx(150 + 2 * 100)
    resident, phases = board(clock)
    phases.mark(Phase.CONTEXT)
    clock.sleep(2.0)
    assert resident.read().power_mw == 100_000


@pytest.mark.parametrize("jitter_s", [0.0, 0.009])
@pytest.mark.parametrize("generation", sorted(GENERATIONS))
def test_each_reading_follows_its_own_timing_and_offset(generation: str, jitter_s: float) -> None:
    clock = SimulatedClock(start_s=100.0)
    trace = square(100.0, 400.0, 0.7)
    view = SensorView(GENERATIONS[generation], 0.011, 0.042, 0.077, jitter_s=jitter_s)
    gpu = SimulatedGpu(3, clock, sensor=view, trace=trace)
    assert gpu.sensors == GENERATIONS[generation]
    assert gpu.info.generation == generation
    start_mj = 4_000_000 - 1000 * trace.energy_j(100.0)
    for _ in range(300):
        clock.sleep(0.0173)
        reading, now_s = gpu.read(slow=False), clock.monotonic()
        truth = view.shown(trace.energy_j, now_s)
        assert truth.energy_mj is not None
        assert reading.energy_mj == pytest.approx(start_mj + truth.energy_mj, abs=1.1)
        assert reading.power_mw == truth.power_mw
        assert reading.instant_mw == truth.instant_mw


def test_a_default_board_shows_a_mean_a_short_window_and_a_counter_out_of_step() -> None:
    clock = SimulatedClock(start_s=100.0)
    (gpu,) = simulated_boards([0], clock)
    assert gpu.sensors == GENERATIONS["hopper"]
    gpu.on_phase(PhaseMark(Phase.PREFILL, 100.0))
    changed_s: list[set[int]] = [set(), set(), set()]
    before = gpu.read(slow=False)
    for step in range(1, 600):
        clock.sleep(0.001)
        now = gpu.read(slow=False)
        for column, (was, shows) in enumerate(
            zip(
                (before.energy_mj, before.power_mw, before.instant_mw),
                (now.energy_mj, now.power_mw, now.instant_mw),
                strict=True,
            )
        ):
            if was != shows:
                changed_s[column].add(step % 100)
        before = now
    assert all(changed_s)
    assert not changed_s[0] & changed_s[1]
    assert not changed_s[0] & changed_s[2]
    assert not changed_s[1] & changed_s[2]


@pytest.mark.parametrize(
    "trace",
    [
        Constant(200.0),
        square(90.0, 390.0, 0.7),
        Ramp(100.0, 400.0, 102.0, 110.0),
        Exponential(100.0, 400.0, 3.0, 101.0),
        Within(square(200.0, 400.0, 0.3), 70.0, 103.3, 107.1),
    ],
)
def test_a_trace_replaces_the_phases_and_its_energy_is_exact(trace: Trace) -> None:
    clock = SimulatedClock(start_s=100.0)
    gpu = SimulatedGpu(0, clock, trace=trace)
    for phase in (Phase.LOAD, Phase.PREFILL, Phase.DECODE, Phase.COOL):
        gpu.on_phase(PhaseMark(phase, clock.monotonic()))
        clock.sleep(2.9)
        gpu.read()
    for start_s, end_s in ((100.0, 111.6), (101.23, 109.87), (95.0, 104.0)):
        expected_j = trace.energy_j(end_s) - trace.energy_j(start_s)
        assert gpu.true_energy_j(start_s, end_s) == pytest.approx(expected_j, rel=1e-12)
    assert gpu.read().sm_utilisation_pct == 0


def test_a_varying_trace_heats_as_its_mean_does() -> None:
    clock = SimulatedClock(start_s=100.0)
    wave = SimulatedGpu(0, clock, trace=square(200.0, 400.0, 0.2))
    clock.sleep(300.0)
    assert wave.read().temperature_c == pytest.approx(28 + 0.07 * 300, abs=1)
    late = SimulatedGpu(0, clock, trace=Within(Constant(600.0), 50.0, 700.0, 900.0))
    clock.sleep(500.0)
    assert late.read().temperature_c == round(28 + 0.07 * 600)


def test_a_boards_gain_scales_what_it_shows_and_not_the_truth() -> None:
    clock = SimulatedClock(start_s=100.0)
    gpu = SimulatedGpu(0, clock, sensor=SensorView(gain=1.05), trace=Constant(200.0))
    before = gpu.read().energy_mj
    clock.sleep(10.0)
    reading = gpu.read()
    assert before is not None
    assert reading.energy_mj == pytest.approx(before + 10 * 200 * 1000 * 1.05, abs=2)
    assert (reading.power_mw, reading.instant_mw) == (210_000, 210_000)
    assert gpu.true_energy_j(100.0, 110.0) == pytest.approx(2000.0)


def test_a_power_cap_holds_power_and_clock_down_and_counts_the_time() -> None:
    clock = SimulatedClock(start_s=100.0)
    gpu = SimulatedGpu(0, clock, POWER, limits=Limits(power_cap_w=450.0))
    gpu.on_phase(PhaseMark(Phase.PREFILL, 100.0))
    clock.sleep(3.0)
    capped = gpu.read()
    assert capped.throttle_reasons == REASON_POWER_CAP
    assert capped.sm_clock_mhz == 1980 * 450 / 600
    assert gpu.info.power_limit_w == 450.0
    gpu.on_phase(PhaseMark(Phase.DECODE, clock.monotonic()))
    clock.sleep(2.0)
    free = gpu.read()
    assert (free.throttle_reasons, free.sm_clock_mhz) == (0, 1980)
    assert gpu.true_energy_j(100.0, 105.0) == pytest.approx(3 * 450 + 2 * 300)
    assert gpu.health().power_throttle_ns == pytest.approx(3e9)
    assert gpu.health().thermal_throttle_ns == 0


def test_a_cap_over_a_varying_trace_keeps_energy_and_counter_in_agreement() -> None:
    clock = SimulatedClock(start_s=100.0)
    gpu = SimulatedGpu(0, clock, trace=Ramp(100.0, 900.0, 100.0, 120.0), limits=Limits(power_cap_w=500.0))
    first = gpu.read().energy_mj
    for _ in range(200):
        clock.sleep(0.1)
        reading = gpu.read()
        # The cap is looked at every tenth of a second, in which the ramp climbs by 4 W.
        assert reading.instant_mw is not None
        assert reading.instant_mw <= 504_100
    assert first is not None
    assert reading.energy_mj is not None
    assert (reading.energy_mj - first) / 1000 == pytest.approx(gpu.true_energy_j(100.0, 120.0), abs=51)
    assert gpu.true_energy_j(100.0, 120.0) == pytest.approx(300 * 10 + 500 * 10, rel=0.002)
    assert gpu.health().power_throttle_ns == pytest.approx(10e9, abs=0.2e9)


def test_a_hot_board_is_held_down_until_it_is_cooler_and_its_energy_stays_exact() -> None:
    clock = SimulatedClock(start_s=100.0)
    gpu = SimulatedGpu(0, clock, POWER, limits=Limits(thermal_c=60.0, share_when_hot=0.5))
    gpu.on_phase(PhaseMark(Phase.PREFILL, 100.0))
    held_s = energy_j = 0.0
    hottest = 0
    for _ in range(1200):
        clock.sleep(0.1)
        # Read in the middle of a step, where the state holds for all of it.
        middle = gpu.read()
        assert middle.throttle_reasons in (0, REASON_THERMAL)
        hot = middle.throttle_reasons == REASON_THERMAL
        assert middle.sm_clock_mhz == (990 if hot else 1980)
        held_s += 0.1 * hot
        energy_j += 0.1 * (300 if hot else 600)
        hottest = max(hottest, middle.temperature_c or 0)
    assert 58 <= hottest <= 61
    assert 30 < held_s < 110
    health = gpu.health()
    assert health.thermal_throttle_ns == pytest.approx(held_s * 1e9, abs=0.2e9)
    assert health.power_throttle_ns == 0
    assert gpu.true_energy_j(100.0, clock.monotonic()) == pytest.approx(energy_j, abs=60.1)
    thermal_s = (health.thermal_throttle_ns or 0) / 1e9
    exact_j = 300 * thermal_s + 600 * (clock.monotonic() - 100.0 - thermal_s)
    assert gpu.true_energy_j(100.0, clock.monotonic()) == pytest.approx(exact_j, rel=1e-9)


def test_a_board_that_got_too_hot_is_held_down_until_it_is_three_degrees_cooler() -> None:
    clock = SimulatedClock(start_s=100.0)
    gpu = SimulatedGpu(0, clock, POWER, limits=Limits(thermal_c=60.0, share_when_hot=0.1))
    gpu.on_phase(PhaseMark(Phase.PREFILL, 100.0))
    released_c = set()
    hot = False
    for _ in range(1200):
        clock.sleep(0.1)
        now = gpu.read()
        if hot and now.throttle_reasons == 0:
            released_c.add(now.temperature_c)
        hot = now.throttle_reasons == REASON_THERMAL
    assert released_c == {57}


def test_a_limited_board_draws_the_same_whether_or_not_it_is_looked_at() -> None:
    energies_j = []
    for reads in (False, True):
        clock = SimulatedClock(start_s=100.0)
        gpu = SimulatedGpu(0, clock, POWER, limits=Limits(thermal_c=60.0))
        for phase in (Phase.PREFILL, Phase.DECODE, Phase.PREFILL):
            gpu.on_phase(PhaseMark(phase, clock.monotonic()))
            for _ in range(977):
                clock.sleep(50.0 / 977)
                if reads:
                    gpu.read()
        energies_j.append(gpu.true_energy_j(100.0, 250.0))
    assert energies_j[0] == pytest.approx(energies_j[1], rel=1e-6)


def test_default_boards_never_throttle() -> None:
    clock = SimulatedClock(start_s=100.0)
    boards = simulated_boards(range(8), clock)
    for gpu in boards:
        gpu.on_phase(PhaseMark(Phase.PREFILL, 100.0))
    clock.sleep(3600.0)
    for gpu in boards:
        assert gpu.read().throttle_reasons == 0
        assert gpu.health() == ((), 0, False, 0, 0)


def test_a_foreign_process_is_seen_while_it_is_there_and_its_power_is_drawn() -> None:
    clock = SimulatedClock(start_s=100.0)
    process = ForeignProcess(pid=4711, begin_s=102.0, end_s=105.0, extra_w=80.0)
    gpu = SimulatedGpu(0, clock, POWER, faults=Faults(foreign=(process, process._replace(extra_w=5.0))))
    alone = gpu.read()
    assert gpu.health().foreign == ()
    clock.sleep(3.0)
    shared = gpu.read()
    assert gpu.health().foreign == (4711,)
    assert (alone.sm_utilisation_pct, shared.sm_utilisation_pct) == (0, 50)
    assert alone.memory_used_mb is not None
    assert shared.memory_used_mb == alone.memory_used_mb + 4_000.0
    assert shared.instant_mw == 135_000
    clock.sleep(3.0)
    assert gpu.health().foreign == ()
    assert gpu.true_energy_j(100.0, 106.0) == pytest.approx(6 * 50 + 3 * 85)


def test_a_foreign_process_that_was_always_there_stays() -> None:
    clock = SimulatedClock(start_s=100.0)
    for begin_s, end_s in ((-math.inf, math.inf), (50.0, math.inf), (-math.inf, 500.0)):
        faults = Faults(foreign=(ForeignProcess(7, begin_s, end_s, extra_w=30.0),))
        gpu = SimulatedGpu(0, clock, POWER, faults=faults)
        start_s = clock.monotonic()
        clock.sleep(10.0)
        assert gpu.health().foreign == (7,)
        assert gpu.true_energy_j(start_s, clock.monotonic()) == pytest.approx(800.0)


def test_injected_errors_show_from_their_time_on() -> None:
    clock = SimulatedClock(start_s=100.0)
    gpu = SimulatedGpu(0, clock, faults=Faults(ecc_errors_at_s=(101.0, 102.0), mig=True, lost_at_s=103.0))
    counted = []
    for _ in range(3):
        counted.append(gpu.health().ecc_errors)
        assert gpu.health().mig is True
        clock.sleep(1.0)
    assert counted == [0, 1, 2]
    for ask in (gpu.read, gpu.health, lambda: gpu.read(slow=False)):
        with pytest.raises(BoardLostError, match="no longer answers"):
            ask()


def test_a_stalled_board_answers_when_the_stall_ends_and_no_sooner() -> None:
    clock = SimulatedClock(start_s=100.0)
    gpu = SimulatedGpu(0, clock, trace=Constant(200.0), faults=Faults(stalls=((101.0, 0.5), (103.0, 0.2))))
    answered_s = []
    for asked_s in (100.9, 101.0, 101.6, 103.1):
        clock.sleep(asked_s - clock.monotonic())
        gpu.read(slow=False)
        answered_s.append(clock.monotonic())
    assert answered_s == pytest.approx([100.9, 101.5, 101.6, 103.2])
    slow = SimulatedGpu(0, clock, faults=Faults(stalls=((103.0, 1.0),)))
    slow.health()
    assert clock.monotonic() == pytest.approx(104.0)
    assert gpu.true_energy_j(100.0, 104.0) == pytest.approx(800.0)


def test_periodic_readings_go_on_in_step_after_a_stall_without_making_up_for_it() -> None:
    clock = SimulatedClock(start_s=100.0)
    gpu = SimulatedGpu(0, clock, faults=Faults(stalls=((100.35, 0.6),)))
    asked_s: list[float] = []

    def read() -> None:
        asked_s.append(clock.monotonic())
        gpu.read(slow=False)

    clock.every(0.1, read)
    clock.sleep(1.25)
    assert asked_s == pytest.approx([100.0, 100.1, 100.2, 100.3, 100.4, 101.0, 101.1, 101.2])
