"""How a simulated board shows the power that it draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from llem_sweep.device.sensors import GENERATIONS, shown_counter_mj, shown_power_mw
from llem_sweep.results.sensors import BoardSensors, SensorTiming

EnergyOverTime = Callable[[float], float]
"""Energy in joules as a function of monotonic time."""


class Shown(NamedTuple):
    """What the sensors show at one moment; None for a reading that the board lacks."""

    energy_mj: int | None
    power_mw: int | None
    instant_mw: int | None


class SensorView(NamedTuple):
    """Sensors with the times of their updates, which the timing alone leaves open."""

    sensors: BoardSensors = GENERATIONS["hopper"]
    counter_offset_s: float = 0.0
    """Monotonic time of one of the counter's ticks."""
    power_offset_s: float = 0.0
    instant_offset_s: float = 0.0
    gain: float = 1.0
    """What every reading shows of each true watt: boards err by a factor of their own."""
    jitter_s: float = 0.0
    """How early or late each update may be; less than half of every update period."""

    def shown(self, energy_j: EnergyOverTime, at_s: float) -> Shown:
        """What is read at ``at_s`` of a board whose energy is ``energy_j``."""

        def seen_j(when_s: float) -> float:
            return self.gain * energy_j(when_s)

        def shown_mw(timing: SensorTiming | None, offset_s: float) -> int | None:
            return shown_power_mw(seen_j, timing, offset_s, at_s, self.jitter_s) if timing else None

        counter = self.sensors.counter
        return Shown(
            shown_counter_mj(seen_j, counter, self.counter_offset_s, at_s, self.jitter_s)
            if counter
            else None,
            shown_mw(self.sensors.power, self.power_offset_s),
            shown_mw(self.sensors.instant, self.instant_offset_s),
        )


class SensorProfile(NamedTuple):
    """Sensors that all update together. The defaults are those of a Hopper board."""

    tick_s: float = 0.1
    """Counter and power change only this often."""
    offset_s: float = 0.0
    """Monotonic time of one of the ticks."""
    window_s: float = 1.0
    """The power reading is the mean of this long before its tick."""
    has_counter: bool = True
    has_power: bool = True
    """Whether power can be read, as a mean and instantly."""
    lost_at_s: float | None = None
    """Monotonic time from which the board no longer answers."""

    @property
    def view(self) -> SensorView:
        """The same as sensors with their offsets."""
        instant = SensorTiming(update_period_s=self.tick_s, window_s=min(0.025, self.tick_s))
        power = SensorTiming(update_period_s=self.tick_s, window_s=self.window_s)
        sensors = BoardSensors(
            counter=SensorTiming(update_period_s=self.tick_s) if self.has_counter else None,
            power=power if self.has_power else None,
            instant=instant if self.has_power else None,
            source="prior",
            generation="hopper",
        )
        return SensorView(sensors, self.offset_s, self.offset_s, self.offset_s)
