"""When an experiment, or a worker coming up, counts as hung."""

from __future__ import annotations

from llem_sweep.config.sweep import ExecutionConfig
from llem_sweep.execution.fleet import Post
from llem_sweep.execution.progress import WorkerState
from llem_sweep.plan.timeouts import LEAST_STALL_S, START_S, default_timeout_s, stall_limit_s
from llem_sweep.plan.types import PlannedExperiment

LEAST_SILENCE_S = 30.0
"""A worker tells what it is doing from a thread of its own: only a process that is stopped, or long in code that
lets no other thread run, falls silent. In any phase; never less than this."""


def overdue(
    planned: PlannedExperiment, state: WorkerState | None, execution: ExecutionConfig, flown_s: float
) -> str | None:
    """Why an experiment counts as hung, if it does: over its limit, or without progress for too long.

    ``state`` is its worker's as last heard of, aged since; ``flown_s`` the time since it was handed out. What was
    before that doesn't count: a worker without work has said so once and is silent then, and the state may still
    be that of an earlier worker of this name.
    """
    limit_s = execution.experiment_timeout_seconds or default_timeout_s(planned.config)
    silence_s = max(LEAST_SILENCE_S, execution.stall_timeout_seconds or LEAST_STALL_S)
    silent_s = min(state.silent_s, flown_s) if state is not None and state.silent_s is not None else 0.0
    if state is not None and silent_s > silence_s:
        return f"not heard of for {silent_s:.0f} s, limit {silence_s:g} s; phase: {state.phase}"
    if state is None or state.experiment != planned.experiment_id:
        # A worker that was never heard of at this task may hang before its first sign of life.
        return f"no sign of life for {flown_s:.0f} s, limit {limit_s:g} s" if flown_s > limit_s else None
    active_s, stalled_s = min(state.active_s, flown_s), min(state.stalled_s, flown_s)
    if active_s > limit_s:
        return f"no result after {active_s:.0f} s without loading, limit {limit_s:g} s; phase: {state.phase}"
    stall_s = stall_limit_s(planned.config, execution, state.phase)
    if stalled_s > stall_s:
        return (
            f"no progress for {stalled_s:.0f} s in phase {state.phase}, after {state.steps} batches;"
            f" limit {stall_s:g} s"
        )
    return None


def never_came_up(post: Post, now_s: float) -> str | None:
    """Why a worker that is starting counts as hung, if it does."""
    waited_s, limit_s = now_s - post.since_s, START_S + post.seat.baseline_s
    if post.state != "starting" or waited_s <= limit_s:
        return None
    return f"did not come up within {limit_s:g} s"
