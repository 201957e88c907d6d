"""Boards that are simulated: their power follows the phases or a trace, and the truth about it is known.

Energy has a closed form. What a board *shows* is that truth through sensors like a real one's: a counter that
ticks, and power readings that are means over a window.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from llem_sweep.clock import Clock
from llem_sweep.device.faults import Faults
from llem_sweep.device.protocol import Health, Reading
from llem_sweep.device.simulated_power import DrawnPower, Limits, PowerProfile, Segment
from llem_sweep.device.simulated_sensors import SensorProfile, SensorView
from llem_sweep.device.traces import Trace
from llem_sweep.errors import BoardLostError
from llem_sweep.phases import Phase, PhaseMark
from llem_sweep.results.environment import BoardInfo
from llem_sweep.results.sensors import BoardSensors

__all__ = ["Limits", "PowerProfile", "SensorProfile", "SensorView", "SimulatedGpu", "simulated_boards"]

NAME = "Simulated GPU"
MEMORY_TOTAL_MB = 80_000.0
POWER_LIMIT_W = 700.0
REASON_GPU_IDLE = 0x1
"""NVML's clock-event reason of a board with nothing to do."""
REASON_POWER_CAP = 0x4
"""NVML's SW_POWER_CAP."""
REASON_THERMAL = 0x20
"""NVML's SW_THERMAL_SLOWDOWN."""
BUSY_CLOCK_MHZ = 1980
IDLE_CLOCK_MHZ = 345

_BUSY_PCT = {Phase.LOAD: 5, Phase.WARM_UP: 90, Phase.SETTLE: 90, Phase.PREFILL: 99, Phase.DECODE: 85}
_FOREIGN_PCT = 50
_NS_PER_S = 1e9


class SimulatedGpu:
    """A simulated board. Marks and readings may come from different threads.

    ``SimulatedGpu(0, clock)`` is a Hopper board whose power follows the phases. In place of that it may draw a
    ``trace``, be seen through other sensors, be held down, and have things go wrong::

        SimulatedGpu(
            0,
            clock,
            sensor=SensorView(GENERATIONS["ada"], counter_offset_s=0.03, gain=1.05, jitter_s=0.002),
            trace=Within(square(200.0, 400.0, 0.7), idle_w=70.0, begin_s=1010.0, end_s=1013.5),
            limits=Limits(power_cap_w=350.0, thermal_c=83.0),
            faults=Faults(foreign=(ForeignProcess(4711, begin_s=1011.0),), stalls=((1012.0, 0.5),)),
        )

    ``SensorProfile(tick_s=0.5, has_counter=False)`` is the short way to sensors that all update together. All
    times are those of the clock's ``monotonic``.
    """

    def __init__(
        self,
        index: int,
        clock: Clock,
        power: PowerProfile | None = None,
        sensor: SensorProfile | SensorView | None = None,
        *,
        trace: Trace | None = None,
        limits: Limits | None = None,
        faults: Faults | None = None,
    ) -> None:
        """``trace`` replaces ``power``, which is by phase; ``limits`` hold either down."""
        self._clock = clock
        self._faults = faults or Faults()
        sensor = sensor or SensorProfile()
        self._view = sensor.view if isinstance(sensor, SensorProfile) else sensor
        if isinstance(sensor, SensorProfile) and sensor.lost_at_s is not None:
            self._faults = self._faults._replace(lost_at_s=sensor.lost_at_s)
        self._lock = threading.Lock()
        made_s = clock.monotonic()
        self._shown_s = made_s
        extras = [process.extra for process in self._faults.foreign]
        self._drawn = DrawnPower(made_s, power or PowerProfile(), trace, limits, extras)
        self._counter_start_j = 1000.0 * (index + 1)
        cap_w = limits.power_cap_w if limits else None
        self._info = BoardInfo(
            uuid=f"GPU-51000000-0000-4000-8000-{index:012d}",
            name=NAME,
            index=index,
            memory_total_mb=MEMORY_TOTAL_MB,
            power_limit_w=POWER_LIMIT_W if cap_w is None else cap_w,
            generation=self._view.sensors.generation,
            simulated=True,
        )

    @property
    def info(self) -> BoardInfo:
        return self._info

    @property
    def sensors(self) -> BoardSensors:
        return self._view.sensors

    def on_phase(self, mark: PhaseMark) -> None:
        with self._lock:
            # What was shown can't change any more, and neither can the counter go back.
            self._drawn.begin(mark.phase, max(mark.at_s, self._shown_s))

    def read(self, *, slow: bool = True) -> Reading:
        self._stall()
        with self._lock:
            now_s, now = self._answer()
            shown = self._view.shown(self._counted_j, now_s)
        fast = Reading(shown.energy_mj, shown.power_mw, None, None, None, None, shown.instant_mw)
        return self._with_slow(fast, now, now_s) if slow else fast

    def health(self) -> Health:
        self._stall()
        with self._lock:
            now_s, now = self._answer()
        return Health(
            foreign=tuple(sorted({process.pid for process in self._faults.present(now_s)})),
            ecc_errors=self._faults.ecc_errors(now_s),
            mig=self._faults.mig,
            power_throttle_ns=round(now.power_throttle_s(now_s) * _NS_PER_S),
            thermal_throttle_ns=round(now.thermal_throttle_s(now_s) * _NS_PER_S),
        )

    def true_energy_j(self, start_s: float, end_s: float) -> float:
        """Exact energy between two monotonic times, the later one not ahead of now.

        Raises ValueError for times further back than the trace is kept (at least ten minutes).
        """
        with self._lock:
            self._drawn.advance(end_s)
            if not self._drawn.remembers(start_s):
                raise ValueError(f"the trace begins at {self._drawn.segments[0].start_s}, after {start_s}")
            return self._drawn.energy_j(end_s) - self._drawn.energy_j(start_s)

    def close(self) -> None:
        """Nothing is held."""

    def _stall(self) -> None:
        if (stalled_s := self._faults.stalled_s(self._clock.monotonic())) > 0:
            self._clock.sleep(stalled_s)

    def _answer(self) -> tuple[float, Segment]:
        now_s = self._clock.monotonic()
        if self._faults.lost(now_s):
            raise BoardLostError(f"board {self._info.uuid} no longer answers (simulated)")
        self._shown_s = max(self._shown_s, now_s)
        return now_s, self._drawn.advance(now_s)

    def _counted_j(self, at_s: float) -> float:
        return self._counter_start_j + self._drawn.energy_j(at_s)

    def _with_slow(self, fast: Reading, now: Segment, now_s: float) -> Reading:
        foreign = self._faults.present(now_s)
        own_pct = _BUSY_PCT.get(now.phase, 0)
        utilisation_pct = max(own_pct, _FOREIGN_PCT) if foreign else own_pct
        reasons = 0 if utilisation_pct else REASON_GPU_IDLE
        reasons |= REASON_POWER_CAP if now.hold.by_power else 0
        reasons |= REASON_THERMAL if now.hold.by_heat else 0
        return fast._replace(
            temperature_c=round(now.temperature_at(now_s)),
            memory_used_mb=_memory_mb(now) + sum(process.memory_mb for process in foreign),
            sm_utilisation_pct=utilisation_pct,
            throttle_reasons=reasons,
            sm_clock_mhz=round(BUSY_CLOCK_MHZ * now.hold.share) if utilisation_pct else IDLE_CLOCK_MHZ,
        )


def simulated_boards(indices: Sequence[int], clock: Clock) -> tuple[SimulatedGpu, ...]:
    """Boards for these indices; the same index always gives the same power, different ones different powers."""
    return tuple(_board(index, clock) for index in indices)


def _board(index: int, clock: Clock) -> SimulatedGpu:
    # Distinct for every index, within 30 % of each other, as boards of one model are; no two sensors in step.
    scale = 1 - 0.3 * index / (index + 4)
    power = PowerProfile(*(level_w * scale for level_w in PowerProfile()))
    offset_s = 0.037 * index
    view = SensorView(
        counter_offset_s=offset_s, power_offset_s=offset_s + 0.041, instant_offset_s=offset_s + 0.073
    )
    return SimulatedGpu(index, clock, power, view)


def _memory_mb(now: Segment) -> float:
    if now.phase is Phase.LOAD:
        return 9_000.0
    return 18_000.0 if now.loaded else 4.0
