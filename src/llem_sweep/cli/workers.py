"""The workers of a sweep under way: one line each on a wide terminal, two on a narrow one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.text import Text

from llem_sweep.cli.colours import GOOD, HEADER
from llem_sweep.cli.escape import printable
from llem_sweep.cli.wording import UNKNOWN, duration, phase_name, short_model, significant
from llem_sweep.execution.progress import STARTING, WorkerState
from llem_sweep.phases import Phase

WIDE = 120
"""Columns from which a worker has one line instead of two."""
_GAP = 2
_MEASURING = (Phase.PREFILL, Phase.DECODE)


class _Column(NamedTuple):
    header: str
    width: int = 0
    """Characters; 0 for a part of what the others leave."""
    parts: int = 0
    right: bool = False


_PHASE, _RATE, _TIME = "measure: prefill", "tokens/s", "12 min 34 s"
_POWER, _TEMPERATURE = "12,345 W", "100 °C"
_ONE_LINE = (
    _Column("worker", parts=4),
    _Column("board", parts=4),
    _Column("model", parts=5),
    _Column("experiment", parts=6),
    _Column("phase", len(_PHASE)),
    _Column("time", len(_TIME), right=True),
    _Column("tokens/s", len(_RATE), right=True),
    _Column("power", len(_POWER), right=True),
    _Column("temp", len(_TEMPERATURE), right=True),
)
_TWO_LINES = (
    _Column("worker", parts=3),
    _Column("model", parts=5),
    _Column("phase", len("baseline")),
    _Column("tokens/s", len(_TIME), right=True),
    _Column("power", len(_POWER), right=True),
)


class Layout(NamedTuple):
    """Columns and their widths on a terminal."""

    columns: tuple[_Column, ...]
    lines: int
    """Of each worker."""

    @classmethod
    def of(cls, width: int, workers: Sequence[WorkerState]) -> Layout:
        """What fits on ``width`` characters: names have what they need, at most their part of it, and what
        distinguishes experiments has the rest."""
        columns = _ONE_LINE if width >= WIDE else _TWO_LINES
        left = max(len(columns), width - sum(each.width for each in columns) - _GAP * (len(columns) - 1))
        parts = sum(column.parts for column in columns)
        names = [_names(worker) for worker in workers]
        widths = [column.width or left * column.parts // parts for column in columns]
        last = 3 if columns is _ONE_LINE else 1
        for place in range(last):
            held = [(each[place],) if columns is _ONE_LINE else each[:2] for each in names]
            needed = max((cell_len(name) for pair in held for name in pair), default=0)
            widths[place] = min(widths[place], max(needed, len(columns[place].header)))
        widths[last] = left - sum(widths[:last])
        given = (column._replace(width=max(1, each)) for column, each in zip(columns, widths, strict=True))
        return cls(tuple(given), 1 if columns is _ONE_LINE else 2)

    @property
    def experiment_width(self) -> int:
        """Of what distinguishes experiments."""
        return self.columns[3 if self.lines == 1 else 1].width


def worker_lines(workers: Sequence[WorkerState], layout: Layout, room: int) -> list[Text]:
    """A head and the workers in at most ``room`` lines, the last of which then counts those left out."""
    if room < 1:
        return []
    fitting = (room - 1) // layout.lines
    if len(workers) > fitting:
        # A line for the count of the rest.
        fitting = max(0, room - 2) // layout.lines
    lines = [_line(layout, [column.header for column in layout.columns], [HEADER] * len(layout.columns))]
    for worker in workers[:fitting]:
        lines += _one_line(worker, layout) if layout.lines == 1 else _two_lines(worker, layout)
    if left_out := workers[fitting:]:
        busy = sum(1 for worker in left_out if worker.experiment is not None)
        number = f"{len(left_out):,} more" if fitting else f"{len(left_out):,} workers"
        lines.append(Text(f"{number}, {busy:,} busy"))
    return lines[:room] if room > 1 else lines[-1:]


def _one_line(worker: WorkerState, layout: Layout) -> list[Text]:
    phase = ": ".join(filter(None, _phase(worker)))
    *names, experiment = _names(worker)
    shown = end_of(experiment, layout.experiment_width)
    cells = [*names, shown, phase, _time(worker), _rate(worker), _power(worker), _heat(worker)]
    return [_line(layout, cells, _styles(worker, layout))]


def _two_lines(worker: WorkerState, layout: Layout) -> list[Text]:
    name, board, model, experiment = _names(worker)
    shown = end_of(experiment, layout.experiment_width)
    phase, part = _phase(worker)
    styles = _styles(worker, layout)
    return [
        _line(layout, [name, model, phase, _rate(worker), _power(worker)], styles),
        _line(layout, [board, shown, part, _time(worker), _heat(worker)], styles),
    ]


def _names(worker: WorkerState) -> tuple[str, str, str, str]:
    """Worker, board, model and experiment."""
    board = UNKNOWN if worker.board == STARTING else worker.board.removeprefix("NVIDIA ")
    model = short_model(worker.model) if worker.model else ""
    return printable(worker.name), printable(board), printable(model), printable(worker.experiment or "")


def _phase(worker: WorkerState) -> tuple[str, str]:
    """The phase, and which part of it where it has any."""
    return phase_name(worker), worker.phase.value if worker.phase in _MEASURING else ""


def _time(worker: WorkerState) -> str:
    return duration(worker.active_s) if worker.experiment is not None else ""


def _rate(worker: WorkerState) -> str:
    if worker.experiment is None:
        return ""
    return significant(worker.tokens_per_s)


def _power(worker: WorkerState) -> str:
    return UNKNOWN if worker.power_w is None else f"{worker.power_w:,.0f} W"


def _heat(worker: WorkerState) -> str:
    return UNKNOWN if worker.temperature_c is None else f"{worker.temperature_c:.0f} °C"


def _styles(worker: WorkerState, layout: Layout) -> list[str]:
    measuring = worker.phase in _MEASURING
    return [GOOD if column.header == "phase" and measuring else "" for column in layout.columns]


def _line(layout: Layout, cells: Sequence[str], styles: Sequence[str]) -> Text:
    line = Text()
    for number, (column, cell, style) in enumerate(zip(layout.columns, cells, styles, strict=True)):
        shown = Text(cell, style)
        shown.truncate(column.width, overflow="ellipsis")
        padding = " " * (column.width - shown.cell_len)
        line.append(" " * _GAP if number else "")
        line.append(padding if column.right else "").append_text(shown)
        line.append("" if column.right else padding)
    return line


def end_of(text: str, width: int) -> str:
    """The end of a name that takes more than ``width`` columns of a terminal; a wide character takes two.

    What varies fastest, and so tells neighbours apart, stands last.
    """
    if cell_len(text) <= width:
        return text
    start, used = len(text), 1
    while start and used + cell_len(text[start - 1]) <= width:
        start -= 1
        used += cell_len(text[start])
    return "…" + text[start:]
