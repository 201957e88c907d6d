"""What an experiment asks of a node."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from llem_sweep.config.experiment import ExperimentConfig, gang_options
from llem_sweep.config.options import Parallelism
from llem_sweep.plan.types import NodeShape


class Need(NamedTuple):
    """What a worker must have to run an experiment. Workers with equal needs can stand in for each other."""

    gpus: int
    """Boards of each process; 0 on CPU workers."""
    processes: int = 1
    """Processes that measure together, all on one node."""
    parallelism: Parallelism = "data"
    """How several processes share the work: ``data`` or ``tensor``."""
    accelerators: tuple[str, ...] = ()
    """Kinds of board, any of which will do; empty for any kind."""

    @property
    def boards(self) -> int:
        """Boards of one node held while the experiment runs."""
        return self.gpus * self.processes


def need_of(config: ExperimentConfig) -> Need:
    """What ``config`` asks of a node."""
    options = gang_options(config)
    wanted = config.accelerator or ()
    need = Need(config.gpus, accelerators=(wanted,) if isinstance(wanted, str) else tuple(sorted(wanted)))
    if options is None:
        return need
    return need._replace(processes=options.num_processes, parallelism=options.parallelism)


def share_of(need: Need, node: NodeShape, cpu_workers: int = 1) -> Fraction | None:
    """Part of ``node`` that a worker for ``need`` takes; None when the node can't have one.

    Boards are counted, and CPU workers (``cpu_workers`` of them fill a node) don't share boards' processors.
    """
    if not is_kind(need, node) or need.boards > node.gpus:
        return None
    if node.workers is not None:
        return Fraction(1, node.workers)
    return Fraction(need.boards, node.gpus) if need.boards else Fraction(1, cpu_workers)


def is_kind(need: Need, node: NodeShape) -> bool:
    """Whether ``node`` has a kind of board that ``need`` accepts.

    A kind is Ray's name for it (``H100``) or consecutive words of NVML's (``RTX 4090``), in any case.
    """
    if not need.accelerators:
        return True
    label, board = _words(node.accelerator or ""), _words(node.board or "")
    return any(_words(kind) == label or _within(_words(kind), board) for kind in need.accelerators)


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", name.lower())


def _within(words: list[str], text: list[str]) -> bool:
    starts = range(len(text) - len(words) + 1)
    return bool(words) and any(text[start : start + len(words)] == words for start in starts)
