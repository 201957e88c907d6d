"""What becomes of tasks: settled, tried again, or given up; and what that says about going on.

Nothing is counted before the sink has persisted it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from llem_sweep.config.sweep import ExecutionConfig
from llem_sweep.execution.early import FailFast
from llem_sweep.execution.retries import Retries
from llem_sweep.execution.scheduling.schedule import Schedule, Task
from llem_sweep.execution.tally import Tally, label
from llem_sweep.plan.pruning import needs_at_least
from llem_sweep.plan.types import Attempt, PlannedExperiment
from llem_sweep.results.outcome import Completed, Failed, FailureKind, Outcome, Stage
from llem_sweep.results.verdict import contaminations


class Sink(Protocol):
    """Where outcomes are persisted."""

    def commit(
        self, experiment: PlannedExperiment, attempt: int, outcome: Outcome, *, final: bool, worker: str
    ) -> Outcome:
        """Persist ``outcome`` and return what really is persisted: a failed save is a Failed."""

    def commit_all(self, completed: Sequence[tuple[Attempt, Completed]]) -> Sequence[Outcome]:
        """Persist final outcomes of different experiments, and return what really is persisted of each."""

    def tried(self) -> Mapping[str, Mapping[FailureKind, int]]:
        """Failed attempts persisted so far, by experiment id and kind."""

    def journal(self, event: str, **fields: object) -> None:
        """Note something that isn't an outcome."""

    def mention(self, event: str, **fields: object) -> None:
        """Note something without which nothing is lost: it may be forgotten if the machine fails."""


class Ending(StrEnum):
    """How a run came to its end."""

    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    UNPUBLISHABLE = "unpublishable"
    """A result that had to be publishable isn't, so nothing more was begun."""
    FAILING = "failing"
    """The first experiments all failed for the same reason, so nothing more was begun."""


class Landed(NamedTuple):
    """A completed task that is yet to be settled."""

    task: Task
    worker: str
    outcome: Completed


class Ledger:
    """Keeps outcomes, and decides from them what is run again, left out, or begun no more."""

    def __init__(
        self,
        schedule: Schedule,
        sink: Sink,
        execution: ExecutionConfig,
        tally: Tally,
        *,
        require_publishable: bool,
        completed_before: bool,
    ) -> None:
        """``require_publishable`` begins nothing more after the first result that isn't; ``completed_before`` says
        whether anything of the sweep was completed before this run."""
        self._schedule = schedule
        self._sink = sink
        self._execution = execution
        self._tally = tally
        self._require_publishable = require_publishable
        self._retries = Retries(execution, sink.tried())
        self._fail_fast = FailFast(execution.fail_fast_after, completed_before=completed_before)
        self.stop: Ending | None = None
        """Why nothing more is to be begun."""

    def settle(self, task: Task, worker: str, outcome: Outcome) -> None:
        """``task``, which ``worker`` had, is done with."""
        kept = self._sink.commit(task.experiment, task.attempt, outcome, final=True, worker=worker)
        self._count(task, kept)

    def settle_all(self, completed: Sequence[Landed]) -> None:
        """These tasks are done with, all at once."""
        kept = self._sink.commit_all(
            [
                (Attempt(each.task.experiment, each.task.attempt, each.worker), each.outcome)
                for each in completed
            ]
        )
        for each, outcome in zip(completed, kept, strict=True):
            self._count(each.task, outcome)

    def _count(self, task: Task, kept: Outcome) -> None:
        self._tally.settled(task.experiment, kept)
        if isinstance(kept, Completed):
            self._require(task, kept)
        elif kept.kind is FailureKind.OUT_OF_MEMORY and self._execution.prune_out_of_memory:
            self._prune(task.experiment, kept)
        self._fail_fast.note(kept)
        if self._fail_fast.because is not None and self.stop is None and len(self._schedule):
            self.stop = Ending.FAILING
            self._tally.message(f"stopping early: {self._fail_fast.because}")

    def lost(self, task: Task, worker: str, failure: Failed) -> None:
        """``task`` was lost with its worker: it is tried again if its budget allows."""
        experiment_id = task.experiment.experiment_id
        if self._retries.allows(experiment_id, failure):
            self._again(task, worker, failure)
        else:
            self.settle(task, worker, self._retries.in_words(experiment_id, failure))

    def spoiled(self, task: Task, worker: str, outcome: Completed) -> bool:
        """Whether ``outcome`` was spoiled from outside and ``task`` is tried again for it."""
        failure = self._contamination(outcome)
        if failure is None or not self._retries.allows(task.experiment.experiment_id, failure):
            return False
        self._again(task, worker, failure)
        return True

    def give_up(self, which: Callable[[Task], bool], failure: Failed) -> None:
        """Settle waiting tasks that are never to be begun."""
        for task in self._schedule.remove(which):
            self.settle(task, "", failure)

    def _contamination(self, outcome: Completed) -> Failed | None:
        if self._execution.on_contamination == "keep":
            return None
        breakdown = outcome.result.energy_breakdown
        subtracted = breakdown.baseline_kind if breakdown is not None else None
        found = contaminations(outcome.result.measurement_warnings, subtracted)
        if not found:
            return None
        listed = "; ".join(f"{warning.code.value}: {warning.message}" for warning in found)
        return Failed(Stage.RUN, FailureKind.CONTAMINATED, f"spoiled from outside: {listed}")

    def _again(self, task: Task, worker: str, failure: Failed) -> None:
        """Put a task back to the front, its failed attempt kept."""
        experiment = task.experiment
        self._sink.commit(experiment, task.attempt, failure, final=False, worker=worker)
        self._retries.note(experiment.experiment_id, failure)
        self._tally.retried += 1
        self._sink.journal("retry", **described(task, worker))
        self._schedule.put_back(Task(experiment, self._retries.attempt(experiment.experiment_id)))

    def _require(self, task: Task, outcome: Completed) -> None:
        verdict = outcome.result.verdict
        if not self._require_publishable or (verdict is not None and verdict.publishable):
            return
        self.stop = Ending.UNPUBLISHABLE
        why = verdict.because[0] if verdict is not None and verdict.because else "it has no verdict"
        self._tally.message(f"not publishable, so nothing more is begun: {label(task.experiment)}: {why}")

    def _prune(self, experiment: PlannedExperiment, failure: Failed) -> None:
        """Settle the points that would run out of memory as well."""
        # The reason first: the live view cuts what is beyond the line.
        why = f"not begun, as out of memory at {label(experiment)}, which needs no more of anything"
        self.give_up(
            lambda task: needs_at_least(task.experiment.config, experiment.config),
            Failed(Stage.QUEUE, FailureKind.PRUNED, f"{why} ({failure.message})"),
        )


def described(task: Task, worker: str) -> dict[str, object]:
    """A task on a worker, as the journal names it."""
    return {"experiment_id": task.experiment.experiment_id, "attempt": task.attempt, "worker": worker}
