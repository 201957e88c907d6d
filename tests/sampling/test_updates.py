"""Times of updates found in samples, against updates that are known."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llem_sweep.sampling.updates import Point, find_updates, points_near

SAMPLING_S = 0.01594


def shown(
    updates: Sequence[tuple[float, float]], end_s: float, sampling_s: float = SAMPLING_S
) -> list[Point]:
    """What samples from 0 to ``end_s`` show of ``(time, value)`` updates, the first of them before 0."""
    times_s = [at_s for at_s, _ in updates]
    sampled_s = [number * sampling_s for number in range(int(end_s / sampling_s))]
    return [Point(at_s, updates[bisect_right(times_s, at_s) - 1][1]) for at_s in sampled_s]


def ticks(period_s: float, offset_s: float, end_s: float) -> list[tuple[float, float]]:
    """A counter's, each of them one higher."""
    return [(offset_s + n * period_s, float(n)) for n in range(-1, int(end_s / period_s) + 2)]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    period_s=st.floats(0.05, 0.6),
    phase=st.floats(0.01, 0.99),
    sampling_s=st.floats(0.005, 0.03),
)
def test_every_tick_is_found_within_a_sampling_period_and_between_the_samples_around_it(
    period_s: float, phase: float, sampling_s: float
) -> None:
    truth = ticks(period_s, phase * period_s, 13.0)
    points = shown(truth, 13.0, sampling_s)
    found = find_updates(points, sampling_s)
    assert found is not None
    inside = [(at_s, value) for at_s, value in truth if points[0].at_s < at_s <= points[-1].at_s]
    assert list(found.values) == [value for _, value in inside]
    assert found.before == inside[0][1] - 1
    sampled_s = [point.at_s for point in points]
    for at_s, (true_s, _) in zip(found.times_s, inside, strict=True):
        after = bisect_right(sampled_s, true_s - 1e-9)
        # Ticks may be uneven by as much as their brackets can't exclude: some microseconds.
        assert sampled_s[after - 1] - 1e-5 <= at_s <= sampled_s[after] + 1e-5
    assert found.times_s == tuple(sorted(set(found.times_s)))


@pytest.mark.parametrize("period_s", [0.1, 0.5])
def test_many_ticks_tell_their_times_far_better_than_one_sample(period_s: float) -> None:
    draw = random.Random(5)
    for _ in range(20):
        offset_s = draw.uniform(0, period_s)
        found = find_updates(shown(ticks(period_s, offset_s, 13.0), 13.0), SAMPLING_S)
        assert found is not None
        errors_s = [
            at_s - offset_s - period_s * round((at_s - offset_s) / period_s) for at_s in found.times_s
        ]
        assert max(map(abs, errors_s)) < SAMPLING_S / 3
        assert found.period_s == pytest.approx(period_s, rel=2e-3)


@pytest.mark.parametrize(
    ("period_s", "sampling_s"), [(0.02, 0.00194), (0.1, 0.01594), (0.1, 0.02), (0.5, 0.01594)]
)
def test_the_stated_timing_is_the_rms_error_of_the_times(period_s: float, sampling_s: float) -> None:
    errors_s, stated_s = [], []
    for seed in range(60):
        draw = random.Random(seed)
        offset_s = draw.uniform(sampling_s, period_s)
        found = find_updates(shown(ticks(period_s, offset_s, 13.0), 13.0, sampling_s), sampling_s)
        assert found is not None
        middle = len(found.times_s) // 2
        errors_s.append(found.times_s[middle] - offset_s - period_s * found.values[middle])
        stated_s.append(found.timing.sd_s(found.times_s[middle]))
    ratio = (fmean(error_s**2 for error_s in errors_s) / fmean(each_s**2 for each_s in stated_s)) ** 0.5
    assert 0.4 < ratio < 2, "neither claimed nor hidden"


def test_updates_that_left_the_value_as_it_was_are_counted_when_the_period_is_known() -> None:
    draw = random.Random(3)
    value, truth = 0.0, []
    for number in range(-1, 131):
        value += draw.random() < 0.3
        truth.append((0.03 + 0.1 * number, value))
    found = find_updates(shown(truth, 13.0), SAMPLING_S, 0.1)
    assert found is not None
    changed = [
        (at_s, value) for (_, before), (at_s, value) in pairwise(truth) if value != before and at_s <= 12.97
    ]
    assert list(found.values) == [value for _, value in changed]
    assert list(found.times_s) == pytest.approx([at_s for at_s, _ in changed], abs=SAMPLING_S / 2)
    assert found.period_s == pytest.approx(0.1, rel=2e-3)


def test_a_stall_of_the_sampler_shifts_no_tick_but_those_that_it_hid() -> None:
    truth = ticks(0.1, 0.05, 13.0)
    points = shown(truth, 13.0)
    holed = [point for point in points if not 6.0 < point.at_s < 6.43]
    found = find_updates(holed, SAMPLING_S)
    assert found is not None
    assert len(found.times_s) == len([at_s for at_s, _ in truth if 0 < at_s <= points[-1].at_s]) - 3
    for at_s, value in zip(found.times_s, found.values, strict=True):
        assert at_s == pytest.approx(0.05 + 0.1 * value, abs=SAMPLING_S / 2)


def test_updates_that_keep_no_time_are_placed_halfway_between_their_samples() -> None:
    draw = random.Random(2)
    at_s, truth = -1.0, list[tuple[float, float]]()
    while at_s < 13.0:
        truth.append((at_s, float(len(truth))))
        at_s += draw.uniform(0.06, 0.3)
    points = shown(truth, 13.0)
    found = find_updates(points, SAMPLING_S)
    assert found is not None
    assert found.timing.sd_s(6.0) == pytest.approx(SAMPLING_S / 12**0.5)
    middles_s = [(a.at_s + b.at_s) / 2 for a, b in pairwise(points) if a.value != b.value]
    assert list(found.times_s) == pytest.approx(middles_s)


def test_uneven_ticks_are_held_between_the_samples_that_they_fell_between() -> None:
    draw = random.Random(8)
    truth = [(0.05 + 0.1 * n + draw.uniform(-0.01, 0.01), float(n)) for n in range(-1, 131)]
    found = find_updates(shown(truth, 13.0), SAMPLING_S)
    assert found is not None
    true_s = {value: at_s for at_s, value in truth}
    for at_s, value in zip(found.times_s, found.values, strict=True):
        assert at_s == pytest.approx(true_s[value], abs=SAMPLING_S)


def test_the_same_samples_later_give_the_same_times_later() -> None:
    points = shown(ticks(0.1, 0.037, 13.0), 13.0)
    found = find_updates(points, SAMPLING_S)
    later = find_updates([Point(at_s + 1e6, 2 * value + 7) for at_s, value in points], SAMPLING_S)
    assert found is not None
    assert later is not None
    assert [at_s - 1e6 for at_s in later.times_s] == pytest.approx(list(found.times_s), abs=1e-6)
    assert list(later.values) == [2 * value + 7 for value in found.values]
    assert later.timing.sd_s(1e6 + 6.0) == pytest.approx(found.timing.sd_s(6.0), abs=1e-6)


def test_a_counter_that_ticked_less_than_three_times_has_no_period() -> None:
    points = shown(ticks(0.5, 0.3, 1.2), 1.2)
    assert find_updates(points, SAMPLING_S) is None
    found = find_updates(points, SAMPLING_S, 0.5)
    assert found is not None
    assert list(found.times_s) == pytest.approx([0.3, 0.8], abs=SAMPLING_S)
    assert find_updates(shown(ticks(0.5, 0.3, 1.8), 1.8), SAMPLING_S) is not None


def test_where_nothing_changed_there_is_no_update() -> None:
    still = [Point(0.01 * n, 4.0) for n in range(100)]
    for points in ([], still[:1], still):
        assert find_updates(points, 0.01) is None
        assert find_updates(points, 0.01, 0.1) is None


def test_points_near_two_moments_are_those_within_reach_and_one_more_on_either_side() -> None:
    points = [Point(float(n), n) for n in range(40)]
    assert [point.value for point in points_near(points, 10.0, 12.0)] == list(range(3, 20))
    assert [point.value for point in points_near(points, 10.5, 10.5)] == list(range(3, 19))
    assert [point.value for point in points_near(points, -9.0, -9.0)] == [0]
    assert [point.value for point in points_near(points, 60.0, 60.0)] == [39]
    assert list(points_near(points, 0.0, 100.0)) == points
    assert list(points_near([], 0.0, 0.0)) == []
