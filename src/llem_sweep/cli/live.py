"""A sweep under way on a terminal: one bar, one row per worker, and the latest failures."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from llem_sweep.cli.escape import outside
from llem_sweep.cli.wording import UNKNOWN, duration, progress_counts, progress_times, short_model
from llem_sweep.execution.progress import FailureNote, Progress, WorkerState
from llem_sweep.phases import Phase

REFRESH_HZ = 4
WIDE = 110
"""Columns from which a worker has one line instead of two."""
FAILURES_SHOWN = 3
_SIMULATED = "SIMULATED boards: no number of this sweep is a measurement"
_STOPPING = "Stopping: what runs may finish, nothing new begins; Ctrl-C again stops now"


class LiveView:
    """Draws a sweep in place, a few times a second, whatever the rate of updates; gone once closed."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._live = Live(
            get_renderable=self._draw,
            console=console,
            refresh_per_second=REFRESH_HZ,
            transient=True,
            vertical_overflow="crop",
        )

    def message(self, text: str) -> None:
        self._console.print(outside(text), soft_wrap=True)

    def failed(self, note: FailureNote) -> None:
        """Shown in the frame, and in the closing table."""

    def update(self, progress: Progress) -> None:
        self._progress = progress
        if not self._live.is_started:
            self._live.start(refresh=True)

    def close(self) -> None:
        self._live.stop()

    def _draw(self) -> RenderableType:
        if self._progress is None:
            return Text()
        return frame(self._progress, self._console.width, self._console.height)


def frame(progress: Progress, width: int, height: int) -> Group:
    """``progress`` as drawn on a terminal of ``width`` by ``height`` characters, workers cut to what fits."""
    parts: list[RenderableType] = [*_status(progress, width), _bar(progress)]
    if any("simulated" in worker.board.lower() for worker in progress.workers):
        parts.append(Text(_SIMULATED, "bold yellow", no_wrap=True, overflow="ellipsis"))
    if progress.stopping:
        parts.append(Text(_STOPPING, "bold yellow", no_wrap=True, overflow="ellipsis"))
    failures = _failures(progress.recent_failures[-FAILURES_SHOWN:])
    lines = 1 if width >= WIDE else 2
    # Two lines less: the table's head, and the last line, left empty because a terminal echoes Ctrl-C where the
    # cursor stands: at the end of a full line that would push everything down by one, unknown to rich.
    room = max(1, (height - len(parts) - len(failures) - 2) // lines)
    parts.append(worker_table(progress.workers, width, room))
    return Group(*parts, *failures, Text())


def _status(progress: Progress, width: int) -> list[Text]:
    counts, times = Text(progress_counts(progress), "bold"), Text(progress_times(progress))
    together = Text("   ").join([counts, times])
    return [together] if together.cell_len <= width else [counts, times]


def _bar(progress: Progress) -> Table:
    # A bar ends no line by itself: the table around it does.
    bar = Table.grid(expand=True)
    bar.add_row(ProgressBar(total=max(1, progress.total), completed=progress.done + progress.failed))
    return bar


def worker_table(workers: tuple[WorkerState, ...], width: int, room: int) -> Table:
    """A row for each worker, at most ``room`` rows, the last of which then counts those left out."""
    wide = width >= WIDE
    table = Table(box=None, pad_edge=False, expand=True, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("worker", no_wrap=True, overflow="ellipsis", ratio=3)
    if wide:
        table.add_column("board", no_wrap=True, overflow="ellipsis", ratio=3)
        table.add_column("model", no_wrap=True, overflow="ellipsis", ratio=3)
    table.add_column("experiment", no_wrap=True, overflow="ellipsis", ratio=6)
    table.add_column("phase", no_wrap=True, width=8)
    if wide:
        table.add_column("time", no_wrap=True, width=12, justify="right")
    table.add_column("power", no_wrap=True, width=8, justify="right")
    table.add_column("temp", no_wrap=True, width=5, justify="right")
    shown = workers if len(workers) <= room else workers[: room - 1]
    for worker in shown:
        table.add_row(*_worker_cells(worker, wide, _experiment_width(table, width)))
    if left_out := workers[len(shown) :]:
        busy = sum(1 for worker in left_out if worker.experiment is not None)
        table.add_row(Text(f"{len(left_out)} more, {busy} busy", "dim"))
    return table


def _experiment_width(table: Table, width: int) -> int:
    """Characters that the table leaves for the experiment's name."""
    fixed = sum((column.width or 0) + 2 for column in table.columns)
    ratios = {str(column.header): column.ratio or 0 for column in table.columns}
    return max(8, (width - fixed) * ratios["experiment"] // sum(ratios.values()) - 1)


def _end_of(text: str, width: int) -> str:
    """The end of a long name: what varies fastest, and so tells neighbours apart, stands last."""
    return text if len(text) <= width else "…" + text[-(width - 1) :]


def _worker_cells(worker: WorkerState, wide: bool, width: int) -> list[RenderableType]:
    idle = worker.experiment is None
    board = outside(worker.board.removeprefix("NVIDIA "), "dim" if not wide else "")
    model = outside(short_model(worker.model) if worker.model else "")
    experiment = outside(_end_of(worker.experiment or "", width), "" if wide else "dim")
    name = outside(worker.name)
    texts = [name, board, model, experiment] if wide else [_two(name, board), _two(model, experiment)]
    return [
        *texts,
        Text(worker.phase.value, "dim" if idle else _phase_style(worker.phase)),
        *([Text("" if idle else duration(worker.active_s), "dim")] if wide else []),
        Text(UNKNOWN if worker.power_w is None else f"{worker.power_w:,.0f} W"),
        Text(UNKNOWN if worker.temperature_c is None else f"{worker.temperature_c:.0f} °C"),
    ]


def _two(first: Text, second: Text) -> Text:
    return Text("\n").join([first, second])


def _phase_style(phase: Phase) -> str:
    return "green" if phase in (Phase.PREFILL, Phase.DECODE) else "cyan"


def _failures(notes: tuple[FailureNote, ...]) -> list[Text]:
    return [
        Text.assemble(
            ("failed ", "bold red"),
            outside(f"{note.experiment} ({note.stage}): {note.message}"),
            no_wrap=True,
            overflow="ellipsis",
        )
        for note in notes
    ]
