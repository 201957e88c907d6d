"""Why Ray says that a worker is gone: its own doing, the node's memory, or the node."""

from __future__ import annotations

from ray.exceptions import (
    ActorUnavailableError,
    ActorUnschedulableError,
    LocalRayletDiedError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayError,
)

from llem_sweep.results.outcome import FailureKind

# A worker is bound to its node: it can't be placed any more once that node is gone or drained.
_NODE = (ActorUnavailableError, ActorUnschedulableError, NodeDiedError, ObjectLostError, LocalRayletDiedError)
_NODE_WORDS = ("node has died", "node was terminated", "node is dead", "raylet", "preempt")
_MEMORY_WORDS = ("running low on memory", "memory monitor", "memory pressure")


def kind_of_loss(error: RayError) -> FailureKind:
    """WORKER_LOST, HOST_MEMORY or NODE_LOST. Where Ray has no class for it, its words decide."""
    if isinstance(error, OutOfMemoryError):
        return FailureKind.HOST_MEMORY
    if isinstance(error, _NODE) or (isinstance(error, RayActorError) and error.preempted):
        return FailureKind.NODE_LOST
    words = reason(error).lower()
    if any(word in words for word in _MEMORY_WORDS):
        return FailureKind.HOST_MEMORY
    if any(word in words for word in _NODE_WORDS):
        return FailureKind.NODE_LOST
    return FailureKind.WORKER_LOST


def reason(error: RayError) -> str:
    """The sentence in which Ray says why; its messages begin with a paragraph of identifiers."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if "because" in line), lines[0] if lines else type(error).__name__)
