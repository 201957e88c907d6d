"""A sweep under way as plain lines, for pipes and logs."""

from __future__ import annotations

from collections import Counter
from typing import TextIO

from llem_sweep.cli.escape import printable
from llem_sweep.cli.wording import phase_name, progress_counts, progress_energy, progress_times
from llem_sweep.clock import Clock
from llem_sweep.execution.progress import FailureNote, Progress, WorkerState

HEARTBEAT_S = 30.0


class PlainView:
    """Writes every message, a line whenever an experiment is done or has failed, and a sign of life every
    ``HEARTBEAT_S`` seconds, with what the workers are at.

    With ``verbose`` also a line for every experiment that a worker begins.
    """

    def __init__(self, stream: TextIO, clock: Clock, *, verbose: bool = False) -> None:
        self._stream = stream
        self._clock = clock
        self._verbose = verbose
        self._settled = (0, 0)
        self._begun: dict[str, str | None] = {}
        self._spoke_s = clock.monotonic()

    def message(self, text: str) -> None:
        self._line(text)

    def failed(self, note: FailureNote) -> None:
        self._line(_why(note))

    def update(self, progress: Progress) -> None:
        if self._verbose:
            self._tell_begun(progress.workers)
        changed = (progress.done, progress.failed) != self._settled
        self._settled = (progress.done, progress.failed)
        if changed or self._clock.monotonic() - self._spoke_s >= HEARTBEAT_S:
            at_work = None if changed else _at_work(progress.workers)
            parts = (progress_counts(progress), progress_times(progress), progress_energy(progress), at_work)
            self._line("; ".join(part for part in parts if part))

    def close(self) -> None:
        self._stream.flush()

    def _tell_begun(self, workers: tuple[WorkerState, ...]) -> None:
        for worker in workers:
            if worker.experiment is not None and worker.experiment != self._begun.get(worker.name):
                self._line(f"{worker.name} ({worker.board}) begins {worker.model}: {worker.experiment}")
            self._begun[worker.name] = worker.experiment

    def _line(self, text: str) -> None:
        self._spoke_s = self._clock.monotonic()
        stamp = self._clock.now().astimezone().strftime("%H:%M:%S")
        self._stream.write(f"{stamp}  {printable(text)}\n")
        self._stream.flush()


class QuietView:
    """Writes failures alone, each with its reason."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def message(self, text: str) -> None:
        """Left out: nothing that a message says is an error."""

    def failed(self, note: FailureNote) -> None:
        self._stream.write(printable(_why(note)) + "\n")

    def update(self, progress: Progress) -> None:
        """Left out."""

    def close(self) -> None:
        self._stream.flush()


def _at_work(workers: tuple[WorkerState, ...]) -> str:
    """How many workers are in each phase, for example ``workers: 1 load, 3 measure``."""
    phases = Counter(phase_name(worker) for worker in workers)
    return "workers: " + ", ".join(f"{number} {phase}" for phase, number in phases.items()) if phases else ""


def _why(note: FailureNote) -> str:
    return f"failed: {note.experiment} ({note.stage}): {note.message}"
