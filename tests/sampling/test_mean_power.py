"""Energy from power alone, against power whose integral is known."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llem_sweep.device.sensors import shown_power_mw
from llem_sweep.device.traces import Constant, Cycle, Trace, Within, square
from llem_sweep.results.sensors import SensorTiming
from llem_sweep.sampling.mean_power import PowerEnergy, by_holding, by_inversion, is_running_mean
from llem_sweep.sampling.updates import Point

SAMPLING_S = 0.01594
MEAN = SensorTiming(update_period_s=0.1, window_s=1.0)
QUARTER = SensorTiming(update_period_s=0.1, window_s=0.025)
WHOLE = SensorTiming(update_period_s=0.1, window_s=0.1)
FAST = SensorTiming(update_period_s=0.02, window_s=0.01)


def read(trace: Trace, timing: SensorTiming, end_s: float = 12.0, offset_s: float = 0.043) -> list[Point]:
    """What samples from 0 to ``end_s`` show of a power reading."""
    times_s = (number * SAMPLING_S for number in range(int(end_s / SAMPLING_S)))
    return [Point(at_s, shown_power_mw(trace.energy_j, timing, offset_s, at_s)) for at_s in times_s]


def true_mj(trace: Trace, start_s: float, end_s: float) -> float:
    return 1000 * (trace.energy_j(end_s) - trace.energy_j(start_s))


def inverted(trace: Trace, start_s: float, end_s: float, timing: SensorTiming = MEAN) -> PowerEnergy:
    found = by_inversion(read(trace, timing), start_s, end_s, SAMPLING_S, timing)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("window_s", "update_s", "running"),
    [(1.0, 0.1, True), (0.2, 0.1, True), (0.1, 0.1, False), (0.025, 0.1, False), (None, 0.1, False)],
)
def test_a_running_mean_is_one_whose_windows_overlap(
    window_s: float | None, update_s: float, running: bool
) -> None:
    assert is_running_mean(SensorTiming(update_period_s=update_s, window_s=window_s)) is running


@settings(derandomize=True, deadline=None, max_examples=30)
@given(
    power_w=st.floats(10, 900),
    start_s=st.floats(1.5, 4.0),
    length_s=st.floats(0.3, 6.0),
    timing=st.sampled_from((MEAN, QUARTER, WHOLE, FAST)),
)
def test_constant_power_is_exact_by_either_method(
    power_w: float, start_s: float, length_s: float, timing: SensorTiming
) -> None:
    trace = Constant(power_w)
    if is_running_mean(timing):
        found = inverted(trace, start_s, start_s + length_s)
    else:
        found = by_holding(read(trace, timing), start_s, start_s + length_s, SAMPLING_S, timing)
    # Readings are whole milliwatts.
    assert found.energy_mj == pytest.approx(1000 * power_w * length_s, rel=1e-9, abs=length_s)
    unseen = max(0.0, 1 - (timing.window_s or 0.0) / timing.update_period_s)
    assert 0 <= found.sd_mj <= (0.02 + 0.1 * unseen) * found.energy_mj


@pytest.mark.parametrize("updates", [10, 20, 30])
def test_whole_windows_between_updates_are_exact_under_any_load(updates: int) -> None:
    draw = random.Random(updates)
    for _ in range(10):
        trace = Cycle(tuple((draw.uniform(0.05, 0.9), draw.uniform(60, 700)) for _ in range(9)))
        points = read(trace, MEAN, offset_s=0.0)
        start_s = 0.1 * draw.randrange(20, 60)
        found = by_inversion(points, start_s, start_s + 0.1 * updates, SAMPLING_S, MEAN)
        assert found is not None
        # Updates are found to a small part of a sampling period, at either end.
        assert found.energy_mj == pytest.approx(
            true_mj(trace, start_s, start_s + 0.1 * updates), abs=2 * 640_000 * 0.002
        )


def test_a_mean_taken_apart_tells_a_window_that_the_reading_itself_lags_behind() -> None:
    draw = random.Random(3)
    for _ in range(20):
        begin_s, end_s = draw.uniform(3, 4), draw.uniform(6, 8)
        trace = Within(Constant(500.0), 100.0, begin_s, end_s)
        found = inverted(trace, begin_s, end_s)
        true = true_mj(trace, begin_s, end_s)
        assert found.energy_mj == pytest.approx(true, abs=400_000 * 0.01)
        held = by_holding(read(trace, MEAN), begin_s, end_s, SAMPLING_S, MEAN)
        assert abs(found.energy_mj - true) < 0.1 * abs(held.energy_mj - true)


@pytest.mark.parametrize("lag_s", [0.0, 0.17])
def test_a_late_mean_is_moved_back_by_its_lag(lag_s: float) -> None:
    timing = MEAN.model_copy(update={"lag_s": lag_s})
    trace = Within(Constant(500.0), 100.0, 4.02, 7.3)
    found = inverted(trace, 4.02, 7.3, timing)
    assert found.energy_mj == pytest.approx(true_mj(trace, 4.02, 7.3), abs=400_000 * 0.01)


def test_the_stated_uncertainty_covers_the_error_under_varying_load() -> None:
    draw = random.Random(17)
    within = {"inverted": 0, "held": 0}
    for number in range(24):
        inside = (
            Cycle(tuple((draw.uniform(0.1, 0.9), draw.uniform(150, 650)) for _ in range(7)))
            if number % 2
            else square(200.0, draw.uniform(250, 600), draw.uniform(0.2, 2.0))
        )
        start_s, end_s = draw.uniform(2.5, 3.5), draw.uniform(6.5, 9.5)
        trace = Within(inside, 80.0, start_s, end_s)
        true = true_mj(trace, start_s, end_s)
        found = inverted(trace, start_s, end_s)
        within["inverted"] += abs(found.energy_mj - true) <= 2 * found.sd_mj
        held = by_holding(read(trace, QUARTER), start_s, end_s, SAMPLING_S, QUARTER)
        within["held"] += abs(held.energy_mj - true) <= 2 * held.sd_mj
    assert min(within.values()) >= 0.9 * 24, within


@pytest.mark.parametrize("timing", [QUARTER, WHOLE, FAST])
def test_held_readings_miss_a_step_by_no_more_than_the_time_they_did_not_see(timing: SensorTiming) -> None:
    draw = random.Random(8)
    for _ in range(20):
        step_s = draw.uniform(4, 5)
        trace = Within(Constant(600.0), 100.0, step_s, 100.0)
        points = read(trace, timing, offset_s=draw.uniform(0, 0.1))
        found = by_holding(points, 3.0, 8.0, SAMPLING_S, timing)
        unseen_s = max(timing.update_period_s, SAMPLING_S) / 2 + SAMPLING_S
        assert found.energy_mj == pytest.approx(true_mj(trace, 3.0, 8.0), abs=500_000 * unseen_s)


def test_a_reading_of_an_unknown_window_is_as_uncertain_as_the_longest_one_makes_it() -> None:
    unknown = SensorTiming(update_period_s=0.1)
    trace = Within(Constant(600.0), 100.0, 4.0, 7.0)
    points = read(trace, MEAN)
    found = by_holding(points, 3.5, 6.9, SAMPLING_S, unknown)
    assert abs(found.energy_mj - true_mj(trace, 3.5, 6.9)) <= 2 * found.sd_mj
    known = by_holding(read(trace, WHOLE), 3.5, 6.9, SAMPLING_S, WHOLE)
    assert found.sd_mj > 5 * known.sd_mj


def test_bursts_between_windows_with_gaps_are_within_the_bound_although_no_reading_saw_them() -> None:
    bursts = Cycle(((0.06, 620.0), (0.44, 340.0)), offset_s=0.015)
    for offset_s in (0.0, 0.02, 0.04, 0.06, 0.08):
        found = by_holding(read(bursts, QUARTER, offset_s=offset_s), 3.0, 8.0, SAMPLING_S, QUARTER)
        assert abs(found.energy_mj - true_mj(bursts, 3.0, 8.0)) <= 2 * found.sd_mj


def test_neighbouring_windows_add_up_to_the_whole() -> None:
    trace = Cycle(((0.37, 120.0), (0.91, 400.0), (0.53, 260.0)))
    held = [
        by_holding(read(trace, QUARTER), begin_s, end_s, SAMPLING_S, QUARTER).energy_mj
        for begin_s, end_s in ((3.0, 4.7), (4.7, 8.0), (3.0, 8.0))
    ]
    assert held[0] + held[1] == pytest.approx(held[2])
    at_s = (3.003, 4.703, 8.003)
    parts = [inverted(trace, *span).energy_mj for span in ((at_s[0], at_s[1]), (at_s[1], at_s[2]))]
    # How an edge within an update is shared depends on its side: part of the middle one may be counted twice.
    assert sum(parts) == pytest.approx(inverted(trace, at_s[0], at_s[2]).energy_mj, abs=0.1 * 400_000)


def test_a_mean_that_was_not_read_long_enough_tells_nothing() -> None:
    trace = Within(Constant(500.0), 100.0, 2.0, 4.0)
    points = read(trace, MEAN)

    def found(begin_s: float, end_s: float) -> PowerEnergy | None:
        read_s = [point for point in points if begin_s <= point.at_s <= end_s]
        return by_inversion(read_s, 2.0, 4.0, SAMPLING_S, MEAN)

    assert found(0.0, 5.5) is not None
    assert found(0.0, 3.5) is None
    assert found(2.6, 6.0) is None
    assert found(0.0, 1.5) is None
    assert found(3.0, 3.5) is None
    assert by_inversion([], 2.0, 4.0, SAMPLING_S, MEAN) is None
    windowless = SensorTiming(update_period_s=0.1)
    assert by_inversion(points, 2.0, 4.0, SAMPLING_S, windowless) is None
