"""What is told to Prometheus, by Ray's own metrics. Read :data:`METRICS` first: nothing else is ever told.

Names, units and tags follow Prometheus' conventions; Ray puts ``ray_`` before every name, and labels of its own
beside the tags. Values of a tag are few: nodes, boards, phases, never experiments.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

from ray.util.metrics import Counter, Gauge

_log = logging.getLogger(__name__)


class Metric(NamedTuple):
    """One metric, without Ray's prefix."""

    name: str
    kind: Literal["counter", "gauge"]
    unit: str
    tags: tuple[str, ...]
    meaning: str


_SWEEP = ("sweep", "simulated")
_WORKER = ("sweep", "node", "worker", "simulated")
_BOARD = ("sweep", "node", "board", "uuid", "kind", "simulated")

POWER = Metric("llem_sweep_board_power_watts", "gauge", "W", _BOARD, "power that the board's driver tells")
TEMPERATURE = Metric("llem_sweep_board_temperature_celsius", "gauge", "°C", _BOARD, "the board's temperature")
UTILISATION = Metric(
    "llem_sweep_board_utilisation_ratio",
    "gauge",
    "0 to 1",
    _BOARD,
    "share of time with a kernel on the board",
)
THROTTLED = Metric(
    "llem_sweep_board_throttled",
    "gauge",
    "0 or 1",
    (*_BOARD, "reason"),
    "whether the clocks are held down by `power` or by heat (`thermal`)",
)
BOARD_ENERGY = Metric(
    "llem_sweep_board_energy_joules_total",
    "counter",
    "J",
    _BOARD,
    "drawn since the worker came up, by the board's own counter, idle time and loading included",
)
PHASE_TIME = Metric(
    "llem_sweep_phase_seconds_total",
    "counter",
    "s",
    (*_WORKER, "phase"),
    "time that the worker spent in the phase",
)
PHASES = Metric(
    "llem_sweep_phases_total",
    "counter",
    "phases",
    (*_WORKER, "phase"),
    "how often the worker began the phase",
)
LOADS = Metric("llem_sweep_model_loads_total", "counter", "loads", _WORKER, "models that the worker loaded")
TOKENS = Metric(
    "llem_sweep_tokens_total",
    "counter",
    "tokens",
    (*_WORKER, "backend", "direction"),
    "`input` and `output` tokens of measured windows, counted when the experiment is completed",
)
EXPERIMENTS = Metric(
    "llem_sweep_experiments",
    "gauge",
    "experiments",
    (*_SWEEP, "state"),
    "admitted experiments `queued`, `running`, `done` and `failed`; together all of them",
)
RETRIES = Metric(
    "llem_sweep_retries_total",
    "counter",
    "attempts",
    _SWEEP,
    "attempts that were lost or spoiled and run again",
)
EFFICIENCY = Metric(
    "llem_sweep_scheduling_efficiency_ratio",
    "gauge",
    "0 to 1",
    _SWEEP,
    "the least time that the same experiments and loads could have taken over the time they took",
)
MEASURED_ENERGY = Metric(
    "llem_sweep_measured_energy_joules_total",
    "counter",
    "J",
    _SWEEP,
    "of the measured windows of completed experiments, all their boards, since this run began",
)
REMAINING = Metric("llem_sweep_remaining_seconds", "gauge", "s", _SWEEP, "estimate of the time left")

OF_WORKERS = (POWER, TEMPERATURE, UTILISATION, THROTTLED, BOARD_ENERGY, PHASE_TIME, PHASES, LOADS, TOKENS)
OF_DRIVER = (EXPERIMENTS, RETRIES, EFFICIENCY, MEASURED_ENERGY, REMAINING)
METRICS = (*OF_WORKERS, *OF_DRIVER)


class Teller:
    """Tells values of some metrics. What goes wrong in that is logged once and ends the telling, nothing else."""

    def __init__(self, metrics: Iterable[Metric], tags: Mapping[str, str]) -> None:
        """``tags`` are the same with every value."""
        self._metrics = tuple(metrics)
        self._tags = dict(tags)
        self._gauges: dict[Metric, Gauge] | None = None
        self._counters: dict[Metric, Counter] = {}
        self._told: dict[tuple[Metric, tuple[str, ...]], float] = {}
        self._failed = False

    def tell(self, values: Callable[[], None]) -> None:
        """Have ``values`` call :meth:`show` and :meth:`grow`; it never raises."""
        if self._failed:
            return
        try:
            self._open()
            values()
        except Exception as error:  # noqa: BLE001 - Ray promises nothing, and a measurement doesn't need it
            self._failed = True
            _log.warning("metrics can't be told any more: %s: %s", type(error).__name__, error)

    def show(self, metric: Metric, value: float | None, **tags: str) -> None:
        """A gauge's value now; nothing where it isn't known."""
        if value is not None and self._gauges is not None:
            self._gauges[metric].set(value, self._tags | tags)

    def grow(self, metric: Metric, total: float, **tags: str) -> None:
        """A counter's total, of which it is told what has been added since the last call."""
        series = (metric, tuple(tags.values()))
        added = total - self._told.get(series, 0.0)
        # Totals read while another thread adds to them may be a step behind the last ones.
        if added > 0:
            self._counters[metric].inc(added, self._tags | tags)
            self._told[series] = total

    def _open(self) -> None:
        """Ray's side of the metrics, made when first needed."""
        if self._gauges is not None:
            return
        self._counters = {
            each: Counter(each.name, each.meaning, each.tags)
            for each in self._metrics
            if each.kind == "counter"
        }
        self._gauges = {
            each: Gauge(each.name, each.meaning, each.tags) for each in self._metrics if each.kind == "gauge"
        }
