"""The least time that work can take, and how near to it a run came.

No schedule ends before the larger of (all work + each model loaded once) / boards and the longest experiment with
its load: that is the lower bound, of expected times before a sweep, of measured ones afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Piece(NamedTuple):
    """One experiment on its boards."""

    key: str
    """Load key."""
    boards: int
    """Boards that it holds; 1 for a CPU worker."""
    took_s: float
    """Loading not counted."""
    load_s: float
    """What loading its model takes, whether it had to or not."""


def lower_bound_s(pieces: Sequence[Piece], boards: int) -> float:
    """The least time in seconds that ``pieces`` can take on ``boards`` boards, each model loaded once."""
    once = {(piece.key, piece.boards): piece.boards * piece.load_s for piece in pieces}
    work_s = math.fsum(piece.boards * piece.took_s for piece in pieces) + math.fsum(once.values())
    longest_s = max((piece.took_s + piece.load_s for piece in pieces), default=0.0)
    return max(work_s / max(1, boards), longest_s)


class TimedRun(NamedTuple):
    """A task that ran to its end."""

    key: str
    """Load key."""
    boards: int
    """Boards that it held; 1 for a CPU worker."""
    took_s: float
    """Loading not counted."""
    load_s: float | None
    """None where the model was loaded already."""
    worker: str


class Efficiency(NamedTuple):
    """How well a run used its boards."""

    wall_s: float
    bound_s: float
    """The least that the same durations and loads could have taken on as many boards."""
    boards: int
    loads: int
    busy_share: float
    """Of the time of all boards, what they spent on loads and experiments."""
    least_busy_share: float
    """The same of the worker that did least."""

    @property
    def share(self) -> float:
        """The bound over the time it took: 1 is perfect."""
        return self.bound_s / self.wall_s


def efficiency(runs: Iterable[TimedRun], wall_s: float, boards: int) -> Efficiency | None:
    """What ``runs`` reached within ``wall_s`` seconds on ``boards`` boards (CPU workers count as one each).

    None where nothing ran. The load of a model is the mean of those seen.
    """
    ran = list(runs)
    if not ran or wall_s <= 0 or boards <= 0:
        return None
    loads_s: dict[str, list[float]] = {}
    busy_s: dict[str, float] = {}
    for run in ran:
        if run.load_s is not None:
            loads_s.setdefault(run.key, []).append(run.load_s)
        busy_s[run.worker] = busy_s.get(run.worker, 0.0) + run.took_s + (run.load_s or 0.0)
    mean_s = {key: sum(seen) / len(seen) for key, seen in loads_s.items()}
    pieces = [Piece(run.key, run.boards, run.took_s, mean_s.get(run.key, 0.0)) for run in ran]
    held_s = math.fsum(run.boards * (run.took_s + (run.load_s or 0.0)) for run in ran)
    return Efficiency(
        wall_s=wall_s,
        bound_s=lower_bound_s(pieces, boards),
        boards=boards,
        loads=sum(len(seen) for seen in loads_s.values()),
        busy_share=held_s / (wall_s * boards),
        least_busy_share=min(busy_s.values()) / wall_s,
    )
