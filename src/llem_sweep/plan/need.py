"""What an experiment asks of a node."""

from __future__ import annotations

from typing import NamedTuple

from llem_sweep.config.experiment import ExperimentConfig, gang_options


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
    options = gang_options(config)
    processes, parallelism = (options.num_processes, options.parallelism) if options else (1, "data")
    wanted = config.accelerator or ()
    accelerators = (wanted,) if isinstance(wanted, str) else tuple(sorted(wanted))
    return Need(config.gpus, processes, parallelism, accelerators)
