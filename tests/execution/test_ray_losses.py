"""Why a worker is gone, by what Ray 2.60 says of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from ray.exceptions import (
    ActorUnavailableError,
    LocalRayletDiedError,
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    RayError,
)

from llem_sweep.execution.ray_losses import kind_of_loss, reason
from llem_sweep.results.outcome import FailureKind

FULL = """\
1 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 192.0.2.2) was 3.30GB used
OOM kill reason: Memory usage 3531608064B exceeded threshold of 3463171072B (13.7% of 25276510208B limit)
To see more information about memory usage on this node, use `ray logs raylet.out -ip 192.0.2.2`"""
KILLED = """\
The actor died unexpectedly before finishing this task.
\tclass_name: GpuWorker
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker
unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) the process was
killed by the OOM killer due to high memory usage, (2) ray stop --force was called, or (3) it crashed."""
NODE = """\
The actor died unexpectedly before finishing this task.
The actor died because its node has died. Node Id: a3fe20de91430a92b29f05c7e37b500570e1c5c5581464fd577d4a0b"""


# Ray's classes aren't all typed.
out_of_memory: Callable[[str], RayError] = OutOfMemoryError
node_died: Callable[[str], RayError] = NodeDiedError


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
        (died(NODE), FailureKind.NODE_LOST),
        (died(KILLED, preempted=True), FailureKind.NODE_LOST),
        (ActorUnavailableError("no answer", b"0" * 16), FailureKind.NODE_LOST),
        (node_died("gone"), FailureKind.NODE_LOST),
        (LocalRayletDiedError(), FailureKind.NODE_LOST),
    ],
)
def test_a_loss_is_the_memorys_the_nodes_or_the_workers(error: RayError, kind: FailureKind) -> None:
    assert kind_of_loss(error) is kind


def test_the_reason_is_the_sentence_that_says_why() -> None:
    assert reason(died(NODE)).startswith("The actor died because its node has died.")
    assert reason(out_of_memory(FULL)).startswith(
        "1 worker(s) were killed due to the node running low on memory."
    )
