from __future__ import annotations

from statistics import fmean

import pytest

from llem_sweep.device.sensors import (
    GENERATIONS,
    prior,
    shown_counter_mj,
    shown_power_mw,
    shown_update_s,
)
from llem_sweep.device.traces import Ramp
from llem_sweep.results.sensors import BoardSensors, SensorTiming

CLIMBING = Ramp(0.0, 1000.0, 0.0, 100.0)
"""10 W per second: energy from 0 is 5 J × seconds²."""


def test_the_published_windows_are_those_of_the_paper() -> None:
    windows_s = {
        name: (
            sensors.power.window_s if sensors.power else None,
            sensors.instant.window_s if sensors.instant else None,
        )
        for name, sensors in GENERATIONS.items()
    }
    assert windows_s == {
        "volta": (0.01, None),
        "turing": (0.1, None),
        "ga100": (0.025, 0.025),
        "ampere": (1.0, 0.1),
        "ada": (1.0, 0.1),
        "hopper": (1.0, 0.025),
    }
    assert all(sensors.counter and sensors.source == "prior" for sensors in GENERATIONS.values())


def test_of_an_unknown_generation_nothing_is_assumed() -> None:
    assert prior("hopper") == GENERATIONS["hopper"]
    assert prior(None) == BoardSensors()
    assert prior("blackwell") == BoardSensors(generation="blackwell")
    assert prior("blackwell").source == "unknown"


@pytest.mark.parametrize(("at_s", "update_s"), [(10.0, 9.93), (10.029, 9.93), (10.031, 10.03), (0.01, -0.07)])
def test_an_update_holds_until_the_next(at_s: float, update_s: float) -> None:
    assert shown_update_s(SensorTiming(update_period_s=0.1), 0.03, at_s) == pytest.approx(update_s)


def test_jittered_updates_come_in_order_each_near_its_time_and_always_at_the_same() -> None:
    timing = SensorTiming(update_period_s=0.1)
    updates_s = [shown_update_s(timing, 0.03, -5.0 + 0.001 * step, 0.04) for step in range(10_000)]
    assert updates_s == sorted(updates_s)
    assert all(0 <= -5.0 + 0.001 * step - update_s < 0.18 for step, update_s in enumerate(updates_s))
    late_s = [update_s - 0.03 - 0.1 * round((update_s - 0.03) / 0.1) for update_s in sorted(set(updates_s))]
    assert 99 <= len(late_s) <= 102
    assert -0.0401 < min(late_s) < -0.035
    assert 0.035 < max(late_s) < 0.04
    assert abs(fmean(late_s)) < 0.01
    assert shown_update_s(timing, 0.03, updates_s[500], 0.04) == updates_s[500]


@pytest.mark.parametrize("jitter_s", [-0.01, 0.05])
def test_a_jitter_that_would_put_updates_out_of_order_is_refused(jitter_s: float) -> None:
    with pytest.raises(ValueError, match="twice as far apart"):
        shown_update_s(SensorTiming(update_period_s=0.1), 0.0, 1.0, jitter_s)


def test_jitter_moves_the_update_that_counter_and_power_show() -> None:
    timing = SensorTiming(update_period_s=0.1, window_s=0.2)
    update_s = shown_update_s(timing, 0.0, 10.07, 0.03)
    assert update_s not in (10.0, 10.1)
    counter = SensorTiming(update_period_s=0.1)
    assert shown_counter_mj(CLIMBING.energy_j, counter, 0.0, 10.07, 0.03) == int(5000 * update_s**2)
    assert shown_power_mw(CLIMBING.energy_j, timing, 0.0, 10.07, 0.03) == round(10_000 * (update_s - 0.1))


def test_a_counter_shows_the_energy_at_its_latest_tick_less_the_lag() -> None:
    timing = SensorTiming(update_period_s=0.5, lag_s=0.1)
    assert shown_counter_mj(CLIMBING.energy_j, timing, 0.2, 10.6) == int(1000 * 5 * 10.1**2)


def test_a_power_reading_is_the_mean_of_its_window_before_the_update_less_the_lag() -> None:
    timing = SensorTiming(update_period_s=0.5, window_s=1.0, lag_s=0.1)
    assert shown_power_mw(CLIMBING.energy_j, timing, 0.2, 10.6) == pytest.approx(
        1000 * 10 * (10.1 - 0.5), abs=1
    )


def test_a_counters_timing_serves_no_power_reading() -> None:
    with pytest.raises(ValueError, match="has a window"):
        shown_power_mw(CLIMBING.energy_j, SensorTiming(update_period_s=0.1), 0.0, 10.0)
