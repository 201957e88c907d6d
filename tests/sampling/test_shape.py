"""Power as steps, and the counter between slow ticks by it, against power that is known."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

import pytest

from llem_sweep.device.sensors import shown_power_mw
from llem_sweep.device.traces import Constant, Cycle, Trace, Within
from llem_sweep.results.sensors import SensorTiming
from llem_sweep.sampling.grids import Timing
from llem_sweep.sampling.shape import (
    Step,
    counter_by_cells,
    energy_between,
    has_no_gaps,
    power_steps,
    shaped_counter_at,
    window_means,
)
from llem_sweep.sampling.ticks import Side, counter_at
from llem_sweep.sampling.updates import Point, Updates

SAMPLING_S = 0.01594
QUARTER = SensorTiming(update_period_s=0.1, window_s=0.025)
WHOLE = SensorTiming(update_period_s=0.1, window_s=0.1)
FAST = SensorTiming(update_period_s=0.02, window_s=0.01)


def read(
    trace: Trace,
    timing: SensorTiming,
    end_s: float = 12.0,
    *,
    begin_s: float = 0.0,
    offset_s: float = 0.0,
    sampling_s: float = SAMPLING_S,
) -> list[Point]:
    """What samples show of a power reading."""
    times_s = (begin_s + n * sampling_s for n in range(int((end_s - begin_s) / sampling_s)))
    return [Point(at_s, shown_power_mw(trace.energy_j, timing, offset_s, at_s)) for at_s in times_s]


def ticks_of(trace: Trace, period_s: float = 0.5, offset_s: float = 0.0, count: int = 24) -> Updates:
    times_s = tuple(offset_s + number * period_s for number in range(count))
    values = tuple(1000 * trace.energy_j(at_s) for at_s in times_s)
    return Updates(times_s, values, 0.0, period_s, Timing(times_s[0], 0.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("window_s", "without_gaps"),
    [(None, False), (0.025, False), (0.089, False), (0.091, True), (0.1, True), (0.109, True), (1.0, False)],
)
def test_windows_follow_each_other_without_a_gap_when_they_are_as_long_as_the_period(
    window_s: float | None, without_gaps: bool
) -> None:
    assert has_no_gaps(SensorTiming(update_period_s=0.1, window_s=window_s)) is without_gaps


@pytest.mark.parametrize("timing", [QUARTER, WHOLE])
@pytest.mark.parametrize("lag_s", [0.0, 0.04, 0.23])
def test_every_reading_is_the_mean_of_the_window_that_ends_at_its_time(
    timing: SensorTiming, lag_s: float
) -> None:
    timing = timing.model_copy(update={"lag_s": lag_s})
    trace = Cycle(((0.37, 120.0), (0.91, 400.0), (0.53, 260.0)))
    points = read(trace, timing, offset_s=0.043)
    means, spacing_s = window_means(points, SAMPLING_S, timing)
    assert spacing_s == pytest.approx(0.1, rel=1e-3)
    assert timing.window_s is not None
    for end_s, value in means:
        # Found to a fraction of a sampling period: power moves by 280 W at most within a window.
        true_mw = 1000 * (trace.energy_j(end_s) - trace.energy_j(end_s - timing.window_s)) / timing.window_s
        assert value == pytest.approx(true_mw, abs=280_000 * 0.002 / timing.window_s)
    assert [after.at_s - before.at_s for before, after in pairwise(means)] == (
        pytest.approx([0.1] * (len(means) - 1), abs=0.005)
    )
    assert len(means) >= 116


@pytest.mark.parametrize("lag_s", [0.0, 0.05, 0.23])
def test_no_reading_is_made_up_of_a_window_that_no_sample_showed(lag_s: float) -> None:
    timing = QUARTER.model_copy(update={"lag_s": lag_s})
    trace = Cycle(((0.3, 120.0), (0.3, 400.0)))
    points = read(trace, timing, 5.0, offset_s=0.043)
    means, _ = window_means(points, SAMPLING_S, timing)
    assert means[-1].at_s <= points[-1].at_s - lag_s + SAMPLING_S
    assert means[-1].at_s >= points[-1].at_s - lag_s - 0.1 - SAMPLING_S
    assert means[0].at_s >= points[0].at_s - lag_s - 0.1 - SAMPLING_S


def test_readings_that_never_change_are_filled_in_from_the_first_to_the_last() -> None:
    trace = Within(Constant(400.0), 400.0, 0.0, 1.0)
    points = read(trace, QUARTER)
    means, spacing_s = window_means(points, SAMPLING_S, QUARTER)
    assert {mean.value for mean in means} == {400_000}
    assert spacing_s == SAMPLING_S
    assert window_means([], SAMPLING_S, QUARTER) == ([], SAMPLING_S)
    assert power_steps([], SAMPLING_S, QUARTER) == []


@pytest.mark.parametrize("timing", [QUARTER, WHOLE, FAST])
def test_each_step_of_the_power_is_found_within_the_room_that_is_stated(timing: SensorTiming) -> None:
    draw = random.Random(4)
    for _ in range(20):
        step_s = 5 + draw.random()
        trace = Within(Constant(500.0), 100.0, step_s, 100.0)
        steps = power_steps(read(trace, timing, offset_s=draw.uniform(0, 0.1)), SAMPLING_S, timing)
        # What was drawn before is what was drawn long before the first sample, too.
        assert steps[0].at_s < -100.0
        assert (steps[0].power_mw, steps[-1].power_mw) == (100_000, 500_000)
        found_s = (
            step_s + (energy_between(steps, 4, 8) - 1000 * (trace.energy_j(8) - trace.energy_j(4))) / 4e5
        )
        room_s = max(step.room_s for step in steps) + 0.003
        assert found_s == pytest.approx(step_s, abs=room_s + SAMPLING_S / 2)
        assert [step.at_s for step in steps] == sorted(step.at_s for step in steps)


def test_a_step_inside_a_window_is_placed_by_how_much_of_it_the_window_saw() -> None:
    trace = Within(Constant(500.0), 100.0, 5.13, 100.0)
    steps = power_steps(read(trace, WHOLE), SAMPLING_S, WHOLE)
    assert len(steps) == 2
    assert steps[1].at_s == pytest.approx(5.13, abs=0.006)


def test_energy_between_two_moments_is_the_integral_of_the_steps() -> None:
    steps = [Step(-1000.0, 100.0, 0.0), Step(1.0, 300.0, 0.0), Step(2.0, 50.0, 0.0)]
    assert energy_between(steps, 0.0, 3.0) == pytest.approx(100 + 300 + 50)
    assert energy_between(steps, 1.25, 1.75) == pytest.approx(150)
    assert energy_between(steps, -5.0, -4.0) == pytest.approx(100)
    assert energy_between(steps, 7.0, 9.0) == pytest.approx(100)
    assert energy_between(steps, 1.5, 1.5) == 0
    parts = [energy_between(steps, 0.1 * n, 0.1 * (n + 1)) for n in range(30)]
    assert sum(parts) == pytest.approx(energy_between(steps, 0.0, 3.0))


NEAR_S = 0.05 + 0.025 + SAMPLING_S / 4
"""As for a reading of 25 ms every 100 ms."""


def shaped_error_mj(
    trace: Trace, edge_s: float, side: Side, steps: Sequence[Step], ticks: Updates
) -> tuple[float, float]:
    edge = shaped_counter_at(ticks, edge_s, side, steps, NEAR_S)
    assert edge is not None
    return edge.value_mj - 1000 * trace.energy_j(edge_s), edge.sd_mj


@pytest.mark.parametrize("side", [-1, 1])
def test_at_a_slow_tick_the_counter_is_exact_whatever_the_steps_say(side: Side) -> None:
    trace = Cycle(((0.37, 120.0), (0.91, 400.0), (0.53, 260.0)))
    ticks = ticks_of(trace, offset_s=0.25)
    wrong = [Step(-1000.0, 777_000.0, 0.0), Step(4.1, 5_000.0, 0.1)]
    for steps in (power_steps(read(trace, QUARTER), SAMPLING_S, QUARTER), wrong):
        for at_s, value in list(zip(ticks.times_s, ticks.values, strict=True))[2:-2]:
            edge = shaped_counter_at(ticks, at_s, side, steps, NEAR_S)
            assert edge is not None
            assert edge.value_mj == pytest.approx(value, abs=1e-3)


@pytest.mark.parametrize("side", [-1, 1])
def test_steady_power_is_exact_anywhere_in_a_slow_tick(side: Side) -> None:
    trace = Constant(333.0)
    steps = [Step(-1000.0, 333_000.0, 0.0)]
    for edge_s in (2.0, 2.1, 2.25, 2.49):
        error, sd_mj = shaped_error_mj(trace, edge_s, side, steps, ticks_of(trace))
        assert error == pytest.approx(0, abs=1e-3)
        assert sd_mj <= 0.01 * 333_000 * 0.5


def test_power_shares_a_slow_tick_far_better_than_the_ticks_alone() -> None:
    draw = random.Random(12)
    shaped, alone, within = [], [], 0
    for _ in range(100):
        trace = Cycle(
            tuple((draw.uniform(0.15, 0.6), draw.uniform(80, 600)) for _ in range(7)), draw.uniform(0, 1)
        )
        ticks = ticks_of(trace, offset_s=draw.uniform(-0.5, 0))
        steps = power_steps(read(trace, QUARTER, offset_s=draw.uniform(0, 0.1)), SAMPLING_S, QUARTER)
        edge_s, side = draw.uniform(3, 9), draw.choice((-1, 1))
        error, sd_mj = shaped_error_mj(trace, edge_s, side, steps, ticks)
        plain = counter_at(ticks, edge_s, side)
        assert plain is not None
        shaped.append(error**2)
        alone.append((plain.value_mj - 1000 * trace.energy_j(edge_s)) ** 2)
        within += abs(error) <= 2 * sd_mj
    assert sum(shaped) < 0.1 * sum(alone)
    assert within >= 90


def test_work_that_begins_and_ends_at_the_edges_is_exact_though_no_reading_saw_when() -> None:
    draw = random.Random(7)
    for _ in range(30):
        begin_s, end_s = draw.uniform(3.0, 4.0), draw.uniform(7.0, 8.0)
        trace = Within(Constant(450.0), 90.0, begin_s, end_s)
        ticks = ticks_of(trace, offset_s=draw.uniform(-0.5, 0))
        steps = power_steps(read(trace, QUARTER, offset_s=draw.uniform(0, 0.1)), SAMPLING_S, QUARTER)
        for edge_s, side in ((begin_s, -1), (end_s, 1)):
            error, _ = shaped_error_mj(trace, edge_s, side, steps, ticks)
            # 360 W for 5 ms; the readings leave 75 ms open.
            assert abs(error) <= 360_000 * 0.005


def test_beyond_the_ticks_shape_tells_nothing_and_before_the_steps_the_ticks_do() -> None:
    trace = Constant(300.0)
    ticks = ticks_of(trace, count=10)
    steps = [Step(-1000.0, 300_000.0, 0.0)]
    assert shaped_counter_at(ticks, -0.1, -1, steps, NEAR_S) is None
    assert shaped_counter_at(ticks, 4.6, 1, steps, NEAR_S) is None
    for late in ([], [Step(2.2, 300_000.0, 0.0)]):
        assert shaped_counter_at(ticks, 2.25, 1, late, NEAR_S) == counter_at(ticks, 2.25, 1)


@pytest.mark.parametrize("side", [-1, 1])
def test_gapless_readings_are_a_quicker_counter_of_their_own(side: Side) -> None:
    draw = random.Random(5)
    errors, alone, within = [], [], 0
    for _ in range(60):
        begin_s = draw.uniform(4.0, 5.0)
        trace = Within(Constant(draw.uniform(300, 600)), 90.0, begin_s, begin_s + draw.uniform(2, 3))
        edge_s = begin_s if side < 0 else trace.end_s
        ticks = ticks_of(trace, offset_s=draw.uniform(-0.5, 0))
        points = read(trace, WHOLE, offset_s=draw.uniform(0, 0.1))
        edge = counter_by_cells(ticks, edge_s, side, points, SAMPLING_S, WHOLE)
        assert edge is not None
        error = edge.value_mj - 1000 * trace.energy_j(edge_s)
        errors.append(abs(error))
        within += abs(error) <= 2 * edge.sd_mj
        inner = counter_at(ticks, edge_s, side)
        assert inner is not None
        alone.append(abs(inner.value_mj - 1000 * trace.energy_j(edge_s)))
    # 510 W at most for a tenth of a reading's period.
    assert max(errors) <= 510_000 * 0.01
    assert within >= 54


def test_cells_that_do_not_reach_the_edge_or_the_ticks_tell_nothing() -> None:
    trace = Cycle(((0.3, 120.0), (0.45, 400.0)))
    ticks, points = ticks_of(trace), read(trace, WHOLE)

    def known(edge_s: float, points: Sequence[Point]) -> bool:
        return counter_by_cells(ticks, edge_s, 1, points, SAMPLING_S, WHOLE) is not None

    assert known(6.0, points)
    assert not known(6.0, [])
    assert not known(6.0, [point for point in points if point.at_s < 4.0])
    assert not known(6.0, points[:20])
    assert not known(-0.5, points)
    assert not known(12.2, points)


@pytest.mark.parametrize("scale", [0.5, 4.0])
def test_everything_scales_with_power(scale: float) -> None:
    trace = Cycle(((0.37, 120.0), (0.91, 400.0), (0.53, 260.0)))
    ticks, points = ticks_of(trace), read(trace, QUARTER)
    more = ticks._replace(values=tuple(scale * value for value in ticks.values))
    scaled = [Point(point.at_s, scale * point.value) for point in points]
    for edge_s in (3.1, 4.77, 5.3):
        one = shaped_counter_at(ticks, edge_s, 1, power_steps(points, SAMPLING_S, QUARTER), NEAR_S)
        other = shaped_counter_at(more, edge_s, 1, power_steps(scaled, SAMPLING_S, QUARTER), NEAR_S)
        assert one is not None
        assert other is not None
        assert other.value_mj == pytest.approx(scale * one.value_mj, rel=1e-9)
        # What rounding leaves open doesn't scale.
        assert other.sd_mj == pytest.approx(scale * one.sd_mj, rel=1e-3)
        assert other.slope_mw == pytest.approx(scale * one.slope_mw)
