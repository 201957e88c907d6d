"""Update periods found in samples of a reading whose updates are known."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

import pytest

from llem_sweep.sampling.periods import LEAST_CHANGES, find_grid, updates_of
from llem_sweep.sampling.updates import Point

FINE_S = 0.00194
ORDINARY_S = 0.01594


def shown(
    updates: Sequence[tuple[float, float]], sampling_s: float, end_s: float, begin_s: float = 0.0
) -> list[Point]:
    """What samples show of ``(time, value)`` updates, the first of which is in the past of every sample."""
    times_s = [at_s for at_s, _ in updates]
    count = int((end_s - begin_s) / sampling_s)
    return [
        Point(at_s, updates[bisect_right(times_s, at_s) - 1][1])
        for at_s in (begin_s + number * sampling_s for number in range(count))
    ]


def updates(
    period_s: float,
    *,
    end_s: float = 20.0,
    changing: float = 1.0,
    jitter_s: float = 0.0,
    seed: int = 1,
) -> list[tuple[float, float]]:
    """Updates from before 0 to ``end_s``, a share ``changing`` of which change the value."""
    draw = random.Random(f"{period_s} {changing} {jitter_s} {seed}")
    offset_s, value = draw.uniform(-2 * period_s, -period_s), 0
    found = []
    for number in range(int((end_s - offset_s) / period_s) + 1):
        value += draw.random() < changing
        found.append((offset_s + number * period_s + draw.uniform(-jitter_s, jitter_s), float(value)))
    return found


@pytest.mark.parametrize("sampling_s", [FINE_S, ORDINARY_S])
@pytest.mark.parametrize("period_s", [0.0591, 0.1, 0.25, 0.5])
@pytest.mark.parametrize("changing", [1.0, 0.5])
def test_the_period_is_found_whether_or_not_every_update_changes_the_value(
    sampling_s: float, period_s: float, changing: float
) -> None:
    truth = updates(period_s, changing=changing)
    grid = find_grid(shown(truth, sampling_s, 20.0))
    assert grid is not None
    assert grid.period_s == pytest.approx(period_s, rel=2e-3)
    off_s = (grid.offset_s - truth[0][0] + period_s / 2) % period_s - period_s / 2
    assert abs(off_s) <= sampling_s
    assert grid.spread_s <= sampling_s


@pytest.mark.parametrize("jitter", [0.01, 0.03, 0.08])
def test_uneven_updates_widen_the_spread_and_hardly_move_the_period(jitter: float) -> None:
    for seed in range(5):
        truth = updates(0.1, jitter_s=0.1 * jitter, seed=seed)
        grid = find_grid(shown(truth, FINE_S, 20.0))
        assert grid is not None
        assert grid.period_s == pytest.approx(0.1, rel=1e-3)
        # Uniform within ± jitter: rms jitter / √3, and at most half a bracket beside it.
        assert 0.1 * jitter / 3**0.5 - FINE_S <= grid.spread_s <= 0.1 * jitter / 3**0.5 + FINE_S


@pytest.mark.parametrize("sampling_s", [FINE_S, ORDINARY_S])
def test_no_period_is_ever_a_fraction_or_a_multiple_of_the_true_one(sampling_s: float) -> None:
    found = 0
    for seed in range(30):
        draw = random.Random(f"{sampling_s} {seed}")
        period_s = 10 ** draw.uniform(-2, 0)
        truth = updates(period_s, changing=draw.choice((1.0, 0.6, 0.3)), seed=seed)
        grid = find_grid(shown(truth, sampling_s, 20.0))
        if grid is not None:
            found += 1
            assert grid.period_s == pytest.approx(period_s, rel=5e-3), seed
    assert found >= 15


def test_the_same_samples_later_or_scaled_in_time_give_the_same_grid() -> None:
    points = shown(updates(0.1, changing=0.5), ORDINARY_S, 20.0)
    grid = find_grid(points)
    later = find_grid([Point(at_s + 86_400.0, -3 * value) for at_s, value in points])
    slower = find_grid([Point(3 * at_s, value) for at_s, value in points])
    assert grid is not None
    assert later is not None
    assert later.period_s == pytest.approx(grid.period_s, rel=1e-6)
    assert (later.offset_s - 86_400.0 - grid.offset_s) % grid.period_s == pytest.approx(0, abs=1e-5)
    assert slower is not None
    assert slower.period_s == pytest.approx(3 * grid.period_s, rel=1e-6)


def test_a_gap_in_the_samples_and_a_glitch_do_not_hide_the_period() -> None:
    points = shown(updates(0.1), ORDINARY_S, 20.0)
    holed = [point for point in points if not 7.03 < point.at_s < 11.4]
    glitched = [Point(p.at_s, 1e6) if number in (200, 777) else p for number, p in enumerate(points)]
    for spoilt in (holed, glitched):
        grid = find_grid(spoilt)
        assert grid is not None
        assert grid.period_s == pytest.approx(0.1, rel=1e-3)


@pytest.mark.parametrize(
    "points",
    [
        pytest.param([], id="none"),
        pytest.param([Point(0.0, 1.0)], id="one"),
        pytest.param([Point(0.01 * n, 5.0) for n in range(2000)], id="nothing changes"),
        pytest.param([Point(0.01 * n, float(n)) for n in range(2000)], id="every sample differs"),
        pytest.param(
            [Point(0.01 * n, float(n // 30)) for n in range(30 * LEAST_CHANGES)], id="too few changes"
        ),
        pytest.param([Point(0.01 * n, float(n // 200)) for n in range(6000)], id="too far apart"),
        pytest.param(shown(updates(0.02), ORDINARY_S, 20.0), id="faster than can be told"),
    ],
)
def test_nothing_is_found_where_there_is_nothing_to_find(points: Sequence[Point]) -> None:
    assert find_grid(points) is None


def test_changes_at_random_times_are_either_no_grid_or_far_off_it() -> None:
    for seed in range(20):
        draw = random.Random(seed)
        at_s, truth = -1.0, list[tuple[float, float]]()
        while at_s < 20.0:
            truth.append((at_s, float(len(truth))))
            at_s += draw.expovariate(5.0)
        grid = find_grid(shown(truth, ORDINARY_S, 20.0))
        assert grid is None or grid.spread_s > 0.15 * grid.period_s


def test_each_update_is_listed_with_its_value_also_where_the_value_stayed() -> None:
    truth = updates(0.1, changing=0.4, jitter_s=0.004)
    points = shown(truth, FINE_S, 20.0)
    grid = find_grid(points)
    assert grid is not None
    found = updates_of(points, grid)
    inside = [(at_s, value) for at_s, value in truth if 0.0 <= at_s <= 19.8]
    found = tuple(update for update in found if inside[0][0] - 0.05 < update.at_s < inside[-1][0] + 0.05)
    assert [update.value for update in found] == [value for _, value in inside]
    changed = [value != before for (_, before), (_, value) in pairwise(inside)]
    for update, (at_s, _), known_well in zip(found[1:], inside[1:], changed, strict=True):
        # Where the value changed the update is held to its bracket; elsewhere the jitter is all that is unknown.
        assert update.at_s == pytest.approx(at_s, abs=FINE_S if known_well else 0.006)


def test_an_update_that_no_sample_saw_is_left_out() -> None:
    points = shown(updates(0.1), ORDINARY_S, 20.0)
    grid = find_grid(points)
    assert grid is not None
    holed = [point for point in points if not 7.0 < point.at_s < 7.5]
    missing = {update.at_s for update in updates_of(points, grid)} - {
        update.at_s for update in updates_of(holed, grid)
    }
    assert 4 <= len(missing) <= 6
    assert all(6.9 < at_s < 7.5 for at_s in missing)
