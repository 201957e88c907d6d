"""Which nodes there are, which workers sit on them, and what is free. Pure bookkeeping."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from llem_sweep.execution.pool import Seat
from llem_sweep.plan.need import Need, is_kind, share_of
from llem_sweep.plan.types import NodeShape


@dataclass
class Post:
    """A seat that is taken."""

    seat: Seat
    share: Fraction
    since_s: float
    """When it came into its state."""
    state: Literal["starting", "idle", "busy"] = "starting"


@dataclass
class _Node:
    shape: NodeShape
    free: Fraction = Fraction(1)
    """That no worker has; kept, since it is asked for with every experiment."""
    out_of_service: Fraction = Fraction(0)
    """Held by workers that could not be brought up."""
    draining: bool = False
    doubtful_until_s: float = float("-inf")


class Fleet:
    """The nodes of the cluster and the workers on them."""

    def __init__(self, nodes: tuple[NodeShape, ...], cpu_workers: int) -> None:
        """``cpu_workers`` fill a node where boards don't count."""
        self._cpu_workers = cpu_workers
        self._nodes = {node.name: _Node(node) for node in nodes}
        self.posts: dict[str, Post] = {}

    @property
    def nodes(self) -> tuple[NodeShape, ...]:
        """Every node that hasn't left, and isn't about to."""
        return tuple(node.shape for node in self._nodes.values() if not node.draining)

    def join(self, shape: NodeShape) -> None:
        """A node is there."""
        taken = sum((post.share for post in self.on(shape.name)), Fraction(0))
        self._nodes[shape.name] = _Node(shape, 1 - taken)

    def leave(self, node: str) -> None:
        """A node is gone."""
        self._nodes.pop(node, None)

    def drain(self, node: str) -> None:
        """A node is about to leave."""
        if node in self._nodes:
            self._nodes[node].draining = True

    def doubt(self, node: str, until_s: float) -> None:
        """A node may be gone: nothing is opened on it for now."""
        if node in self._nodes:
            self._nodes[node].doubtful_until_s = until_s

    def open(self, node: str, need: Need, baseline_s: float, now_s: float) -> Seat:
        """Take a free seat on ``node``."""
        shape = self._nodes[node].shape
        share = self.share(node, need)
        if share is None or share > self.free(node):
            raise ValueError(f"{node} has no room for {need}")
        number = next(n for n in range(len(self.posts) + 1) if f"{node}/worker{n}" not in self.posts)
        cpus = _cpus(shape.cpus * float(share) / need.processes)
        seat = Seat(f"{node}/worker{number}", node, need._replace(accelerators=()), cpus, baseline_s)
        self.posts[seat.worker] = Post(seat, share, now_s)
        self._nodes[node].free -= share
        return seat

    def turn(self, worker: str, state: Literal["starting", "idle", "busy"], now_s: float) -> None:
        """A worker's state has changed."""
        post = self.posts[worker]
        post.state, post.since_s = state, now_s

    def close(self, worker: str) -> None:
        """A worker is gone, and what it had is free."""
        post = self.posts.pop(worker, None)
        if post is not None and post.seat.node in self._nodes:
            self._nodes[post.seat.node].free += post.share

    def withdraw(self, worker: str) -> None:
        """A worker could not be brought up: what it was to have is out of service."""
        post = self.posts.pop(worker)
        if post.seat.node in self._nodes:
            self._nodes[post.seat.node].out_of_service += post.share

    def share(self, node: str, need: Need) -> Fraction | None:
        """Part of ``node`` that a worker for ``need`` takes; None when it can never have one."""
        known = self._nodes[node]
        share = share_of(need, known.shape, self._cpu_workers)
        return share if share is not None and share <= 1 - known.out_of_service else None

    def free(self, node: str) -> Fraction:
        """Part of ``node`` that no worker has."""
        return self._nodes[node].free

    def room(self, node: str, share: Fraction) -> int:
        """How often ``share`` fits into what of ``node`` is in service."""
        return int((1 - self._nodes[node].out_of_service) / share)

    def on(self, node: str) -> Iterator[Post]:
        """The workers on ``node``."""
        return (post for post in self.posts.values() if post.seat.node == node)

    def is_draining(self, node: str) -> bool:
        """Whether ``node`` is about to leave, or has left."""
        return node not in self._nodes or self._nodes[node].draining

    def open_for(self, need: Need, now_s: float) -> list[str]:
        """Nodes that may have workers for ``need``, whether there is room now or not."""
        return [
            name
            for name, node in self._nodes.items()
            if not node.draining and now_s >= node.doubtful_until_s and self.share(name, need) is not None
        ]

    def can_serve(self, need: Need) -> bool:
        """Whether any node that stays could ever run ``need``."""
        return any(
            not node.draining and self.share(name, need) is not None for name, node in self._nodes.items()
        )

    def fits(self, post: Post, need: Need) -> bool:
        """Whether the worker of ``post`` can run ``need``, now or when it is free."""
        node = self._nodes.get(post.seat.node)
        return (
            post.seat.need == (need._replace(accelerators=()) if need.accelerators else need)
            and node is not None
            and not node.draining
            and is_kind(need, node.shape)
        )


def _cpus(share: float) -> float:
    """Whole processors where there is one at least: an actor without any would compute on one thread."""
    return float(int(share)) if share >= 1 else int(share * 100) / 100
