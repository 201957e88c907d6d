"""Boards that are simulated: their power follows the phases, and the truth about it is known.

Power is constant within a phase, so that energy has a closed form. What the board *shows* is that truth through a
sensor like a real one's: a counter that ticks, and a power reading that is a mean over a window.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from llem_sweep.clock import Clock
from llem_sweep.device.protocol import Reading
from llem_sweep.errors import BoardLostError
from llem_sweep.phases import Phase, PhaseMark
from llem_sweep.results.environment import BoardInfo

NAME = "Simulated GPU"
MEMORY_TOTAL_MB = 80_000.0
POWER_LIMIT_W = 700.0
REASON_GPU_IDLE = 0x1
"""NVML's clock-event reason of a board with nothing to do."""

_KEPT_S = 600.0
"""How far back the trace is remembered, at least."""
_PRUNE_EVERY = 256
_AMBIENT_C = 28.0
_DEGREES_PER_W = 0.07
_THERMAL_TIME_CONSTANT_S = 25.0


class PowerProfile(NamedTuple):
    """Power in watts by what the board is doing."""

    idle_w: float = 70.0
    """Until the first load: no context on the board."""
    context_w: float = 115.0
    """Whenever nothing runs after that."""
    load_w: float = 160.0
    prefill_w: float = 620.0
    decode_w: float = 340.0
    """Also while warming up and settling."""

    def of(self, phase: Phase, loaded: bool) -> float:
        """Power in ``phase``; ``loaded`` once the board has a context."""
        busy = {
            Phase.LOAD: self.load_w,
            Phase.WARM_UP: self.decode_w,
            Phase.SETTLE: self.decode_w,
            Phase.PREFILL: self.prefill_w,
            Phase.DECODE: self.decode_w,
        }
        return busy.get(phase, self.context_w if loaded else self.idle_w)


class SensorProfile(NamedTuple):
    """How a board shows its power. The defaults are those of a Hopper board."""

    tick_s: float = 0.1
    """Counter and power change only this often."""
    offset_s: float = 0.0
    """Monotonic time of one of the ticks."""
    window_s: float = 1.0
    """The power reading is the mean of this long before its tick."""
    has_counter: bool = True
    has_power: bool = True
    lost_at_s: float | None = None
    """Monotonic time from which the board no longer answers."""


class _Segment(NamedTuple):
    """A stretch of constant power, until the next one begins."""

    start_s: float
    phase: Phase
    loaded: bool
    power_w: float
    energy_j: float
    """Energy from the board's making to ``start_s``."""
    temperature_c: float
    """At ``start_s``."""

    def energy_at(self, at_s: float) -> float:
        return self.energy_j + self.power_w * (at_s - self.start_s)

    def temperature_at(self, at_s: float) -> float:
        """First-order thermal model: exponential approach to ambient + power × thermal resistance."""
        final_c = _AMBIENT_C + _DEGREES_PER_W * self.power_w
        decay = math.exp(-max(0.0, at_s - self.start_s) / _THERMAL_TIME_CONSTANT_S)
        return final_c + (self.temperature_c - final_c) * decay


class SimulatedGpu:
    """A simulated board. Marks and readings may come from different threads."""

    def __init__(
        self,
        index: int,
        clock: Clock,
        power: PowerProfile | None = None,
        sensor: SensorProfile | None = None,
    ) -> None:
        self._clock = clock
        self._power = power or PowerProfile()
        self._sensor = sensor or SensorProfile()
        self._lock = threading.Lock()
        made_s = clock.monotonic()
        self._shown_s = made_s
        idle_c = _AMBIENT_C + _DEGREES_PER_W * self._power.idle_w
        self._trace = [_Segment(made_s, Phase.IDLE, False, self._power.idle_w, 0.0, idle_c)]
        self._forgotten = False
        self._counter_start_j = 1000.0 * (index + 1)
        self._info = BoardInfo(
            uuid=f"GPU-51000000-0000-4000-8000-{index:012d}",
            name=NAME,
            index=index,
            memory_total_mb=MEMORY_TOTAL_MB,
            power_limit_w=POWER_LIMIT_W,
            simulated=True,
        )

    @property
    def info(self) -> BoardInfo:
        return self._info

    def on_phase(self, mark: PhaseMark) -> None:
        with self._lock:
            last = self._trace[-1]
            loaded = last.loaded or mark.phase is Phase.LOAD
            # What was shown can't change any more, and neither can the counter go back.
            start_s = max(mark.at_s, last.start_s, self._shown_s)
            self._trace.append(
                _Segment(
                    start_s,
                    mark.phase,
                    loaded,
                    self._power.of(mark.phase, loaded),
                    last.energy_at(start_s),
                    last.temperature_at(start_s),
                )
            )
            if len(self._trace) % _PRUNE_EVERY == 0:
                self._prune(start_s - _KEPT_S)

    def read(self) -> Reading:
        sensor = self._sensor
        with self._lock:
            now_s = self._clock.monotonic()
            if sensor.lost_at_s is not None and now_s >= sensor.lost_at_s:
                raise BoardLostError(f"board {self._info.uuid} no longer answers (simulated)")
            self._shown_s = max(self._shown_s, now_s)
            now = self._trace[-1]
            tick_s = now_s - (now_s - sensor.offset_s) % sensor.tick_s
            counter_j = self._counter_start_j + self._energy_at(tick_s)
            mean_w = (self._energy_at(tick_s) - self._energy_at(tick_s - sensor.window_s)) / sensor.window_s
        utilisation_pct, memory_used_mb = _load_of(now.phase, now.loaded)
        return Reading(
            energy_mj=math.floor(counter_j * 1000) if sensor.has_counter else None,
            power_mw=round(mean_w * 1000) if sensor.has_power else None,
            temperature_c=round(now.temperature_at(now_s)),
            memory_used_mb=memory_used_mb,
            sm_utilisation_pct=utilisation_pct,
            throttle_reasons=0 if utilisation_pct else REASON_GPU_IDLE,
        )

    def true_energy_j(self, start_s: float, end_s: float) -> float:
        """Exact energy between two monotonic times, the later one not ahead of now.

        Raises ValueError for times further back than the trace is kept (at least ten minutes).
        """
        with self._lock:
            if self._forgotten and start_s < self._trace[0].start_s:
                raise ValueError(f"the trace begins at {self._trace[0].start_s}, after {start_s}")
            return self._energy_at(end_s) - self._energy_at(start_s)

    def foreign_processes(self) -> tuple[int, ...] | None:
        return ()

    def close(self) -> None:
        """Nothing is held."""

    def _energy_at(self, at_s: float) -> float:
        position = bisect_right(self._trace, at_s, key=lambda segment: segment.start_s) - 1
        # Before its making the board had been idle for ever: the first segment reaches back.
        return self._trace[max(position, 0)].energy_at(at_s)

    def _prune(self, before_s: float) -> None:
        keep = bisect_right(self._trace, before_s, key=lambda segment: segment.start_s) - 1
        if keep > 0:
            del self._trace[:keep]
            self._forgotten = True


def simulated_boards(indices: Sequence[int], clock: Clock) -> tuple[SimulatedGpu, ...]:
    """Boards for these indices; the same index always gives the same power, different ones different powers."""
    return tuple(_board(index, clock) for index in indices)


def _board(index: int, clock: Clock) -> SimulatedGpu:
    # Distinct for every index, within 30 % of each other, as boards of one model are; ticks out of step.
    scale = 1 - 0.3 * index / (index + 4)
    power = PowerProfile(*(level_w * scale for level_w in PowerProfile()))
    return SimulatedGpu(index, clock, power, SensorProfile(offset_s=0.037 * index))


def _load_of(phase: Phase, loaded: bool) -> tuple[int, float]:
    """SM utilisation in percent and memory in use in MB."""
    busy_pct = {Phase.LOAD: 5, Phase.WARM_UP: 90, Phase.SETTLE: 90, Phase.PREFILL: 99, Phase.DECODE: 85}
    memory_mb = 18_000.0 if loaded else 4.0
    return busy_pct.get(phase, 0), 9_000.0 if phase is Phase.LOAD else memory_mb
