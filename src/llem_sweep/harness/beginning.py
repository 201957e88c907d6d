"""Where the window begins in a run that is under way."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from llem_sweep.backends.protocol import BatchTally
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.sampling.recording import Recording
from llem_sweep.sampling.run import Batch, Run
from llem_sweep.sampling.selection import JUDGE_EVERY_S, SAME_S, is_steady


def run_of(start_s: float, tallies: Sequence[BatchTally], ends_s: Sequence[float]) -> Run:
    """The batches that a run from ``start_s`` consists of so far; times are monotonic."""
    counts = [name for name in Batch._fields if name != "end_s"]
    batches = (
        Batch(end_s, **{name: getattr(tally, name) for name in counts})
        for end_s, tally in zip(ends_s, tallies, strict=True)
    )
    return Run(start_s, tuple(batches))


class Beginning:
    """Looks for the beginning of the window while the run goes on, which then lasts long enough after it.

    What is measured is chosen once the run is over, by the same rules (:mod:`llem_sweep.sampling.selection`).
    """

    def __init__(self, config: ExperimentConfig, recording: Callable[[], Recording]) -> None:
        """``recording`` gives the samples so far."""
        self._config = config.measurement
        self._limit_s = config.warmup.settle_limit_seconds
        self._recording = recording
        self._at_s: float | None = None
        self._judged_s = -math.inf

    def look(self, start_s: float, tallies: Sequence[BatchTally], ends_s: Sequence[float]) -> None:
        """Take note of the batch that ended last."""
        if self._at_s is not None:
            return
        if self._config.window == "steady_state":
            self._judge(start_s, tallies, ends_s)
        elif ends_s[-1] >= start_s + self._config.start_seconds - SAME_S:
            self._at_s = ends_s[-1]

    def until_s(self, start_s: float, least_s: float) -> float:
        """Monotonic time until which the run has to go on for a window of ``least_s`` seconds, as now known."""
        if self._config.window == "total" or self._config.end_seconds is not None:
            return start_s + least_s
        if self._at_s is not None:
            return self._at_s + least_s
        if self._config.window == "windowed":
            return start_s + self._config.start_seconds + least_s
        return start_s + max(least_s, self._limit_s)

    def _judge(self, start_s: float, tallies: Sequence[BatchTally], ends_s: Sequence[float]) -> None:
        """Whether the batch that ended last began in steady state: samples up to there have come by its end."""
        begun_s = ends_s[-2] if len(ends_s) > 1 else start_s
        if begun_s < self._judged_s + JUDGE_EVERY_S:
            return
        self._judged_s = begun_s
        if is_steady(run_of(start_s, tallies, ends_s), len(ends_s) - 1, self._recording()):
            self._at_s = begun_s
