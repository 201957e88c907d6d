"""Times of updates, and the uncertainty stated for them, against grids that are known."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest

from llem_sweep.sampling.updates import Point, Updates, find_updates

SAMPLING_S = 0.01594
SPAN_S = 13.0


def seen(dice: random.Random, period_s: float, uneven_s: float = 0.0) -> tuple[Updates, list[float]]:
    """The updates found in samples of a reading, and when they truly came."""
    offset_s = dice.uniform(0, period_s)
    due_s = [offset_s + number * period_s for number in range(int(SPAN_S / period_s))]
    true_s = [at_s + dice.uniform(-uneven_s, uneven_s) for at_s in due_s]
    samples_s = [number * SAMPLING_S + dice.gauss(0, 0.0002) for number in range(int(SPAN_S / SAMPLING_S))]
    points = [Point(at_s, sum(update_s <= at_s for update_s in true_s)) for at_s in samples_s]
    updates = find_updates(points, SAMPLING_S)
    assert updates is not None
    return updates, [true_s[int(value) - 1] for value in updates.values]


def shares_within(deviations: list[float], limit: float) -> float:
    return sum(abs(deviation) <= limit for deviation in deviations) / len(deviations)


@pytest.mark.parametrize("period_s", [0.02, 0.1, 0.5])
def test_times_of_even_updates_are_as_good_as_stated_and_far_better_than_one_sample(period_s: float) -> None:
    dice = random.Random(5)
    deviations, sds_s = [], []
    for _ in range(40):
        updates, true_s = seen(dice, period_s)
        at = len(true_s) // 2
        sds_s.append(updates.timing.sd_s(updates.times_s[at]))
        deviations.append((updates.times_s[at] - true_s[at]) / sds_s[-1])
    assert shares_within(deviations, 2.0) >= 0.95
    assert shares_within(deviations, 0.25) < 0.6
    assert max(sds_s) < SAMPLING_S / math.sqrt(12) / 2


@pytest.mark.parametrize("period_s", [0.02, 0.1])
def test_uneven_updates_are_known_less_well_and_say_so(period_s: float) -> None:
    dice = random.Random(6)
    deviations = []
    for _ in range(40):
        updates, true_s = seen(dice, period_s, uneven_s=0.003)
        at = len(true_s) // 2
        assert updates.timing.own_s > 0.0005
        deviations.append((updates.times_s[at] - true_s[at]) / updates.timing.sd_s(updates.times_s[at]))
    assert shares_within(deviations, 2.0) >= 0.95


def test_errors_of_neighbouring_times_go_together_and_cancel_in_their_difference() -> None:
    dice = random.Random(7)
    for _ in range(10):
        updates, _ = seen(dice, 0.1)
        timing, (first_s, second_s) = updates.timing, updates.times_s[60:62]
        apart_s2 = timing.grid_s2(first_s, first_s) + timing.grid_s2(second_s, second_s)
        assert apart_s2 - 2 * timing.grid_s2(first_s, second_s) < 0.01 * apart_s2


def test_the_grid_is_known_best_within_the_samples_and_ever_less_beyond() -> None:
    updates, _ = seen(random.Random(8), 0.1)
    assert updates.times_s[0] < updates.timing.best_s < updates.times_s[-1]
    sds_s = [updates.timing.sd_s(updates.timing.best_s + away_s) for away_s in (0, 5, 10, 20)]
    assert all(near_s < far_s for near_s, far_s in pairwise(sds_s))
