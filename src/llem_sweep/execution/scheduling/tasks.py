"""What a schedule is told and what it gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from llem_sweep.plan.need import Need
from llem_sweep.plan.types import PlannedExperiment


class Task(NamedTuple):
    """An experiment and which attempt at it this is."""

    experiment: PlannedExperiment
    attempt: int


class WorkerView(NamedTuple):
    """A worker as far as a schedule cares."""

    name: str
    node: str
    fits: Callable[[Need], bool]
    """Whether it can run what has this need."""
    model: str | None
    """Load key of what is loaded or being loaded; None for nothing."""
    free_in_s: float = 0.0
    """Expected rest of what it runs, loading included; 0 when it is idle."""
