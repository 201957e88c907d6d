"""What there is to see of a sweep under way. Views draw it; nothing here draws."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from llem_sweep.phases import Phase

STARTING = "starting"
"""Stands for the board of a worker that hasn't been heard of yet."""


class WorkerState(NamedTuple):
    """A worker as last heard of."""

    name: str
    """For example ``node7/gpu0``."""
    board: str
    """NVML's name, or ``CPU``; says so when it is simulated. ``STARTING`` before anything was heard of it."""
    model: str | None = None
    """Model of the experiment under way."""
    experiment: str | None = None
    """Id of that experiment."""
    phase: Phase = Phase.IDLE
    steps: int = 0
    """Batches run in the experiment under way: the sign of progress."""
    tokens_per_s: float | None = None
    """Output tokens in the run under way, up to its last batch; None before a batch of it is done."""
    active_s: float = 0.0
    """Time spent on the experiment under way, loading not counted."""
    stalled_s: float = 0.0
    """Time since its last sign of progress: a batch done, or a new phase."""
    power_w: float | None = None
    """Of all its boards together."""
    temperature_c: float | None = None
    """Of its hottest board."""
    silent_s: float | None = None
    """Time since it was last heard of, or brought up; None where it can't fall silent, or nobody can be heard."""


class News:
    """Which states of a worker, looked at every now and then, are worth telling.

    An experiment that wasn't there at the last look may be over before anybody reads of it, and the driver hears
    of its end anyway; a worker that goes on doing nothing has said so. Each telling costs a call, and among many
    workers on few cores far more than that.
    """

    def __init__(self) -> None:
        self._seen: str | None = None
        self._told: tuple[str | None, Phase] | None = None

    def is_in(self, state: WorkerState) -> bool:
        """Whether ``state``, as it is at this look, is to be told."""
        here = (state.experiment, state.phase)
        seen, self._seen = self._seen, state.experiment
        if here == self._told if state.experiment is None else state.experiment != seen:
            return False
        self._told = here
        return True


class FailureNote(NamedTuple):
    """A failure as a person wants to read it."""

    experiment: str
    stage: str
    message: str


class Progress(NamedTuple):
    """A sweep at one moment."""

    total: int
    """Admitted experiments, those settled before a resume included."""
    done: int
    failed: int
    running: int
    elapsed_s: float
    remaining_s: float | None
    """By the schedule's own forecast, corrected by what has run; None while that isn't known."""
    workers: tuple[WorkerState, ...]
    recent_failures: tuple[FailureNote, ...]
    energy_j: float | None = None
    """Of all boards in the measured windows that this run has completed; None before any is known."""
    energy_windows: int = 0
    """How many windows those are."""
    energy_simulated: bool = False
    """Whether any of them is of simulated boards."""
    learnt: bool = False
    """Whether anything has completed that corrects the forecast."""
    stopping: bool = False
    """After the first interrupt."""
    retried: int = 0
    """Attempts of this run that were lost or spoiled and are run again."""
    efficiency: float | None = None
    """How near to the least possible time this run has come, of late; 1 is perfect. None before anything ran."""


class SweepView(Protocol):
    """Someone watching. Called from the driver's own thread; must not block."""

    def message(self, text: str) -> None:
        """Something worth a line of its own."""

    def failed(self, note: FailureNote) -> None:
        """An experiment has failed; ``Progress.recent_failures`` will hold it as well."""

    def update(self, progress: Progress) -> None:
        """The state now; called several times a second."""

    def close(self) -> None:
        """Nothing more will come. Safe to call twice."""


class Audience:
    """Several watchers as one."""

    def __init__(self, views: Iterable[SweepView]) -> None:
        self._views = tuple(views)

    def message(self, text: str) -> None:
        for view in self._views:
            view.message(text)

    def failed(self, note: FailureNote) -> None:
        for view in self._views:
            view.failed(note)

    def update(self, progress: Progress) -> None:
        for view in self._views:
            view.update(progress)

    def close(self) -> None:
        for view in self._views:
            view.close()
