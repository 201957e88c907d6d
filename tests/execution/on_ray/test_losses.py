"""Why a worker is gone, by what Ray 2.60 says of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from ray.exceptions import (
    ActorUnavailableError,
    ActorUnschedulableError,
    LocalRayletDiedError,
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    RayError,
)

from llem_sweep.execution.on_ray.losses import kind_of_loss, reason
from llem_sweep.results.outcome import FailureKind

DIED = """\
The actor died unexpectedly before finishing this task.
\tclass_name: GpuWorker
\tactor_id: 18f17822884a03455ee655bb01000000
\tpid: 24548
\tip: 192.0.2.2
"""
KILLED = DIED + (
    "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit"
    " detail: Worker unexpectedly exits with a connection error code 2. End of file. Some common causes"
    " include: (1) the process was killed by the OOM killer due to high memory usage, (2) ray stop --force was"
    " called, or (3) the worker crashed unexpectedly due to SIGSEGV or another unexpected error. If the"
    " process was killed by the kernel OOM killer (verifiable by checking for OOM in dmesg of the OOMing"
    " node), consider enabling resource isolation via --enable-resource-isolation to prevent node deaths by"
    " resource contention and significant loss of progress by uninformed kernel OOM killing."
)
"""A worker ended by SIGKILL or SIGSEGV, or gone by itself; the kernel's own want of memory looks the same."""
FULL = (
    "1 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 192.0.2.2, ID:"
    " 8a4d2f06) was 7.33GB used / 23.54GB limit (0.311183)"
    "\nOOM kill reason: Memory usage 7828529152B exceeded threshold of 7810387968B (30.9% of 25276510208B limit)"
    "\nRay killed 1 worker(s) based on the killing policy"
    "\nTo see more information about memory usage on this node, use `ray logs raylet.out -ip 192.0.2.2`"
)
"""A worker ended by the memory monitor, at work or idle."""
NODE = f"{DIED}The actor died because its node has died. Node Id: 134ddca79057fd24\n\tthe actor's node was"
TERMINATED = f"{NODE} terminated unexpectedly: health check failed due to missing too many heartbeats"
"""A raylet ended by SIGKILL, once the health checks have noticed."""
NEVER_RAN = f"{TERMINATED}\nThe actor never ran - it was cancelled before it started running."
"""A worker that was coming up then."""
PREEMPTED = f"{NODE} preempted: the cloud wants it back"
"""A node that was drained and then taken away."""
UNAVAILABLE = "The actor is temporarily unavailable: RpcError: RPC error: Socket closed rpc_code: 14"
"""A raylet ended by SIGKILL, before the health checks have noticed."""
UNPLACED = (
    "The node specified via NodeAffinitySchedulingStrategy doesn't exist any more or is infeasible, and"
    " soft=False was specified."
)
"""A worker that was to be brought up on a node that is gone, or drained."""


# Ray's classes aren't all typed.
out_of_memory: Callable[[str], RayError] = OutOfMemoryError
node_died: Callable[[str], RayError] = NodeDiedError
unschedulable: Callable[[str], RayError] = ActorUnschedulableError


def died(message: str, *, preempted: bool = False) -> RayActorError:
    error = RayActorError(error_msg=message)
    error._preempted = preempted
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (out_of_memory(FULL), FailureKind.HOST_MEMORY),
        (died(FULL), FailureKind.HOST_MEMORY),
        (died(KILLED), FailureKind.WORKER_LOST),
        (died(f"{DIED}The actor is dead because it was killed by `ray.kill`."), FailureKind.WORKER_LOST),
        (died(TERMINATED), FailureKind.NODE_LOST),
        (died(NEVER_RAN), FailureKind.NODE_LOST),
        (died(PREEMPTED, preempted=True), FailureKind.NODE_LOST),
        (ActorUnavailableError(UNAVAILABLE, b"0" * 16), FailureKind.NODE_LOST),
        (unschedulable(UNPLACED), FailureKind.NODE_LOST),
        (node_died("gone"), FailureKind.NODE_LOST),
        (LocalRayletDiedError(), FailureKind.NODE_LOST),
    ],
)
def test_a_loss_is_the_memorys_the_nodes_or_the_workers(error: RayError, kind: FailureKind) -> None:
    assert kind_of_loss(error) is kind


def test_the_reason_is_the_sentence_that_says_why() -> None:
    assert reason(died(TERMINATED)).startswith("The actor died because its node has died.")
    assert reason(out_of_memory(FULL)).startswith(
        "1 worker(s) were killed due to the node running low on memory."
    )
