"""What one run cost, and how it is printed."""

from __future__ import annotations

import statistics
from typing import NamedTuple

from per_experiment.meters import Cpu, Memory

BLOCK = 50
"""Results come in bursts, so that an interval alone says little: most are those within a burst."""


class Cost(NamedTuple):
    """Cost per experiment, trial or call of one run."""

    what: str
    settled_s: list[float]
    """When each was settled, in seconds on any one clock."""
    steady_s: float
    """When all workers were ready, on the same clock."""
    birth_s: float
    closing_s: float = 0.0
    on_worker_ms: float | None = None
    at_work: int | None = None
    """Workers that ran any once all were ready."""
    cpu: Cpu | None = None
    memory: Memory | None = None
    idle_cores: float | None = None
    """Processors that the workers take while nothing is asked of them."""

    @property
    def _steady_s(self) -> list[float]:
        """Once all workers were ready."""
        return [at_s for at_s in self.settled_s if at_s > self.steady_s]

    @property
    def _blocks_ms(self) -> list[float]:
        """Mean interval in each run of :data:`BLOCK` successive ones, or of a tenth of all where that is less."""
        steady = self._steady_s
        block = max(1, min(BLOCK, len(steady) // 10))
        return [
            1000 * (later - earlier) / block for earlier, later in zip(steady, steady[block:], strict=False)
        ]

    @property
    def median_ms(self) -> float:
        return statistics.median(self._blocks_ms)

    @property
    def p95_ms(self) -> float:
        return statistics.quantiles(self._blocks_ms, n=20)[-1]

    @property
    def mean_ms(self) -> float:
        steady = self._steady_s
        return 1000 * (steady[-1] - steady[0]) / (len(steady) - 1)


def print_table(costs: list[Cost]) -> None:
    """One row a run, a blank where a figure isn't defined."""
    names = (
        "runs",
        "at work",
        "median",
        "p95",
        "mean",
        "on worker",
        "thread",
        "driver",
        "workers",
        "Ray",
        "birth",
        "closing",
    )
    units = ("", "", "ms", "ms", "ms", "ms", "CPU ms", "CPU ms", "CPU ms", "CPU ms", "s", "s")
    wide = max(len(cost.what) for cost in costs)
    for head in (names, units):
        print(f"{'':<{wide}}  " + "  ".join(f"{text:>9}" for text in head))
    for cost in costs:
        cpu = cost.cpu or (None,) * 4
        figures = (cost.median_ms, cost.p95_ms, cost.mean_ms, cost.on_worker_ms, *cpu)
        cells = [f"{len(cost.settled_s)}", "" if cost.at_work is None else f"{cost.at_work}"]
        cells += [*("" if each is None else f"{each:.2f}" for each in figures)]
        cells += [f"{cost.birth_s:.1f}", f"{cost.closing_s:.1f}"]
        print(f"{cost.what:<{wide}}  " + "  ".join(f"{text:>9}" for text in cells))
