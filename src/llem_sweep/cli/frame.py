"""What is drawn of a sweep under way: how far it is, one bar, its workers, and the latest failures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import Group
from rich.text import Text

from llem_sweep.cli.colours import BAD, DOUBT, GOOD
from llem_sweep.cli.escape import printable
from llem_sweep.cli.wording import progress_counts, progress_energy, progress_times
from llem_sweep.cli.workers import Layout, end_of, worker_lines
from llem_sweep.execution.progress import FailureNote, Progress

FAILURES_SHOWN = 3
_SIMULATED = "SIMULATED boards: no number of this sweep is a measurement"
_STOPPING = "Stopping: what runs may finish, nothing new begins; Ctrl-C again stops now"
_GAP = "   "


class _Room(NamedTuple):
    """Lines of each part."""

    bar: int
    failures: int
    workers: int
    """The table's head among them."""


def frame(progress: Progress, width: int, height: int) -> Group:
    """``progress`` as drawn on a terminal of ``width`` by ``height`` characters: what doesn't fit is left out,
    workers first, which are counted then."""
    head = [*_status(progress, width), *_notices(progress)]
    failures = progress.recent_failures[-FAILURES_SHOWN:]
    layout = Layout.of(width, progress.workers[:height])
    # One line less: the last is left empty because a terminal echoes Ctrl-C where the cursor stands: at the end of
    # a full line that would push everything down by one, unknown to rich.
    head = head[: max(1, height - 1)]
    room = _room(height - 1 - len(head), layout.lines * len(failures), layout.lines)
    parts = [*head]
    if room.bar:
        parts.append(_bar(progress, width))
    parts += worker_lines(progress.workers, layout, room.workers)
    for note in failures[len(failures) - room.failures // layout.lines :]:
        parts += _failure(note, width, layout.lines)
    return Group(*(_cut(part, width) for part in parts), Text())


def _room(lines: int, failures: int, lines_a_worker: int) -> _Room:
    """Shares ``lines``: the table's head and one worker come before failures, these and the bar before others."""
    left = max(0, lines - 1 - lines_a_worker)
    shown = min(failures, left - left % lines_a_worker)
    bar = 1 if left > shown else 0
    return _Room(bar, shown, max(0, lines - shown - bar))


def _status(progress: Progress, width: int) -> list[Text]:
    """Counts, times and energy, on as few lines as they fit on."""
    energy = progress_energy(progress)
    parts = [Text(progress_counts(progress), "bold"), Text(progress_times(progress))]
    parts += [Text(energy)] if energy is not None else []
    lines = [parts[0]]
    for part in parts[1:]:
        if lines[-1].cell_len + len(_GAP) + part.cell_len <= width:
            lines[-1] = Text(_GAP).join([lines[-1], part])
        else:
            lines.append(part)
    return lines


def _notices(progress: Progress) -> Iterable[Text]:
    if any("simulated" in worker.board.lower() for worker in progress.workers):
        yield Text(_SIMULATED, f"bold {DOUBT}")
    if progress.stopping:
        yield Text(_STOPPING, f"bold {DOUBT}")


def _bar(progress: Progress, width: int) -> Text:
    """Thick where experiments are settled, failed ones last; thin where they aren't yet."""
    total = max(1, progress.total)
    settled = min(width, width * (progress.done + progress.failed) // total)
    # Even one failure of thousands is seen.
    failed = min(settled, -(-width * progress.failed // total))
    return Text.assemble(("━" * (settled - failed), GOOD), ("━" * failed, BAD), "─" * (width - settled))


def _failure(note: FailureNote, width: int, lines: int) -> list[Text]:
    """On one line, of which the reason has most, or on two."""
    failed, stage = ("failed ", f"bold {BAD}"), f" ({printable(note.stage)})"
    if lines == 1:
        name = end_of(printable(note.experiment), 2 * width // 5)
        return [Text.assemble(failed, name, stage, ": ", printable(note.message))]
    name = end_of(printable(note.experiment), max(1, width - len("failed ") - len(stage)))
    return [Text.assemble(failed, name, stage), Text(f"  {printable(note.message)}")]


def _cut(line: Text, width: int) -> Text:
    if cell_len(line.plain) > width:
        line.truncate(width, overflow="ellipsis")
    line.no_wrap = True
    return line
