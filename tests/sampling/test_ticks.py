"""The counter between its ticks, against power whose integral is known."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llem_sweep.device.traces import Constant, Cycle, Trace, Within
from llem_sweep.sampling.grids import Timing
from llem_sweep.sampling.ticks import Side, counter_at
from llem_sweep.sampling.updates import Updates

SIDES: tuple[Side, ...] = (-1, 1)


def ticks_of(
    trace: Trace, period_s: float = 0.1, offset_s: float = 0.0, count: int = 60, timing_s: float = 0.0
) -> Updates:
    """A counter's ticks, each uncertain for itself by ``timing_s``."""
    times_s = tuple(offset_s + number * period_s for number in range(count))
    values = tuple(1000 * trace.energy_j(at_s) for at_s in times_s)
    return Updates(times_s, values, 0.0, period_s, Timing(times_s[0], 0.0, 0.0, timing_s))


def error_mj(trace: Trace, ticks: Updates, edge_s: float, side: Side) -> tuple[float, float]:
    """How far the counter found at ``edge_s`` is off, and its standard uncertainty."""
    edge = counter_at(ticks, edge_s, side)
    assert edge is not None
    return edge.value_mj - 1000 * trace.energy_j(edge_s), edge.sd_mj


@pytest.mark.parametrize("side", SIDES)
def test_at_a_tick_the_counter_is_exact(side: Side) -> None:
    trace = Cycle(((0.31, 500.0), (0.07, 80.0), (0.9, 260.0)))
    ticks = ticks_of(trace, offset_s=0.013)
    for at_s, value in zip(ticks.times_s, ticks.values, strict=True):
        edge = counter_at(ticks, at_s, side)
        assert edge is not None
        # Power that was steady outside the window may say otherwise by 2 % of a tick.
        assert edge.value_mj == pytest.approx(value, abs=0.02 * 1000 * 500 * 0.1)


@pytest.mark.parametrize("side", SIDES)
def test_work_that_begins_or_ends_at_a_tick_is_exact_there(side: Side) -> None:
    trace = Within(Constant(400.0), 70.0, 2.0, 4.0)
    ticks = ticks_of(trace, period_s=0.125)
    for edge_s in (2.0, 4.0):
        error, sd_mj = error_mj(trace, ticks, edge_s, side)
        assert error == pytest.approx(0, abs=1e-6)
        assert sd_mj <= 1.0, "no more than the rounding of two millijoules"


@settings(derandomize=True, deadline=None, max_examples=60)
@given(power_w=st.floats(1, 1000), edge_s=st.floats(0.0, 5.9), period_s=st.sampled_from((0.02, 0.1)))
def test_at_constant_power_the_counter_is_exact_everywhere(
    power_w: float, edge_s: float, period_s: float
) -> None:
    trace = Constant(power_w)
    ticks = ticks_of(trace, period_s, count=round(6.0 / period_s))
    for side in SIDES:
        error, sd_mj = error_mj(trace, ticks, edge_s, side)
        assert error == pytest.approx(0, abs=1e-6 * power_w)
        assert sd_mj <= 1.0 + 0.01 * 1000 * power_w * period_s


@pytest.mark.parametrize("period_s", [0.02, 0.1, 0.5])
def test_work_between_idle_is_exact_wherever_it_begins_and_ends_in_a_tick(period_s: float) -> None:
    draw = random.Random(4)
    for _ in range(50):
        begin_s, end_s = draw.uniform(5, 6) * period_s, draw.uniform(14, 15) * period_s
        trace = Within(Constant(draw.uniform(100, 700)), draw.uniform(20, 90), begin_s, end_s)
        ticks = ticks_of(trace, period_s, count=25)
        for edge_s, side in ((begin_s, -1), (end_s, 1)):
            error, sd_mj = error_mj(trace, ticks, edge_s, side)
            assert error == pytest.approx(0, abs=1e-5)
            assert sd_mj >= 0


@pytest.mark.parametrize("side", SIDES)
def test_a_single_step_within_the_tick_is_placed_where_the_energy_demands_it(side: Side) -> None:
    draw = random.Random(6)
    for _ in range(50):
        step_s, edge_s = draw.uniform(2.0, 2.1), draw.uniform(2.0, 2.1)
        trace = Within(Constant(draw.uniform(100, 700)), draw.uniform(100, 700), step_s, 1e6)
        error, sd_mj = error_mj(trace, ticks_of(trace), edge_s, side)
        assert error == pytest.approx(0, abs=1e-5)
        assert sd_mj >= 0


@pytest.mark.parametrize("side", SIDES)
def test_under_any_load_the_error_is_within_what_the_tick_leaves_open(side: Side) -> None:
    draw = random.Random(9)
    errors, sds, beyond = [], [], 0
    for _ in range(400):
        steps = tuple((draw.uniform(0.02, 0.6), draw.uniform(60, 700)) for _ in range(9))
        trace = Cycle(steps, draw.uniform(0, 3))
        edge_s = draw.uniform(1.0, 4.0)
        error, sd_mj = error_mj(trace, ticks_of(trace), edge_s, side)
        into_s = edge_s % 0.1
        # All of the difference between the extremes, drawn on one side of the edge.
        assert abs(error) <= 1000 * 700 * 2 * into_s * (0.1 - into_s) / 0.1 + 0.02 * 1000 * 70
        errors.append(error)
        sds.append(sd_mj)
        beyond += abs(error) > 2 * sd_mj + 1e-6
    assert beyond <= 0.05 * len(errors)


@pytest.mark.parametrize("side", SIDES)
def test_the_edge_scales_with_power_and_does_not_depend_on_when_the_clock_began(side: Side) -> None:
    draw = random.Random(1)
    for _ in range(40):
        steps = tuple((draw.uniform(0.05, 0.6), draw.uniform(60, 700)) for _ in range(5))
        ticks = ticks_of(Cycle(steps), timing_s=0.001)
        edge_s = draw.uniform(1.0, 4.0)
        edge = counter_at(ticks, edge_s, side)
        scaled = counter_at(ticks._replace(values=tuple(4 * value for value in ticks.values)), edge_s, side)
        assert edge is not None
        assert scaled is not None
        assert scaled.value_mj == 4 * edge.value_mj
        assert scaled.sd_mj == pytest.approx(4 * edge.sd_mj, abs=4.0)
        later = counter_at(
            ticks._replace(times_s=tuple(64.0 + at_s for at_s in ticks.times_s)), 64.0 + edge_s, side
        )
        assert later is not None
        assert later.value_mj == pytest.approx(edge.value_mj, abs=0.01)


@pytest.mark.parametrize("side", SIDES)
def test_the_counter_never_runs_back_within_a_tick_of_steady_surroundings(side: Side) -> None:
    trace = Within(Constant(600.0), 60.0, 2.03, 4.07)
    ticks = ticks_of(trace)
    edges = [counter_at(ticks, 1.5 + 0.001 * step, side) for step in range(3000)]
    values = [edge.value_mj for edge in edges if edge is not None]
    assert len(values) == 3000
    assert all(after >= before - 1e-6 for before, after in pairwise(values))


def test_uncertain_times_of_the_ticks_make_the_edge_uncertain() -> None:
    trace = Constant(500.0)
    sure, unsure = (counter_at(ticks_of(trace, timing_s=timing_s), 2.05, -1) for timing_s in (0.0, 0.005))
    assert sure is not None
    assert unsure is not None
    assert unsure.value_mj == sure.value_mj
    assert unsure.sd_mj >= 0.005 * 500_000
    assert sure.sd_mj < unsure.sd_mj


@pytest.mark.parametrize("side", SIDES)
def test_a_little_beyond_the_ticks_power_goes_on_and_far_beyond_nothing_is_known(side: Side) -> None:
    trace = Constant(300.0)
    ticks = ticks_of(trace, offset_s=1.0, count=30)
    last_s = ticks.times_s[-1]
    for begin_s, away in ((1.0, -1), (last_s, 1)):
        sds = []
        for away_s in (0.0, 0.05, 0.1, 0.2):
            error, sd_mj = error_mj(trace, ticks, begin_s + away * away_s, side)
            assert error == pytest.approx(0, abs=1e-6)
            sds.append(sd_mj)
        assert sds == sorted(sds)
        assert sds[-1] > sds[0]
    assert counter_at(ticks, 0.7, side) is None
    assert counter_at(ticks, last_s + 0.3, side) is None


def test_beyond_the_ticks_unsteady_power_is_less_certain_than_steady() -> None:
    def sd_mj(powers_w: Sequence[float]) -> float:
        trace = Cycle(tuple((0.1, power_w) for power_w in powers_w))
        edge = counter_at(ticks_of(trace, count=10), 1.05, 1)
        assert edge is not None
        return edge.sd_mj

    assert sd_mj([300.0, 100.0]) > sd_mj([300.0, 300.0]) > 0
