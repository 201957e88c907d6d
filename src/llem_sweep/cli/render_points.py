"""The configurations of a finished sweep as tables: one for each kind of boards, least energy per token first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from llem_sweep.cli.colours import DOUBT, GOOD, HEADER
from llem_sweep.cli.escape import outside, printable
from llem_sweep.cli.wording import UNKNOWN, energy, percent, significant
from llem_sweep.report.points import Figure, Kind, Point, best_of_each_model, pareto_front, points

HEAD, TAIL = 40, 10
"""Configurations shown of a longer table, from its start and its end."""
FRONT_SHOWN = 10
BEST, AS_GOOD, FRONT = "*", "≈", "P"
_ON = {
    "measured": "Measured",
    "simulated": "Simulated",
    "synthetic": "Made by the synthetic backend, which computes nothing,",
    "off-board": "Computed off the board that was metered,",
}

Row = Mapping[str, Any]
Name = Callable[[Row], str]
"""What distinguishes the configuration of a row."""


class _Figures(NamedTuple):
    """One line of a table."""

    name: str
    cycles: str
    energy_per_token_j: Figure | None
    tokens_per_second: Figure
    energy_j: Figure | None
    adjusted_j: Figure | None
    warnings: Text


def configuration_tables(
    rows: Sequence[Row], name: Name, *, wide: bool, verbose: bool
) -> Iterator[RenderableType]:
    """A table for each kind of boards that completed ``rows`` ran on, what stands out in it said below.

    Long tables are cut in the middle, and say so, unless ``verbose``, which shows every cycle as well.
    """
    planned = Counter(row["measurement_config_hash"] for row in rows)
    found = points(rows)
    for kind in dict.fromkeys(each.kind for each in found):
        alike = sorted((each for each in found if each.kind == kind), key=_by_energy)
        yield Text(f"\n{_title(kind)}", "bold" if marks_of(kind) == "measured" else f"bold {DOUBT}")
        marks = _marks(alike) if len(alike) > 1 else {}
        yield _table(alike, marks, planned, name, wide=wide, verbose=verbose)
        if marks:
            yield from _explained(alike, marks, name, verbose=verbose)


def marks_of(kind: Kind) -> str:
    """How far a number is a measurement, in words."""
    return marks_in_words(kind.measured_on, simulated=kind.simulated)


def marks_in_words(measured_on: str, *, simulated: bool) -> str:
    """The same of a result's own fields."""
    words = "measured" if measured_on == "board" else measured_on
    return f"{words}, simulated" if simulated and words != "simulated" else words


def _title(kind: Kind) -> str:
    boards = " and ".join(f"{number} × {board}" for board, number in Counter(kind.boards).items())
    first, _, simulated = marks_of(kind).partition(", ")
    on = printable(boards) or "no board"
    if simulated and "simulated" not in on.lower():
        on += " (simulated)"
    return f"{_ON[first]} on {on}" + ("" if first == "measured" else ": no measurement")


def _by_energy(each: Point) -> tuple[bool, float, float]:
    known = each.energy_per_token_j
    return known is None, known.value if known else 0.0, -each.tokens_per_second.value


def _marks(alike: Sequence[Point]) -> dict[str, str]:
    """By configuration: the best of its model, what can't be told from that, and what is on the front."""
    front = {each.config_hash for each in pareto_front(alike)}
    best = {model: each for (model, _), each in best_of_each_model(alike).items()}
    found = {}
    for each in alike:
        first = best.get(each.model)
        mark = BEST if each is first else AS_GOOD if first and _as_good(each, first) else " "
        found[each.config_hash] = mark + (FRONT if each.config_hash in front else " ")
    return found if best else {}


def _as_good(each: Point, best: Point) -> bool:
    one, other = each.energy_per_token_j, best.energy_per_token_j
    return one is not None and other is not None and one.low <= other.high


def _table(
    alike: Sequence[Point],
    marks: Mapping[str, str],
    planned: Mapping[str, int],
    name: Name,
    *,
    wide: bool,
    verbose: bool,
) -> Table:
    several_cycles = any(planned[each.config_hash] > 1 for each in alike)
    words = marks_of(alike[0].kind)
    columns = _Columns(bool(marks), several_cycles, wide, words if words != "measured" else None)
    table = columns.table(verbose=verbose)
    cut = not verbose and len(alike) > HEAD + TAIL
    for number, each in enumerate(alike):
        if cut and HEAD <= number < len(alike) - TAIL:
            continue
        if cut and number == len(alike) - TAIL:
            more = f"… {len(alike) - HEAD - TAIL:,} more; -v shows them"
            table.add_row(*([""] if marks else []), Text(more))
        listed = verbose and not several_cycles
        of = planned[each.config_hash]
        cycles = f"{len(each.rows):,}" if len(each.rows) == of else f"{len(each.rows):,} of {of:,}"
        mark = marks.get(each.config_hash, "")
        columns.add(table, mark, _of_point(each, name(each.rows[0]), cycles, listed=listed))
        if verbose and several_cycles:
            for row in each.rows:
                columns.add(table, "", _of_cycle(row))
    return table


class _Columns(NamedTuple):
    """Which columns a table has beyond those that all have."""

    marked: bool
    several_cycles: bool
    wide: bool
    kind: str | None
    """Said in every line where it is no measurement."""

    def table(self, *, verbose: bool) -> Table:
        """One without lines."""
        wide = self.wide
        table = Table(box=None, pad_edge=False, padding=(0, 2 if wide else 1, 0, 0), header_style=HEADER)
        if self.marked:
            table.add_column("", no_wrap=True)
        table.add_column("configuration", overflow="fold", min_width=14)
        headers = ["cycles"] * self.several_cycles + ["J/token", "±", "tokens/s"]
        headers += ["±"] * (self.several_cycles and wide) + ["energy", "adjusted"]
        for header in headers:
            table.add_column(header, justify="right", no_wrap=True)
        table.add_column("warn", justify="left" if verbose else "right", overflow="fold")
        if self.kind:
            table.add_column("kind", overflow="fold", min_width=9)
        return table

    def add(self, table: Table, mark: str, line: _Figures) -> None:
        """A line of ``table``."""
        rate = line.tokens_per_second
        table.add_row(
            *([Text(mark, f"bold {GOOD}")] if self.marked else []),
            outside(line.name),
            *([line.cycles] if self.several_cycles else []),
            significant(_value(line.energy_per_token_j)),
            _bound(line.energy_per_token_j),
            significant(rate.value),
            *([_bound(rate)] if self.several_cycles and self.wide else []),
            energy(_value(line.energy_j)),
            energy(_value(line.adjusted_j)),
            line.warnings,
            *([Text(self.kind if self.wide else self.kind.replace(",", ""), DOUBT)] if self.kind else []),
        )


def _of_point(each: Point, name: str, cycles: str, *, listed: bool) -> _Figures:
    codes = dict.fromkeys(code for row in each.rows for code in row["warnings"] or [])
    warnings = ", ".join(codes) if listed else str(len(codes) or "")
    return _Figures(
        name,
        cycles,
        each.energy_per_token_j,
        each.tokens_per_second,
        each.energy_j,
        each.adjusted_j,
        outside(warnings, DOUBT),
    )


def _of_cycle(row: Row) -> _Figures:
    [alone] = points([row])
    return _of_point(alone, f"  cycle {row['cycle']}", "", listed=True)


def _value(figure: Figure | None) -> float | None:
    return figure.value if figure is not None else None


def _bound(figure: Figure | None) -> str:
    return UNKNOWN if figure is None else percent(figure.half_width, figure.value)


def _explained(
    alike: Sequence[Point], marks: Mapping[str, str], name: Name, *, verbose: bool
) -> Iterator[Text]:
    """What the marks mean, and the Pareto front by name."""
    as_good = any(mark.startswith(AS_GOOD) for mark in marks.values())
    same = f"; {AS_GOOD} as good within the bounds" if as_good else ""
    yield Text(f"{BEST} least energy per token of its model{same}")
    front = pareto_front(alike)
    yield Text(f"{FRONT} Pareto front: none is as fast for less energy, or faster for as much")
    shown = front if verbose else front[:FRONT_SHOWN]
    for each in shown:
        joules, rate = significant(_value(each.energy_per_token_j)), significant(each.tokens_per_second.value)
        yield outside(f"  {joules} J/token at {rate} tokens/s: {name(each.rows[0])}")
    if len(front) > len(shown):
        yield Text(f"  {len(front) - len(shown):,} more; -v shows them")
