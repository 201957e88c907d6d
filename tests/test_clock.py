from __future__ import annotations

import pytest

from llem_sweep.clock import SimulatedClock


def test_simulated_calls_come_at_their_due_times_beginning_at_once() -> None:
    clock = SimulatedClock(start_s=10.0)
    at_s: list[float] = []
    ticker = clock.every(0.25, lambda: at_s.append(clock.monotonic()))
    clock.sleep(0.6)
    clock.sleep(0.4)
    ticker.stop()
    clock.sleep(1.0)
    assert at_s == pytest.approx([10.0, 10.25, 10.5, 10.75, 11.0])


def test_simulated_calls_that_are_late_are_made_once_and_stay_on_schedule() -> None:
    clock = SimulatedClock(start_s=10.0)
    began_s: list[float] = []

    def slow_at_first() -> None:
        began_s.append(clock.monotonic())
        if len(began_s) <= 2:
            clock.sleep(0.7)

    beside_s: list[float] = []
    clock.every(0.25, slow_at_first)
    clock.every(0.5, lambda: beside_s.append(clock.monotonic()))
    clock.sleep(1.3)
    assert began_s == pytest.approx([10.0, 10.75, 11.5, 11.75, 12.0])
    assert beside_s == pytest.approx([10.7, 11.2, 11.7])
