"""A board under load that is switched on and off at known moments, recorded finely: what calibration needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from llem_sweep.clock import Clock
from llem_sweep.device.protocol import Gpu, Health, Reading
from llem_sweep.phases import Phase, PhaseMark, PhaseStream
from llem_sweep.results.environment import BoardInfo
from llem_sweep.results.sensors import BoardSensors
from llem_sweep.sampling.averaging import Edge
from llem_sweep.sampling.calibration import Calibration, calibrate
from llem_sweep.sampling.recording import Recording
from llem_sweep.sampling.sampler import Sampler

FINE_PERIOD_S = 0.00194
"""Ten samples for each of the fastest published updates, and in step with none."""
PLATEAU_S = 2.6
"""Longer than the longest published window, so that the reading settles."""
PULSES = 48
"""A window shorter than the update period shows only where a step falls into it: a quarter of the steps for 25 ms
of 100."""
_SHORTEST_S = 0.22
_VARIES_S = 0.2
"""Two of the longest published update periods for power: steps fall at every point of them."""
_R2 = (0.7548776662466927, 0.5698402909980532)
"""Additive recurrence in two dimensions (Roberts, 2018): evenly spread however many are taken."""


class Stimulus(Protocol):
    """Load on one board that can be switched."""

    def on(self) -> None:
        """Begin the load; returns once it has begun."""

    def off(self) -> None:
        """End the load; returns once nothing runs any more."""


class PhasesAlone:
    """No load beside the phases: a simulated board follows those."""

    def on(self) -> None:
        """The phase says it."""

    def off(self) -> None:
        """The phase says it."""


class Steps(NamedTuple):
    """What was recorded of one board, and when its load was switched."""

    recording: Recording
    edges: tuple[Edge, ...]


def calibrate_board(gpu: Gpu, clock: Clock, stimulus: Stimulus, known: BoardSensors) -> Calibration:
    """Calibrate one board's sensors; takes about three quarters of a minute.

    Raises BoardLostError when the board stops answering, and whatever ``stimulus`` raises.
    """
    steps = record_steps(gpu, clock, stimulus)
    return calibrate(steps.recording.samples, steps.edges, known, clock.now())


def record_steps(gpu: Gpu, clock: Clock, stimulus: Stimulus, pulses: int = PULSES) -> Steps:
    """Two plateaus, then short pulses that begin and end at evenly spread points of any update period."""
    phases = PhaseStream(clock)
    unsubscribe = phases.subscribe(gpu.on_phase)
    edges: list[Edge] = []
    try:
        with Sampler([_FastAlone(gpu)], clock, phases, FINE_PERIOD_S) as sampler:
            phases.mark(Phase.CONTEXT)
            clock.sleep(PLATEAU_S)
            for on_s, off_s in _lengths_s(pulses):
                _switch(stimulus, phases, clock, edges, on=True)
                clock.sleep(on_s)
                _switch(stimulus, phases, clock, edges, on=False)
                clock.sleep(off_s)
                sampler.check()
            recording = sampler.stop()
    finally:
        phases.mark(Phase.IDLE)
        unsubscribe()
    return Steps(recording, tuple(edges))


def _lengths_s(pulses: int) -> Iterator[tuple[float, float]]:
    yield PLATEAU_S, PLATEAU_S
    for number in range(1, pulses + 1):
        yield (
            _SHORTEST_S + _VARIES_S * (number * _R2[0] % 1),
            _SHORTEST_S + _VARIES_S * (number * _R2[1] % 1),
        )


def _switch(stimulus: Stimulus, phases: PhaseStream, clock: Clock, edges: list[Edge], *, on: bool) -> None:
    """Switch the load. It runs from the return of ``on`` to that of ``off``, whichever call takes its time."""
    if on:
        stimulus.on()
    else:
        stimulus.off()
    mark = phases.mark(Phase.DECODE if on else Phase.CONTEXT)
    edges.append(Edge(mark.at_s, on))


class _FastAlone:
    """A board of which nothing slow is asked: those calls would delay the samples."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu

    @property
    def info(self) -> BoardInfo:
        return self._gpu.info

    @property
    def sensors(self) -> BoardSensors:
        return self._gpu.sensors

    def read(self, *, slow: bool = True) -> Reading:
        return self._gpu.read(slow=False)

    def health(self) -> Health:
        return Health(foreign=None)

    def close(self) -> None:
        """The board is its owner's to close."""

    def on_phase(self, mark: PhaseMark) -> None:
        """The board itself is told."""
