from __future__ import annotations

import math
import threading

import pytest

from llem_sweep.clock import SimulatedClock, SystemClock
from llem_sweep.device.simulated import (
    REASON_GPU_IDLE,
    PowerProfile,
    SensorProfile,
    SimulatedGpu,
    simulated_boards,
)
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
    assert len(gpu._trace) < 2_000
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
