from __future__ import annotations

import math

import pytest

from llem_sweep.device.traces import Constant, Cycle, Exponential, Ramp, Trace, Within, square

WAVE = square(90.0, 390.0, 0.7, offset_s=0.123, duty=0.3)
TRACES: tuple[Trace, ...] = (
    Constant(217.5),
    WAVE,
    Cycle(((0.31, 500.0), (0.007, 80.25), (1.9, 260.0)), offset_s=-17.3),
    Ramp(100.0, 400.0, 2.0, 6.0),
    Ramp(100.0, 400.0, -6.0, -2.0),
    Exponential(80.0, 420.0, 1.5, 3.0),
    Exponential(420.0, 80.0, 1.5, -3.0),
    Within(WAVE, 70.0, 1.05, 8.35),
    Within(Ramp(300.0, 200.0, 0.0, 5.0), 115.0, -3.0, 4.0),
)


def numeric_j(trace: Trace, start_s: float, end_s: float, steps: int = 40_000) -> float:
    """Midpoint rule."""
    step_s = (end_s - start_s) / steps
    return step_s * math.fsum(trace.power_w(start_s + (index + 0.5) * step_s) for index in range(steps))


@pytest.mark.parametrize("trace", TRACES, ids=lambda trace: type(trace).__name__)
@pytest.mark.parametrize(("start_s", "end_s"), [(0.0, 10.0), (-7.7, 3.1), (4.2, 4.9), (-5.0, -1.0)])
def test_energy_is_the_integral_of_the_power(trace: Trace, start_s: float, end_s: float) -> None:
    found_j = trace.energy_j(end_s) - trace.energy_j(start_s)
    assert found_j == pytest.approx(numeric_j(trace, start_s, end_s), rel=1e-3, abs=0.02)


@pytest.mark.parametrize("trace", TRACES, ids=lambda trace: type(trace).__name__)
def test_energy_counts_from_time_zero(trace: Trace) -> None:
    assert trace.energy_j(0.0) == pytest.approx(0.0, abs=1e-9)


def test_a_square_wave_begins_each_period_high() -> None:
    wave = square(100.0, 300.0, 1.0, offset_s=0.25)
    assert [wave.power_w(at_s) for at_s in (0.0, 0.25, 0.74, 0.76, 1.24, 1.26)] == [
        100,
        300,
        300,
        100,
        100,
        300,
    ]


def test_load_within_a_window_starts_and_ends_with_it() -> None:
    trace = Within(Constant(400.0), 70.0, 2.0, 3.0)
    assert [trace.power_w(at_s) for at_s in (1.999, 2.0, 2.999, 3.0)] == [70, 400, 400, 70]
    assert trace.energy_j(5.0) == pytest.approx(400 + 4 * 70)
