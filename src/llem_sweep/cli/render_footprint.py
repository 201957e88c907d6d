"""Carbon and cost as text, apart from the energy measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from llem_sweep.cli.escape import outside
from llem_sweep.cli.wording import count
from llem_sweep.report.rounding import rounded

if TYPE_CHECKING:
    from llem_sweep.report.footprint import Rates, Total
    from llem_sweep.report.points import Figure

_KINDS = {
    "board": "Measured",
    "off-board": "OFF the board that was metered, no measurement",
    "simulated": "SIMULATED boards, no measurement",
    "synthetic": "SYNTHETIC backend, no measurement",
}


def footprint_report(totals: Sequence[Total], rates: Rates) -> Iterator[RenderableType]:
    """What the energy of a sweep comes to, each kind of measurement by itself."""
    yield Text("\nCarbon and cost, apart from the measured energy", "bold")
    if not totals:
        yield Text("  no experiment's energy is known")
    for total in totals:
        yield outside(f"  {_kind(total)}: {count(total.experiments, 'experiment')}{_unknown(total)}")
        table = Table.grid(padding=(0, 2, 0, 0))
        for name, figure, unit in _lines(total, rates):
            table.add_row(name, f"{rounded(figure).joined()} {unit}")
        yield Padding(table, (0, 0, 0, 4))
    yield from rates_report(rates)


def rates_report(rates: Rates) -> Iterator[Text]:
    """Where the rates are from."""
    yield from (outside(f"  {words}", "dim") for words in rates.words)


def _kind(total: Total) -> str:
    kind = _KINDS[total.measured_on]
    if total.simulated and total.measured_on != "simulated":
        kind = f"SIMULATED boards, {kind}"
    return kind


def _unknown(total: Total) -> str:
    return f", and {total.unknown:,} whose energy isn't known" if total.unknown else ""


def _lines(total: Total, rates: Rates) -> Iterator[tuple[str, Figure, str]]:
    found = total.footprint
    yield "energy of the boards", total.energy_j, "J"
    yield "electricity", found.electricity_kwh, "kWh"
    if found.carbon_g is not None:
        yield "carbon", found.carbon_g, "gCO2e"
    if found.cost is not None and rates.price is not None:
        yield "cost", found.cost, rates.price.currency
