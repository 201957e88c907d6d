"""Which workers there should be: decided anew whenever something is free, from whose turn it is.

Needs are served in turn: by a worker that fits, else on free boards, else on boards set free by ending idle
workers that fit nobody before it. The first need that can't be served so has a node reserved, whose workers then
take only what is over before enough of them are free: a wide experiment waits for what runs, never for what comes
after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from itertools import islice
from typing import NamedTuple

from llem_sweep.execution.fleet import Fleet, Post
from llem_sweep.plan.need import Need

LOOK_AHEAD = 256
"""Turns looked at in one decision; more than there are workers on most clusters."""


class Reservation(NamedTuple):
    """Boards of a node that are being gathered."""

    need: Need
    node: str
    held: frozenset[str]
    """Workers whose boards it waits for, or has."""
    ready_in_s: float
    """Estimate."""


class Moves(NamedTuple):
    """What is to be done."""

    end: tuple[str, ...]
    """Idle workers to end first."""
    open: tuple[tuple[str, Need], ...]
    """Workers to bring up: node and need."""
    reservation: Reservation | None


RestOf = Callable[[str], float]
"""Worker to the estimated rest of what it runs, in seconds."""


class Staffing:
    """Decides which workers there should be; remembers only what it is gathering boards for."""

    def __init__(self) -> None:
        self._gathering: tuple[Need, str] | None = None

    def moves(self, fleet: Fleet, turns: Iterable[Need], rest_s: RestOf, now_s: float) -> Moves:
        """What to do so that the needs of ``turns``, the next one first, are served."""
        round_ = _Round(fleet, now_s)
        reservation: Reservation | None = None
        for need in islice(turns, LOOK_AHEAD):
            if round_.serve(need) or reservation is not None:
                pass
            elif (found := self._reserve(round_, need, rest_s)) is not None:
                reservation = found
                round_.hold(found)
            if round_.exhausted:
                break
        self._gathering = (reservation.need, reservation.node) if reservation else None
        return Moves(tuple(round_.end), tuple(round_.open), reservation)

    def _reserve(self, round_: _Round, need: Need, rest_s: RestOf) -> Reservation | None:
        """Where boards for ``need`` can be gathered soonest; on the node begun with as long as it stands."""
        if round_.is_running(need):
            return None
        offers = [offer for node in round_.nodes_for(need) if (offer := round_.offer(node, need, rest_s))]
        begun = [offer for offer in offers if (offer.need, offer.node) == self._gathering]
        return min(begun or offers, key=lambda offer: offer.ready_in_s, default=None)


class _Round:
    """One decision: what is still unclaimed as the turns are gone through."""

    def __init__(self, fleet: Fleet, now_s: float) -> None:
        self._fleet = fleet
        self._now_s = now_s
        self.end: list[str] = []
        self.open: list[tuple[str, Need]] = []
        self._waiting = {name: post for name, post in fleet.posts.items() if post.state != "busy"}
        """Workers without work that nobody has claimed."""
        self._room = {node.name: fleet.free(node.name) for node in fleet.nodes}

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left that a later turn could claim."""
        return not self._waiting and not any(self._room.values())

    def nodes_for(self, need: Need) -> list[str]:
        return self._fleet.open_for(need, self._now_s)

    def is_running(self, need: Need) -> bool:
        """Whether a busy worker fits, which will be this one's next."""
        return any(
            post.state == "busy" and self._fleet.fits(post, need) for post in self._fleet.posts.values()
        )

    def serve(self, need: Need) -> bool:
        """Claim a worker for ``need``, or see to it that there will be one; False when that can't be done now."""
        fitting = (name for name, post in self._waiting.items() if self._fleet.fits(post, need))
        if (claimed := self._readiest(fitting)) is not None:
            del self._waiting[claimed]
            return True
        nodes = self.nodes_for(need)
        roomy = [node for node in nodes if self._enough(need, node, self._room.get(node, Fraction(0)))]
        if roomy:
            # The fullest of them, so that wide gaps stay for wide needs.
            self._open(min(roomy, key=lambda node: self._room[node]), need)
            return True
        for node in nodes:
            if self._enough(need, node, self._room.get(node, Fraction(0)) + self._idle_share(node)):
                self._clear(node, need)
                self._open(node, need)
                return True
        return False

    def _readiest(self, fitting: Iterable[str]) -> str | None:
        """The first that is ready, or else that is starting: it may rather serve the next turn."""
        starting: str | None = None
        for name in fitting:
            if self._waiting[name].state != "starting":
                return name
            starting = starting or name
        return starting

    def offer(self, node: str, need: Need, rest_s: RestOf) -> Reservation | None:
        """How soon ``node`` can have room for ``need``, if nothing long begins there."""
        room, held, ready_s = self._room.get(node, Fraction(0)), set(), 0.0
        claimed = {name for name, post in self._fleet.posts.items() if post.state != "busy"} - set(
            self._waiting
        )
        posts = [post for post in self._fleet.on(node) if post.seat.worker not in claimed]
        for post in sorted(posts, key=lambda post: _rest_s(post, rest_s)):
            if self._enough(need, node, room):
                break
            room += post.share
            held.add(post.seat.worker)
            ready_s = _rest_s(post, rest_s)
        return Reservation(need, node, frozenset(held), ready_s) if self._enough(need, node, room) else None

    def hold(self, reservation: Reservation) -> None:
        """Keep what a reservation gathers from later turns."""
        self._room[reservation.node] = Fraction(0)
        for worker in reservation.held:
            self._waiting.pop(worker, None)

    def _enough(self, need: Need, node: str, room: Fraction) -> bool:
        share = self._fleet.share(node, need)
        return share is not None and share <= room

    def _idle_share(self, node: str) -> Fraction:
        return sum((post.share for post in self._idle_on(node)), Fraction(0))

    def _idle_on(self, node: str) -> list[Post]:
        return [post for post in self._waiting.values() if post.seat.node == node and post.state == "idle"]

    def _clear(self, node: str, need: Need) -> None:
        """End idle workers, the widest first, until there is room."""
        for post in sorted(self._idle_on(node), key=lambda post: post.share, reverse=True):
            if self._enough(need, node, self._room[node]):
                return
            del self._waiting[post.seat.worker]
            self._room[node] += post.share
            self.end.append(post.seat.worker)

    def _open(self, node: str, need: Need) -> None:
        share = self._fleet.share(node, need)
        if share is None:
            raise ValueError(f"{node} can't have a worker for {need}")
        self._room[node] -= share
        self.open.append((node, need))


def _rest_s(post: Post, rest_s: RestOf) -> float:
    return rest_s(post.seat.worker) if post.state == "busy" else 0.0
