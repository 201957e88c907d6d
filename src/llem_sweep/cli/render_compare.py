"""Two sweeps held against each other, as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from llem_sweep.cli.escape import outside
from llem_sweep.cli.render_footprint import rates_report
from llem_sweep.cli.render_summary import WIDE
from llem_sweep.cli.wording import UNKNOWN, count
from llem_sweep.report.compare import boards_words, difference, kind_words
from llem_sweep.report.footprint import footprint, scaled
from llem_sweep.report.rounding import rounded

if TYPE_CHECKING:
    from llem_sweep.report.compare import Comparison, Difference, Pair
    from llem_sweep.report.footprint import Rates
    from llem_sweep.report.points import Figure

SHOWN = 10
"""Configurations listed that aren't compared, unless everything is asked for."""
_PER_TOKENS = 1e6
_LEGEND = """\
Tokens are output tokens. ± are half-widths of 95 % intervals, those of a change both sides' in quadrature; nothing
bounds a rate of one cycle. No difference is shown where the interval of the change holds 0. The boards' own gain
error isn't in them: it comes on top."""


def compare_report(
    found: Comparison, a: str, b: str, width: int, rates: Rates | None = None, *, verbose: bool = False
) -> Iterator[RenderableType]:
    """Every configuration that ``a`` and ``b`` have in common, then what isn't compared, and why; for a terminal
    ``width`` wide."""
    yield outside(f"A  {a}", "bold")
    yield outside(f"B  {b}", "bold")
    for name, (of_a, of_b) in found.by_design.items():
        yield outside(f"throughout: {name} is {_value(of_a)} in A, {_value(of_b)} in B")
    yield Text(_LEGEND, "dim")
    for pair in found.pairs:
        yield from _pair(pair, rates, wide=width >= WIDE)
    if rates is not None:
        yield Text("\nCarbon and cost, apart from the measured energy", "bold")
        yield from rates_report(rates)
    refused = [f"{pair.label}: {_words(pair)}" for pair in found.refused]
    yield from _listed("Not compared, since they aren't alike (see --across)", refused, verbose)
    yield from _listed("Only in A", found.only_a, verbose)
    yield from _listed("Only in B", found.only_b, verbose)
    yield Text(f"\n{count(len(found.pairs), 'configuration')} compared", "bold")


def _pair(pair: Pair, rates: Rates | None, *, wide: bool) -> Iterator[RenderableType]:
    cycles = " and ".join(count(len(side.rows), "cycle") for side in (pair.a, pair.b))
    yield Text.assemble("\n", outside(pair.label, "bold"), outside(f"  {cycles}, on {_where(pair)}", "dim"))
    for words in pair.crossings.values():
        yield outside(f"  unlike: {words}", "yellow")
    unmeasured = {kind_words(side) for side in (pair.a, pair.b)} - {"measured"}
    if unmeasured:
        yield Text(f"  {' and '.join(sorted(unmeasured))}: no measurement", "bold yellow")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for header in ("", "A", "B", *(("change",) if wide else ()), "change in %", ""):
        table.add_column(header, overflow="fold")
    rows = [
        ("J/token", pair.energy_per_token_j, ("B less", "B more")),
        ("tokens/s", pair.tokens_per_second, ("B slower", "B faster")),
        ("J/window", pair.energy_j, ("B less", "B more")),
    ]
    rows += [(name, change, ("B less", "B more")) for name, change in _apart(pair, rates)]
    for name, of, verdicts in rows:
        change = [_change(of.change)] if wide else []
        table.add_row(
            outside(name),
            _figure(of.a),
            _figure(of.b),
            *change,
            _change(of.change_pct),
            _verdict(of, *verdicts),
        )
    yield Padding(table, (0, 0, 0, 2))
    if pair.energy_j.a is None and pair.a.energy_j is not None and pair.b.energy_j is not None:
        yield Text("  The windows hold other work, so that their energies aren't compared.", "dim")


def _apart(pair: Pair, rates: Rates | None) -> Iterator[tuple[str, Difference]]:
    """Carbon and cost of a million tokens."""
    if rates is None:
        return
    a, b = (
        footprint(scaled(each, _PER_TOKENS), rates) if each is not None else None
        for each in (pair.a.energy_per_token_j, pair.b.energy_per_token_j)
    )
    if rates.intensity is not None:
        yield "gCO2e/Mtoken", difference(a and a.carbon_g, b and b.carbon_g)
    if rates.price is not None:
        yield f"{rates.price.currency}/Mtoken", difference(a and a.cost, b and b.cost)


def _verdict(of: Difference, less: str, more: str) -> Text:
    if of.change is None:
        return Text("")
    if of.shown is None:
        return Text("not bounded", "dim")
    if not of.shown:
        return Text("none shown", "dim")
    return Text(more if of.change.value > 0 else less, "bold")


def _figure(figure: Figure | None) -> Text:
    return Text(UNKNOWN if figure is None else rounded(figure).joined())


def _change(figure: Figure | None) -> Text:
    if figure is None:
        return Text(UNKNOWN)
    digits = rounded(figure)
    plus = "" if digits.value.startswith("-") or float(digits.value) == 0 else "+"
    return Text(digits._replace(value=plus + digits.value).joined())


def _where(pair: Pair) -> str:
    boards = dict.fromkeys(boards_words(side) for side in (pair.a, pair.b))
    return " and ".join(boards)


def _words(pair: Pair) -> str:
    return "; ".join(pair.crossings.values())


def _value(value: object) -> str:
    return "null" if value is None else str(value)


def _listed(title: str, labels: Sequence[str], verbose: bool) -> Iterator[Text]:
    if not labels:
        return
    yield Text(f"\n{title}", "bold")
    shown = labels if verbose else labels[:SHOWN]
    yield from (outside(f"  {label}") for label in shown)
    if len(labels) > len(shown):
        yield Text(f"  {len(labels) - len(shown):,} more; -v shows them", "dim")
