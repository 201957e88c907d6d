"""What the driver tells of the whole sweep."""

from __future__ import annotations

from functools import partial

from llem_sweep.clock import Clock
from llem_sweep.execution.on_ray import metrics
from llem_sweep.execution.on_ray.metrics import Teller
from llem_sweep.execution.progress import FailureNote, Progress

EVERY_S = 0.9
"""Ray forgets a gauge that wasn't set within two of its reports, which may be a second apart."""


class SweepMetrics:
    """Watches a sweep for Prometheus."""

    def __init__(self, sweep: str, clock: Clock, *, simulated: bool) -> None:
        self._clock = clock
        self._teller = Teller(metrics.OF_DRIVER, {"sweep": sweep, "simulated": str(simulated).lower()})
        self._told_s = float("-inf")

    def message(self, text: str) -> None:
        """No metric."""

    def failed(self, note: FailureNote) -> None:
        """Counted in the next update."""

    def update(self, progress: Progress) -> None:
        """Tell how things stand, when that is due."""
        now_s = self._clock.monotonic()
        if now_s - self._told_s >= EVERY_S:
            self._told_s = now_s
            self._teller.tell(partial(self._values, progress))

    def close(self) -> None:
        """Nothing to close."""

    def _values(self, progress: Progress) -> None:
        teller = self._teller
        for state, count in states(progress).items():
            teller.show(metrics.EXPERIMENTS, count, state=state)
        teller.show(metrics.EFFICIENCY, progress.efficiency)
        teller.show(metrics.REMAINING, progress.remaining_s)
        teller.grow(metrics.RETRIES, progress.retried)
        teller.grow(metrics.MEASURED_ENERGY, progress.energy_j or 0.0)


def states(progress: Progress) -> dict[str, int]:
    """Every admitted experiment in one of four states."""
    begun = progress.done + progress.failed + progress.running
    return {
        "queued": max(0, progress.total - begun),
        "running": progress.running,
        "done": progress.done,
        "failed": progress.failed,
    }
