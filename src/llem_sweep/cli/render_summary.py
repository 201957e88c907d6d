"""A finished sweep as printed: one row a configuration, then what went wrong, and the energy of every board."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from llem_sweep.cli.colours import BAD, DOUBT, HEADER
from llem_sweep.cli.escape import outside
from llem_sweep.cli.listing import refused_experiments, skipped_points
from llem_sweep.cli.render_points import Name, Row, configuration_tables, marks_in_words, marks_of
from llem_sweep.cli.wording import UNKNOWN, count, duration, energy, percent, short_model
from llem_sweep.plan.values import point
from llem_sweep.report.points import CONFIG, kind_of
from llem_sweep.store.uri import inside

if TYPE_CHECKING:
    from llem_sweep.drawing import Drawn
    from llem_sweep.plan.efficiency import Efficiency
    from llem_sweep.report.summary import BoardEnergy
    from llem_sweep.sweep import SweepResult

WIDE = 110
"""Columns of a terminal from which tables are laid out generously."""
FAILURES_SHOWN = 10
PENDING_SHOWN = 10
MESSAGE_LINES = 4
_LEGEND = """\
Tokens are output tokens; adjusted is the energy without the boards' idle power.
± bounds the figure before it at 95 % coverage, of several cycles with their
spread; the boards' own gain error comes on top."""
_NO_MEASUREMENT = {
    "simulated": "on SIMULATED boards",
    "synthetic": "on the SYNTHETIC backend, which computes nothing",
    "off-board": "computed OFF the board that was metered",
}


def summary_report(result: SweepResult, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
    """Everything worth saying about ``result`` on a terminal ``width`` wide; its paths come last.

    Long tables are cut in the middle, and say so, unless ``verbose``.
    """
    rows: list[Row] = result.table.to_pylist()
    yield Text()
    yield from _reservations(rows)
    name = _namer(rows)
    if any(row["status"] == "completed" for row in rows):
        yield Text(_LEGEND)
        yield from configuration_tables(rows, name, wide=width >= WIDE, verbose=verbose)
    yield from _failures([row for row in rows if row["status"] == "failed"], result.place, verbose)
    yield from refused_experiments(result.refused, verbose=verbose)
    yield from skipped_points(result.skipped, verbose=verbose)
    yield from _pending([row for row in rows if row["status"] == "pending"], name, verbose)
    if result.boards:
        yield Text("\nEnergy of each board over all measured windows", "bold")
        yield board_table(result.boards, wide=width >= WIDE)
    yield from _doubts(rows)
    for warning in result.warnings:
        yield outside(f"warning: {warning}", DOUBT)
    yield Text()
    yield headline(result)
    if result.efficiency is not None:
        yield _efficiency(result.efficiency)
    yield from _publishable(rows, result)
    if result.failed:
        yield Text("Failed experiments stay so on --resume; remove one's folder to run it again.")
    if result.interrupted:
        yield outside(f"Run the rest with: llem-sweep --resume {shlex.quote(result.place)}")
    if result.figures is not None:
        yield from _figures(result.figures)
    if result.report is not None:
        yield outside(f"report: {inside(result.uri, result.report.name) if result.uri else result.report}")
    yield outside(result.place)


def _figures(drawn: Drawn) -> Iterator[Text]:
    """Where figures are, and which there aren't."""
    for each in drawn.left_out:
        yield outside(f"Not drawn: {each.name}: {each.reason}", "yellow")
    yield outside(f"Figures: {count(len(drawn.files), 'file')} in {drawn.folder}")


def _publishable(rows: Sequence[Row], result: SweepResult) -> Iterator[Text]:
    """How many results may be published, where any was measured; which had to be and may not."""
    verdicts = [row["verdict.publishable"] for row in rows if row["status"] == "completed"]
    if any(row["measured_on"] == "board" for row in rows):
        yield Text(f"{verdicts.count(True):,} of {count(len(verdicts), 'result')} publishable")
    if result.unpublishable:
        number = count(len(result.unpublishable), "result")
        yield Text(f"{number} not publishable, as required; llem-sweep verify says why:", f"bold {BAD}")
        yield from (outside(f"  {name}") for name in result.unpublishable)


def _efficiency(reached: Efficiency) -> Text:
    """How near this run came to the least time that the same durations and loads could have taken."""
    least = f", the worker least used {percent(reached.least_busy_share, 1.0)}" if reached.boards > 1 else ""
    return Text(
        f"Took {duration(reached.wall_s)}, at best {duration(reached.bound_s)}"
        f" (efficiency {percent(reached.share, 1.0)}); {count(reached.loads, 'load')};"
        f" busy {percent(reached.busy_share, 1.0)} of the time{least}"
    )


def headline(result: SweepResult) -> Text:
    """One line, for example ``7 of 8 experiments completed, 1 failed``."""
    rows: list[Row] = result.table.to_pylist()
    parts = [f"{result.completed:,} of {count(len(rows), 'experiment')} completed"]
    for status, style in (("failed", "failed"), ("refused", "refused"), ("pending", "not run yet")):
        if number := sum(1 for row in rows if row["status"] == status):
            parts.append(f"{number:,} {style}")
    if result.skipped:
        parts.append(f"{count(len(result.skipped), 'point')} skipped")
    return Text(("Interrupted: " if result.interrupted else "") + ", ".join(parts), "bold")


def board_table(boards: Sequence[BoardEnergy], *, wide: bool) -> Table:
    """One line a board, by node and UUID."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=HEADER)
    table.add_column("node", overflow="fold")
    table.add_column("board", overflow="fold")
    if wide:
        table.add_column("UUID", no_wrap=True)
    table.add_column("experiments", justify="right")
    table.add_column("energy", justify="right", no_wrap=True)
    for board in boards:
        marks = marks_in_words(board.measured_on, simulated=board.simulated)
        named = (
            board.name
            if "simulated" in board.name.lower() and marks == "simulated"
            else f"{board.name} ({marks})"
        )
        name = outside(board.name if marks == "measured" else named)
        uuid = outside(board.uuid)
        unknown = f" and {board.unknown:,} unknown" if board.unknown else ""
        table.add_row(
            outside(board.node),
            *((name, uuid) if wide else (Text("\n").join([name, uuid]),)),
            f"{board.experiments:,}{unknown}",
            energy(board.energy_j),
        )
    return table


def _reservations(rows: Sequence[Row]) -> Iterator[Text]:
    """What of the table is no measurement, in words."""
    completed = [row for row in rows if row["status"] == "completed"]
    for kind, words in _NO_MEASUREMENT.items():
        number = sum(1 for row in completed if kind in marks_of(kind_of(row)))
        if number:
            which = (
                "All numbers were made" if number == len(completed) else f"{count(number, 'experiment')} ran"
            )
            yield Text(f"{which} {words}: no measurement", f"bold {DOUBT}")


def _namer(rows: Sequence[Row]) -> Name:
    """Names configurations so that no two are called the same."""
    models = {row["model"] for row in rows}
    ambiguous = len({short_model(model) for model in models}) < len(models)

    def name(row: Row) -> str:
        model = row["model"] if ambiguous else short_model(row["model"])
        varied = _varied(row)
        parts = [model] if len(models) > 1 or not varied else []
        return " ".join([*parts, point(varied)] if varied else parts)

    return name


def _varied(row: Row) -> dict[str, object]:
    return {
        name.removeprefix(CONFIG): value
        for name, value in row.items()
        if name.startswith(CONFIG) and value is not None
    }


def _pending(waiting: Sequence[Row], name: Name, verbose: bool) -> Iterator[Text]:
    if not waiting:
        return
    cycles: dict[str, list[Row]] = {}
    for row in waiting:
        cycles.setdefault(name(row), []).append(row)
    yield Text("\nNot run yet", "bold")
    shown = list(cycles.items()) if verbose else list(cycles.items())[:PENDING_SHOWN]
    for each, rows in shown:
        yield outside(f"  {each}{_cycles(rows)}")
    if len(cycles) > len(shown):
        yield Text(f"  {len(cycles) - len(shown):,} more; -v shows them")


def _failures(failed: Sequence[Row], place: str, verbose: bool) -> Iterator[RenderableType]:
    """Each configuration that failed, its cycles together where they failed alike, with the latest's folder."""
    if not failed:
        return
    yield Text("\nFailed", f"bold {BAD}")
    alike: dict[tuple[str, str, str], list[Row]] = {}
    for row in failed:
        name = " ".join(filter(None, (short_model(row["model"]), point(_varied(row)))))
        where = f"{row['failure_stage'] or 'unknown stage'}, {row['failure_kind'] or 'unknown'}"
        alike.setdefault((name, where, row["failure_message"] or "no message"), []).append(row)
    shown = list(alike.items()) if verbose else list(alike.items())[:FAILURES_SHOWN]
    for (name, where, message), rows in shown:
        yield outside(f"  {name}{_cycles(rows)}: {where}")
        lines = message.strip().splitlines() or ["no message"]
        for line in lines if verbose else lines[:MESSAGE_LINES]:
            yield outside(f"    {line}")
        folders = [row["folder"] for row in rows if row["folder"]]
        for folder in folders if verbose else folders[-1:]:
            yield outside(f"    {inside(place, folder, 'failure.json')}")
    left = len(failed) - sum(len(rows) for _, rows in shown)
    if left:
        yield Text(f"  {left:,} more failed; -v shows them")


def _cycles(rows: Sequence[Row]) -> str:
    """Which cycles ``rows`` are, where that isn't the first alone."""
    numbers = [row["cycle"] for row in rows]
    if numbers == [1]:
        return ""
    return f" cycle {numbers[0]}" if len(numbers) == 1 else f" cycles {', '.join(map(str, numbers))}"


def _doubts(rows: Sequence[Row]) -> Iterator[RenderableType]:
    """Every kind of warning once, with how many experiments have it and what to do about it."""
    from llem_sweep.results.warnings import REMEDIES

    numbers = Counter(code for row in rows for code in row["warnings"] or [])
    if not numbers:
        return
    remedies = {code.value: remedy for code, remedy in REMEDIES.items()}
    yield Text("\nWarnings", f"bold {DOUBT}")
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right")
    table.add_column(no_wrap=True)
    table.add_column()
    for code, number in numbers.items():
        table.add_row(f"{number:,} ×", outside(code), outside(remedies.get(code, UNKNOWN)))
    yield Padding(table, (0, 0, 0, 2))
