"""What an experiment asks of a node."""

from __future__ import annotations

from typing import NamedTuple

from llem_sweep.config.experiment import ExperimentConfig


class Need(NamedTuple):
    """What a worker must have to run an experiment. Workers with equal needs can stand in for each other."""

    gpus: int
    """Boards of each process; 0 on CPU workers."""
    processes: int = 1
    """Processes that measure together, all on one node."""
    parallelism: str = "data"
    """How several processes share the work: ``data`` or ``tensor``."""
    accelerators: tuple[str, ...] = ()
    """Kinds of board, any of which will do; empty for any kind."""

    @property
    def boards(self) -> int:
        """Boards of one node held while the experiment runs."""
        return self.gpus * self.processes


def need_of(config: ExperimentConfig) -> Need:
    """What ``config`` asks of a node."""
    options = getattr(config, config.backend, None)
    processes = getattr(options, "num_processes", 1)
    parallelism = getattr(options, "parallelism", "data") if processes > 1 else "data"
    wanted = config.accelerator or ()
    accelerators = (wanted,) if isinstance(wanted, str) else tuple(sorted(wanted))
    return Need(config.gpus, processes, parallelism, accelerators)


def fits(offered: Need, asked: Need) -> bool:
    """Whether a worker that offers ``offered`` can run what asks for ``asked``.

    Width, processes and parallelism must be the same; of the kinds of board asked for, the worker's must be one.
    """
    if (offered.gpus, offered.processes, offered.parallelism) != (
        asked.gpus,
        asked.processes,
        asked.parallelism,
    ):
        return False
    return not asked.accelerators or not set(asked.accelerators).isdisjoint(offered.accelerators)
