"""What becomes of an experiment after an attempt that wasn't its own doing, or may not have been."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from llem_sweep.config.sweep import ExecutionConfig
from llem_sweep.results.outcome import Failed, FailureKind

DEATHS = 2
"""An experiment that has taken so many workers down is set aside: more attempts would only take more down."""


class Retries:
    """How often each experiment has failed, and of what."""

    def __init__(self, execution: ExecutionConfig, so_far: Mapping[str, Mapping[FailureKind, int]]) -> None:
        """``so_far`` holds the failed attempts before this run, by experiment id."""
        self._execution = execution
        self._failed: defaultdict[str, Counter[FailureKind]] = defaultdict(Counter)
        for experiment_id, counts in so_far.items():
            self._failed[experiment_id] += Counter(counts)

    def note(self, experiment_id: str, failure: Failed) -> None:
        """Count a failed attempt."""
        self._failed[experiment_id][failure.kind] += 1

    def attempt(self, experiment_id: str) -> int:
        """Number of the next attempt, from 1."""
        return sum(self._failed[experiment_id].values()) + 1

    def allows(self, experiment_id: str, failure: Failed) -> bool:
        """Whether the experiment may run again after ``failure``, which isn't counted yet.

        A node that goes has a budget of its own, since no experiment makes a node go.
        """
        counts, kind = self._failed[experiment_id], failure.kind
        if kind is FailureKind.NODE_LOST:
            return counts[kind] < self._execution.max_preemptions
        deaths = counts[FailureKind.WORKER_LOST] + counts[FailureKind.HOST_MEMORY]
        if kind in (FailureKind.WORKER_LOST, FailureKind.HOST_MEMORY):
            return deaths < min(self._execution.max_retries, DEATHS - 1)
        if kind is FailureKind.CONTAMINATED:
            return counts[kind] < self._execution.max_retries
        return False

    def in_words(self, experiment_id: str, failure: Failed) -> Failed:
        """``failure`` as the last one: says when the experiment is set aside for what it does to workers."""
        counts = self._failed[experiment_id]
        deaths = counts[FailureKind.WORKER_LOST] + counts[FailureKind.HOST_MEMORY] + 1
        if failure.kind not in (FailureKind.WORKER_LOST, FailureKind.HOST_MEMORY) or deaths < DEATHS:
            return failure
        return failure._replace(
            message=f"set aside, having lost {deaths} workers; the last: {failure.message}"
        )
