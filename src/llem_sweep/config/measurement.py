"""How long is measured, and which part of it counts."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from llem_sweep.config.base import ConfigModel

PREFILL_WINDOW_S = 10.0
"""Least length of the window of ``prefill_window``: below it the sensors, not the work, dominate."""
PREFILL_LEAD_S = 2.0
"""Least time for which prefill runs alone before that window: the longest published averaging window, and two of
the slowest published ticks."""


class MeasurementConfig(ConfigModel):
    """How long the workload is run, and which part of that run is measured."""

    min_duration_seconds: float = Field(default=0.0, ge=0.0, le=86_400.0)
    """The workload is repeated, always as a whole and with the same tokens, until the window is at least so long;
    0 runs it once. A window with end_seconds has its length, and then the run is at least so long. Tokens,
    requests and energy count every repetition."""
    window: Literal["total", "steady_state", "windowed"] = "total"
    """total measures the whole run. steady_state leaves out the batches at its beginning until temperature, power
    and throughput have settled; a run that is repeated waits warmup.settle_limit_seconds for that at most.
    windowed measures the whole batches between start_seconds and end_seconds."""
    start_seconds: float = Field(default=0.0, ge=0.0)
    """Where the window of ``windowed`` begins, from the start of the run; moved to the next start of a batch."""
    end_seconds: float | None = Field(default=None, gt=0.0)
    """Where it ends, from the start of the run; moved to the last end of a batch before. By default the end of the
    run. A run that is shorter fails, which min_duration_seconds prevents."""
    prefill_window: bool = False
    """After the run the same batches are run up to their first token alone, again and again, in a window of its
    own, whose energy is held against what the split of the run at the first tokens says of prefill."""

    @model_validator(mode="after")
    def _window_is_one(self) -> Self:
        given = self.start_seconds > 0 or self.end_seconds is not None
        if self.window != "windowed" and given:
            raise ValueError("start_seconds and end_seconds are for window: windowed")
        if self.window == "windowed" and not given:
            raise ValueError("window: windowed needs start_seconds, end_seconds or both")
        if self.end_seconds is not None and self.end_seconds <= self.start_seconds:
            raise ValueError(
                f"end_seconds is {self.end_seconds:g}, not after the start_seconds of {self.start_seconds:g}"
            )
        if self.prefill_window and self.window != "total":
            raise ValueError(
                f"prefill_window compares runs of the whole workload, of which window: {self.window} leaves parts"
                " out: leave it at total"
            )
        return self
