"""Counts of a sweep under way, and what its watcher is told."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from llem_sweep.clock import Clock
from llem_sweep.execution.progress import FailureNote, Progress, SweepView, WorkerState
from llem_sweep.plan.efficiency import Efficiency, TimedRun, efficiency
from llem_sweep.plan.types import PlannedExperiment
from llem_sweep.plan.values import point
from llem_sweep.results.outcome import Failed, Outcome

SHOW_EVERY_S = 0.2
FAILURES_SHOWN = 5
EFFICIENCY_EVERY_S = 5.0
"""Computing it goes through all that ran: 7 ms for 10,000 experiments."""


class Tally:
    """Counts what is settled and tells the view, at most every ``SHOW_EVERY_S`` seconds."""

    def __init__(self, total: int, done: int, failed: int, clock: Clock, view: SweepView) -> None:
        self.total = total
        self.done = done
        self.failed = failed
        self.energy_j: float | None = None
        self.retried = 0
        self._clock = clock
        self._view = view
        self._begun_s = clock.monotonic()
        self._shown_s = float("-inf")
        self._windows = 0
        self._simulated = False
        self._runs: list[TimedRun] = []
        self._efficiency: float | None = None
        self._efficiency_s = float("-inf")
        self._failures: deque[FailureNote] = deque(maxlen=FAILURES_SHOWN)

    @property
    def due(self) -> bool:
        """Whether the view hasn't been told for long enough."""
        return self._clock.monotonic() - self._shown_s >= SHOW_EVERY_S

    def message(self, text: str) -> None:
        """Tell the watcher something worth a line."""
        self._view.message(text)

    def ran(self, run: TimedRun) -> None:
        """Keep what a completed task took."""
        self._runs.append(run)

    def efficiency(self, boards: int) -> Efficiency | None:
        """How near to the least possible time it has come since the start, on ``boards`` boards."""
        return efficiency(self._runs, self._clock.monotonic() - self._begun_s, boards)

    def settled(self, experiment: PlannedExperiment, outcome: Outcome) -> None:
        """Count one experiment that came to its end."""
        if isinstance(outcome, Failed):
            self.failed += 1
            note = FailureNote(label(experiment), str(outcome.stage), outcome.message)
            self._failures.append(note)
            self._view.failed(note)
        else:
            self.done += 1
            if outcome.result.total_energy_j is not None:
                self.energy_j = (self.energy_j or 0.0) + outcome.result.total_energy_j
                self._windows += 1
                self._simulated = self._simulated or outcome.result.simulated

    def show(
        self,
        states: Mapping[str, WorkerState],
        running: Mapping[str, PlannedExperiment],
        stopping: bool,
        *,
        boards: Callable[[], int],
        remaining_s: float | None = None,
    ) -> None:
        """Tell the view how things stand, on as many ``boards`` as can be at work now; ``remaining_s`` is the
        schedule's own forecast."""
        now_s = self._shown_s = self._clock.monotonic()
        self._view.update(
            Progress(
                total=self.total,
                done=self.done,
                failed=self.failed,
                running=len(running),
                elapsed_s=now_s - self._begun_s,
                remaining_s=remaining_s,
                learnt=bool(self._runs),
                workers=tuple(_labelled(state, running.get(name)) for name, state in states.items()),
                recent_failures=tuple(self._failures),
                energy_j=self.energy_j,
                energy_windows=self._windows,
                energy_simulated=self._simulated,
                stopping=stopping,
                retried=self.retried,
                efficiency=self._efficiency_now(boards),
            )
        )

    def _efficiency_now(self, boards: Callable[[], int]) -> float | None:
        if self._runs and self._shown_s - self._efficiency_s >= EFFICIENCY_EVERY_S:
            self._efficiency_s = self._shown_s
            reached = self.efficiency(boards())
            self._efficiency = reached.share if reached is not None else None
        return self._efficiency


def label(experiment: PlannedExperiment) -> str:
    """What distinguishes an experiment, for people."""
    cycle = f" cycle={experiment.cycle}" if experiment.cycle > 1 else ""
    return (point(experiment.varied) or experiment.config.model) + cycle


def _labelled(state: WorkerState, experiment: PlannedExperiment | None) -> WorkerState:
    if experiment is None:
        return state._replace(model=None, experiment=None)
    return state._replace(model=experiment.config.model, experiment=_beside_model(experiment))


def _beside_model(experiment: PlannedExperiment) -> str:
    """What distinguishes an experiment where its model is named anyway; fields that it hasn't are left out."""
    varied = {
        name: value for name, value in experiment.varied.items() if name != "model" and value is not None
    }
    cycle = f"cycle={experiment.cycle}" if experiment.cycle > 1 else ""
    return " ".join(filter(None, (point(varied), cycle))) or label(experiment)
