"""What a schedule is told and what it gives."""

from __future__ import annotations

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
    need: Need
    """What it offers: its width, and in ``accelerators`` the names that its kind of board goes by."""
    model: str | None
    """Load key of what is loaded or being loaded; None for nothing."""
    free_in_s: float = 0.0
    """Expected rest of what it runs, loading included; 0 when it is idle."""


class Waiting(NamedTuple):
    """What waits for workers that offer one need."""

    tasks: int
    work_s: float
    """Expected seconds on one worker; boards not multiplied, loads not counted."""
    position: int | None
    """Where the first of them stands in the order, lower first; None where the order is free."""
