"""The workers of a run: brought up where they are needed, ended where they aren't, replaced where they fail."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from llem_sweep.clock import Clock
from llem_sweep.errors import ClusterError
from llem_sweep.execution.fleet import Fleet
from llem_sweep.execution.limits import never_came_up
from llem_sweep.execution.pool import WorkerPool
from llem_sweep.execution.staffing import Reservation, RestOf, Staffing
from llem_sweep.plan.need import Need
from llem_sweep.plan.types import ClusterShape, NodeShape
from llem_sweep.results.outcome import Failed, FailureKind

BIRTHS = 3
"""Attempts to bring a worker up on a seat before the seat is given up."""
WANT_EVERY_S = 5.0
"""How often the cluster is told what is wanted: an autoscaler looks no more often."""
DOUBT_S = 20.0
"""How long nothing is opened on a node that can't be reached but isn't known to be gone."""


class Crew:
    """Workers by name, each on a seat of the fleet. Never knows what they work on."""

    def __init__(
        self,
        shape: ClusterShape,
        pool: WorkerPool,
        clock: Clock,
        *,
        cpu_workers: int,
        exclusive: bool,
        baseline_s: Callable[[Need], float],
    ) -> None:
        """``exclusive`` brings nobody up on a node where somebody is at work. ``baseline_s`` is the length of the
        cold baseline of workers for a need."""
        self.fleet = Fleet(shape.nodes, cpu_workers)
        self._startable = Fleet(shape.startable, cpu_workers)
        self._grows = shape.grows
        self._pool = pool
        self._clock = clock
        self._exclusive = exclusive
        self._baseline_s = baseline_s
        self._staffing = Staffing()
        self._reserved: Reservation | None = None
        self._births: dict[str, int] = {}
        self._losses: list[str] = []
        """Why seats and nodes are no longer there."""
        self._unserved_since_s: dict[Need, float] = {}
        self._wanted: dict[Need, int] = {}
        self._told_s = float("-inf")

    @property
    def idle(self) -> list[str]:
        """Workers that can take a task; with ``exclusive`` not beside one that is coming up."""
        posts = self.fleet.posts.items()
        rising = {post.seat.node for _, post in posts if post.state == "starting"} if self._exclusive else ()
        return [name for name, post in posts if post.state == "idle" and post.seat.node not in rising]

    @property
    def nodes(self) -> list[str]:
        """Names of the nodes that stay."""
        return [node.name for node in self.fleet.nodes]

    def on(self, node: str) -> list[str]:
        """The workers of a node."""
        return [post.seat.worker for post in self.fleet.on(node)]

    def seats(self, node: str, need: Need) -> int:
        """Workers for ``need`` that ``node`` has room for at a time, when nobody else is there."""
        share = self.fleet.share(node, need)
        return 0 if share is None else 1 if self._exclusive else self.fleet.room(node, share)

    def idle_since_s(self, worker: str) -> float:
        """Since when an idle worker has been idle."""
        return self.fleet.posts[worker].since_s

    def within_s(self, worker: str) -> float | None:
        """How soon ``worker`` must be free again, because its boards are being gathered; None for any time."""
        reserved = self._reserved
        return reserved.ready_in_s if reserved is not None and worker in reserved.held else None

    def staff(self, turns: Iterable[Need], rest_s: RestOf) -> list[str]:
        """See to it that there are workers for those whose turn it is; the workers that were ended for it."""
        now_s = self._clock.monotonic()
        moves = self._staffing.moves(self.fleet, turns, rest_s, now_s)
        self._reserved = moves.reservation
        for worker in moves.end:
            self.end(worker)
        for node, need in moves.open:
            if not (self._exclusive and any(post.state == "busy" for post in self.fleet.on(node))):
                self._pool.open(self.fleet.open(node, need, self._baseline_s(need), now_s))
        return list(moves.end)

    def want(self, needs: Mapping[Need, int]) -> None:
        """Tell the cluster how many workers for each need would find work at once, now and then and when that has
        changed."""
        now_s = self._clock.monotonic()
        if needs != self._wanted and now_s - self._told_s >= WANT_EVERY_S:
            self._wanted, self._told_s = dict(needs), now_s
            self._pool.want(self._wanted)

    def ready(self, worker: str) -> None:
        """A worker has come up."""
        self._births.pop(worker, None)
        self.free(worker)

    def begin(self, worker: str) -> None:
        """A worker is at work."""
        self.fleet.turn(worker, "busy", self._clock.monotonic())

    def free(self, worker: str) -> None:
        """A worker's work is over; on a node that is about to leave, so is the worker."""
        self.fleet.turn(worker, "idle", self._clock.monotonic())
        if self.fleet.is_draining(self.fleet.posts[worker].seat.node):
            self.end(worker)

    def end(self, worker: str, *, broken: bool = False) -> None:
        """End a worker; what it had is free. ``broken`` as in :meth:`WorkerPool.end`."""
        self.fleet.close(worker)
        self._pool.end(worker, broken=broken)

    def lost(self, worker: str, failure: Failed) -> None:
        """A worker is gone. Its seat may be taken again, unless it dies there again and again as it comes up."""
        post = self.fleet.posts[worker]
        if failure.kind is FailureKind.NODE_LOST:
            self.fleet.doubt(post.seat.node, self._clock.monotonic() + DOUBT_S)
        elif post.state == "starting":
            self._births[worker] = self._births.get(worker, 0) + 1
            if self._births[worker] >= BIRTHS:
                self.unfit(worker, failure.message)
                return
        self.fleet.close(worker)

    def unfit(self, worker: str, reason: str) -> None:
        """A worker can't be brought up: its seat is out of service."""
        self._losses.append(f"{worker}: {reason}")
        self.fleet.withdraw(worker)

    def joined(self, node: NodeShape) -> None:
        """A node can be used."""
        self.fleet.join(node)

    def draining(self, node: str) -> None:
        """A node is about to leave: whoever is idle there ends, and the others when their work is over."""
        self.fleet.drain(node)
        for post in list(self.fleet.on(node)):
            if post.state != "busy":
                self.end(post.seat.worker)

    def left(self, node: str, reason: str) -> None:
        """A node is gone, and everybody on it has been lost."""
        self._losses.append(f"{node} has left: {reason}")
        self.fleet.leave(node)

    def stuck(self) -> Mapping[str, str]:
        """Workers that have been coming up for too long, and why that is too long."""
        now_s = self._clock.monotonic()
        posts = self.fleet.posts.items()
        return {name: why for name, post in posts if (why := never_came_up(post, now_s)) is not None}

    def hopeless(self, needs: Iterable[Need], wait_s: float) -> dict[Need, str]:
        """The needs that nothing can serve, for ``wait_s`` already where a node may still come, and why.

        Raises ClusterError when that are all of them and nobody is at work: there is nothing to go on with.
        """
        now_s, waiting = self._clock.monotonic(), list(needs)
        unserved = [need for need in waiting if not self.fleet.can_serve(need)]
        since_s = self._unserved_since_s
        self._unserved_since_s = {need: since_s.get(need, now_s) for need in unserved}
        patience_s = wait_s if self._may_grow else 0.0
        lost = {
            need: self._why(need)
            for need in unserved
            if now_s - self._unserved_since_s[need] >= patience_s and not self._startable.can_serve(need)
        }
        if lost and len(lost) == len(waiting) and not self.fleet.posts:
            listed = "\n".join(f"  {loss}" for loss in self._losses) or "  no node can run what remains"
            raise ClusterError(f"no worker is left, and none could be brought up:\n{listed}")
        return lost

    @property
    def _may_grow(self) -> bool:
        """Whether nodes come and go: what has left may come back."""
        return self._grows or bool(self._startable.nodes) or any("has left" in loss for loss in self._losses)

    def _why(self, need: Need) -> str:
        kinds = " or ".join(need.accelerators)
        wanted = f"{need.boards} {kinds or 'GPU'}{'s' * (need.boards > 1 and not kinds)} on one node"
        listed = "; ".join(self._losses) or "nodes have changed since the sweep began"
        return f"no node is left with {wanted}: {listed}"
