"""A board under switched load, recorded finely."""

from __future__ import annotations

from itertools import pairwise

import pytest

from llem_sweep.clock import SimulatedClock
from llem_sweep.device.protocol import Health, Reading
from llem_sweep.device.simulated import SensorProfile, SimulatedGpu
from llem_sweep.errors import BackendError, BoardLostError
from llem_sweep.phases import Phase, PhaseMark
from llem_sweep.results.sensors import BoardSensors
from llem_sweep.sampling.steps import (
    FINE_PERIOD_S,
    PLATEAU_S,
    PULSES,
    PhasesAlone,
    calibrate_board,
    record_steps,
)


class SlowLoad:
    """A load whose switching takes time, and that remembers when it ran."""

    def __init__(self, clock: SimulatedClock, on_s: float = 0.03, off_s: float = 0.011) -> None:
        self._clock = clock
        self._takes_s = {True: on_s, False: off_s}
        self.switched: list[tuple[float, bool]] = []

    def on(self) -> None:
        self._switch(on=True)

    def off(self) -> None:
        self._switch(on=False)

    def _switch(self, *, on: bool) -> None:
        self._clock.sleep(self._takes_s[on])
        self.switched.append((self._clock.monotonic(), on))


class BrokenLoad(PhasesAlone):
    """A load that fails when it is to end."""

    def off(self) -> None:
        raise BackendError("the load's process died")


class WatchedGpu(SimulatedGpu):
    """A board that remembers what it was asked and told, and of which nothing slow may be asked."""

    def __init__(self, clock: SimulatedClock, sensor: SensorProfile | None = None) -> None:
        super().__init__(0, clock, sensor=sensor)
        self.phases: list[Phase] = []

    def on_phase(self, mark: PhaseMark) -> None:
        self.phases.append(mark.phase)
        super().on_phase(mark)

    def read(self, *, slow: bool = True) -> Reading:
        assert not slow
        return super().read(slow=slow)

    def health(self) -> Health:
        raise AssertionError("health was asked for while samples are fine")

    def close(self) -> None:
        raise AssertionError("the board is its owner's to close")


def test_edges_are_the_moments_at_which_the_load_ran_and_ran_no_more() -> None:
    clock = SimulatedClock()
    load = SlowLoad(clock)
    steps = record_steps(WatchedGpu(clock), clock, load, pulses=5)
    assert [(edge.at_s, edge.on) for edge in steps.edges] == load.switched
    assert [edge.on for edge in steps.edges] == [True, False] * 6


def test_samples_are_fine_reach_beyond_the_load_and_ask_nothing_slow() -> None:
    clock = SimulatedClock()
    steps = record_steps(WatchedGpu(clock), clock, PhasesAlone(), pulses=3)
    times_s = [sample.at_s for sample in steps.recording.samples]
    assert max(after - before for before, after in pairwise(times_s)) == pytest.approx(FINE_PERIOD_S)
    assert steps.edges[0].at_s - times_s[0] == pytest.approx(PLATEAU_S)
    assert times_s[-1] - steps.edges[-1].at_s > 0.2
    assert steps.recording.period_s == FINE_PERIOD_S


def test_load_and_rest_fall_at_every_point_of_any_update_period() -> None:
    clock = SimulatedClock()
    edges = record_steps(WatchedGpu(clock), clock, PhasesAlone()).edges
    assert len(edges) == 2 * (PULSES + 1)
    lengths_s = [after.at_s - before.at_s for before, after in pairwise(edges)]
    assert lengths_s[:2] == pytest.approx([PLATEAU_S, PLATEAU_S])
    assert all(0.2 < length_s < 0.43 for length_s in lengths_s[2:])
    for period_s in (0.02, 0.025, 0.1):
        for on in (True, False):
            places = sorted(edge.at_s % period_s / period_s for edge in edges if edge.on is on)
            gaps = [after - before for before, after in pairwise([*places, places[0] + 1])]
            # The shortest published window is a quarter of its period: some steps fall into it, wherever it lies.
            assert max(gaps) < 0.2
    assert edges[-1].at_s - edges[0].at_s < 40


def test_the_board_is_told_of_the_load_and_left_idle_and_unsubscribed() -> None:
    clock = SimulatedClock()
    gpu = WatchedGpu(clock)
    record_steps(gpu, clock, PhasesAlone(), pulses=1)
    assert gpu.phases == [Phase.CONTEXT, *[Phase.DECODE, Phase.CONTEXT] * 2, Phase.IDLE]


def test_a_load_that_fails_ends_the_recording_and_leaves_the_board_idle() -> None:
    clock = SimulatedClock()
    gpu = WatchedGpu(clock)
    with pytest.raises(BackendError, match="process died"):
        record_steps(gpu, clock, BrokenLoad())
    assert gpu.phases[-1] is Phase.IDLE
    clock.sleep(5.0)


def test_a_board_lost_meanwhile_is_raised_soon() -> None:
    clock = SimulatedClock(start_s=100.0)
    gpu = WatchedGpu(clock, SensorProfile(lost_at_s=110.0))
    with pytest.raises(BoardLostError):
        calibrate_board(gpu, clock, PhasesAlone(), BoardSensors())
    assert clock.monotonic() < 111.0
    assert gpu.phases[-1] is Phase.IDLE
