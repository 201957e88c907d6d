"""How a board's readings follow the power that it draws."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, NonNegativeFloat, PositiveFloat

from llem_sweep.results.base import ResultModel


class SensorTiming(ResultModel):
    """Timing of one reading. At an update it takes the mean of ``window_s`` that ended ``lag_s`` before."""

    update_period_s: PositiveFloat
    """A counter's tick."""
    window_s: PositiveFloat | None = None
    """None for a counter, which averages nothing."""
    lag_s: NonNegativeFloat = 0.0
    """From the end of the window averaged to the update."""


class BoardSensors(ResultModel):
    """Timing of each reading that a board offers; None for one that it lacks or that isn't known."""

    counter: SensorTiming | None = None
    power: SensorTiming | None = None
    """``nvmlDeviceGetPowerUsage``."""
    instant: SensorTiming | None = None
    """Field 186."""
    source: Literal["prior", "measured", "cached", "unknown"] = "unknown"
    """prior: published for the generation; measured: found on this board by this worker; cached: found on this
    board with this driver earlier."""
    generation: str | None = None
    """Lower case, as in ``hopper``."""
    measured: tuple[str, ...] = ()
    """What was found on this board, for example ``counter.update_period_s``; the rest is published."""
    measured_at: AwareDatetime | None = None
    """When what was found on this board was found."""
