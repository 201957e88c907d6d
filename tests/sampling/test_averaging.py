"""Averaging windows and lags, from the response of readings whose window and lag are known."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from llem_sweep.sampling.averaging import (
    LONGEST_WINDOW_S,
    Cumulative,
    Edge,
    find_averaging,
    time_loaded,
)
from llem_sweep.sampling.periods import Update

END_S = 36.0


def pulses(count: int = 40, seed: int = 1) -> tuple[Edge, ...]:
    """Load on for two seconds, off for two, and then in short pulses."""
    draw = random.Random(seed)
    times_s = [2.0, 4.0, 6.0]
    while len(times_s) < 2 * count:
        times_s.append(times_s[-1] + draw.uniform(0.22, 0.42))
    return tuple(Edge(at_s, number % 2 == 0) for number, at_s in enumerate(times_s))


def energy_j(edges: tuple[Edge, ...], low_w: float, high_w: float) -> Cumulative:
    times_s = [0.0, *(edge.at_s for edge in edges), END_S]
    powers_w = [low_w, *(high_w if edge.on else low_w for edge in edges)]
    found_j = [0.0]
    for (begin_s, end_s), power_w in zip(pairwise(times_s), powers_w, strict=True):
        found_j.append(found_j[-1] + (end_s - begin_s) * power_w)
    return Cumulative(times_s, found_j)


def read(
    energy: Cumulative, window_s: float, lag_s: float, period_s: float, *, noise_w: float = 0.0
) -> list[Update]:
    """Updates of a reading that is the mean of a window which ended ``lag_s`` before each."""
    draw = random.Random(4)
    times_s = [window_s + lag_s + 0.017 + number * period_s for number in range(int((END_S - 3) / period_s))]
    return [
        Update(
            at_s,
            (energy.at(at_s - lag_s) - energy.at(at_s - lag_s - window_s)) / window_s
            + draw.gauss(0, noise_w),
        )
        for at_s in times_s
    ]


EDGES = pulses()
ENERGY = energy_j(EDGES, 100.0, 450.0)
LOADED = time_loaded(EDGES, END_S)


def test_a_cumulative_function_is_straight_between_its_knots_and_level_outside() -> None:
    function = Cumulative([1.0, 2.0, 4.0], [10.0, 20.0, 0.0])
    expected = [(0.0, 10), (1.0, 10), (1.5, 15), (2.0, 20), (3.0, 10), (4.0, 0), (9.0, 0)]
    assert [function.at(at_s) for at_s, _ in expected] == pytest.approx([value for _, value in expected])


def test_time_loaded_grows_with_the_load_alone() -> None:
    loaded = time_loaded((Edge(1.0, True), Edge(3.0, False), Edge(4.0, True)), 5.5)
    assert [loaded.at(at_s) for at_s in (0.0, 1.0, 2.0, 3.0, 3.9, 4.5, 5.5, 7.0)] == pytest.approx(
        [0, 0, 1, 2, 2, 2.5, 3.5, 3.5]
    )


@pytest.mark.parametrize(
    ("period_s", "window_s"), [(0.02, 0.01), (0.1, 0.025), (0.1, 0.1), (0.1, 1.0), (0.02, 1.5)]
)
@pytest.mark.parametrize("lag_s", [0.0, 0.12])
def test_window_and_lag_are_found_from_the_time_under_load(
    period_s: float, window_s: float, lag_s: float
) -> None:
    found = find_averaging(read(ENERGY, window_s, lag_s, period_s), LOADED)
    assert found is not None
    assert found.window_s == pytest.approx(window_s, rel=0.05, abs=0.001)
    assert found.lag_s == pytest.approx(lag_s, abs=0.02 * window_s + 0.001)
    assert found.span == pytest.approx(350.0, rel=0.01)
    assert found.explained > 0.999
    assert found.residual < 0.02


def test_the_same_is_found_from_the_energy_that_the_board_counted() -> None:
    found = find_averaging(read(ENERGY, 0.5, 0.03, 0.1), ENERGY)
    assert found is not None
    assert (found.window_s, found.lag_s) == pytest.approx((0.5, 0.03), rel=0.02, abs=0.003)
    # Against the energy itself the slope is 1: the reading's gain over the counter's.
    assert found.span == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize(("low_w", "high_w"), [(70.0, 90.0), (10.0, 2000.0)])
def test_neither_the_power_nor_the_gain_matters(low_w: float, high_w: float) -> None:
    first = find_averaging(read(ENERGY, 0.1, 0.02, 0.1), LOADED)
    other = find_averaging(read(energy_j(EDGES, low_w, high_w), 0.1, 0.02, 0.1), LOADED)
    assert first is not None
    assert other is not None
    assert other.window_s == pytest.approx(first.window_s, rel=1e-3)
    assert other.span == pytest.approx(high_w - low_w, rel=0.01)


@pytest.mark.parametrize("window_s", [0.025, 0.1, 1.0])
def test_noise_is_told_as_what_the_window_does_not_explain(window_s: float) -> None:
    found = find_averaging(read(ENERGY, window_s, 0.0, 0.1, noise_w=10.0), LOADED)
    assert found is not None
    assert found.window_s == pytest.approx(window_s, rel=0.35)
    assert found.residual == pytest.approx(10 / 350, rel=0.3)
    assert 0.9 < found.explained < 0.9999


def test_a_reading_that_never_moves_has_no_window() -> None:
    updates = read(ENERGY, 0.1, 0.0, 0.1)
    still = [update._replace(value=100.0) for update in updates]
    assert find_averaging(still, LOADED) is None
    two = [update._replace(value=float(number % 2)) for number, update in enumerate(updates)]
    assert find_averaging(two, LOADED) is None
    assert find_averaging([], LOADED) is None


def test_a_reading_that_does_not_follow_the_load_is_hardly_explained() -> None:
    draw = random.Random(9)
    updates = read(ENERGY, 0.1, 0.0, 0.1)
    noise = [update._replace(value=draw.uniform(50, 500)) for update in updates]
    falling = [update._replace(value=-update.value) for update in updates]
    for strange in (noise, falling):
        found = find_averaging(strange, LOADED)
        assert found is None or found.explained < 0.3


def test_a_window_beyond_the_longest_looked_for_is_found_there_so_that_it_can_be_refused() -> None:
    found = find_averaging(read(ENERGY, 3.0, 0.0, 0.1), LOADED)
    assert found is not None
    assert found.explained < 0.9 or found.window_s > LONGEST_WINDOW_S / 1.2


def test_updates_before_the_load_and_after_the_recording_are_left_out() -> None:
    updates = read(ENERGY, 0.1, 0.02, 0.1)
    found = find_averaging(updates, LOADED)
    stray = [Update(-50.0, 9e9), *updates, Update(END_S + 9.0, 9e9)]
    assert find_averaging(stray, LOADED) == found
