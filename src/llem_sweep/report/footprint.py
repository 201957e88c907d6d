"""Carbon and cost of measured energy: what follows from figures that aren't measured here, kept apart from it.

Nothing of this is stored with results. The formulas, with the energy E in J:

    electricity      = E · PUE / 3.6e6            kWh
    carbon           = electricity · intensity    gCO2e, intensity in gCO2e/kWh
    cost             = electricity · price        price per kWh

Bounds are multiplied alike: they are the energy's alone. How far off PUE, intensity and price are isn't known.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

from llem_sweep.errors import ConfigError, Problem
from llem_sweep.report.grid_intensity import GridIntensity, intensity_of_country
from llem_sweep.report.points import Figure, Row

J_PER_KWH = 3.6e6
_PRICE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]{3}|[€$£¥])", re.ASCII)


class Price(NamedTuple):
    """What electricity costs."""

    per_kwh: float
    currency: str
    """As the user wrote it: three letters, or a sign."""


class Rates(NamedTuple):
    """What turns energy into carbon and cost."""

    intensity: GridIntensity | None = None
    price: Price | None = None
    pue: float | None = None
    """Power usage effectiveness: all power of the building by that of its computers. None: not told, and 1."""

    @property
    def words(self) -> tuple[str, ...]:
        """Where each of them is from, and what isn't in them."""
        told = []
        if self.intensity is not None:
            told.append(f"{self.intensity.g_per_kwh:g} gCO2e/kWh: {self.intensity.source}")
        if self.price is not None:
            told.append(f"{self.price.per_kwh:g} {self.price.currency}/kWh: as given")
        told.append("PUE 1: none given" if self.pue is None else f"PUE {self.pue:g}: as given")
        told.append(
            "Of the boards' energy in the measured windows alone; bounds are the energy's, and how far off these"
            " rates are isn't known."
        )
        return tuple(told)


class Footprint(NamedTuple):
    """What an amount of energy comes to. Bounds are those of the energy."""

    electricity_kwh: Figure
    """Drawn from the grid: with PUE."""
    carbon_g: Figure | None
    """CO2 equivalents; None without an intensity."""
    cost: Figure | None
    """In the currency of the price; None without one."""


class Total(NamedTuple):
    """The energy of all results of one kind."""

    measured_on: str
    simulated: bool
    energy_j: Figure
    """Bounds added up: what a sensor's timing gets wrong once it may get wrong alike everywhere."""
    experiments: int
    unknown: int
    """Experiments whose energy isn't known, and isn't in the sum."""
    footprint: Footprint


def read_rates(intensity: str | None, price: str | None, pue: float | None) -> Rates | None:
    """Rates as written on a command line; None where none of them was.

    ``intensity`` is a number in gCO2e/kWh, or the code of a country (ISO 3166-1 alpha-3) to be looked up in the
    ``carbon`` extra. Raises ConfigError for everything wrong at once.
    """
    if intensity is None and price is None and pue is None:
        return None
    problems: list[Problem] = []
    if intensity is None and price is None:
        problems.append(Problem("--pue scales carbon and cost: give --grid-intensity or --price with it"))
    if pue is not None and not 1 <= pue < math.inf:
        problems.append(Problem(f"--pue {pue:g}: a PUE is 1 or more"))
    found = Rates(None, None, pue)
    for read, text in ((_intensity, intensity), (_price, price)):
        try:
            found = found if text is None else read(text, found)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return found


def footprint(energy_j: Figure, rates: Rates) -> Footprint:
    """Carbon and cost of ``energy_j``."""
    electricity = scaled(energy_j, (rates.pue or 1.0) / J_PER_KWH)
    return Footprint(
        electricity,
        None if rates.intensity is None else scaled(electricity, rates.intensity.g_per_kwh),
        None if rates.price is None else scaled(electricity, rates.price.per_kwh),
    )


def totals(rows: Iterable[Row], rates: Rates) -> tuple[Total, ...]:
    """Carbon and cost of the completed ones of ``rows``, each kind of measurement by itself."""
    kinds: dict[tuple[str, bool], list[Row]] = {}
    for row in rows:
        if row.get("status", "completed") == "completed":
            kinds.setdefault((row["measured_on"], bool(row["simulated"])), []).append(row)
    return tuple(_total(*kind, of, rates) for kind, of in kinds.items() if _known(of))


def scaled(figure: Figure, factor: float) -> Figure:
    """``figure`` and its bound times ``factor``."""
    half = figure.half_width
    return Figure(figure.value * factor, None if half is None else half * factor)


def _known(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["total_energy_j"] is not None]


def _total(measured_on: str, simulated: bool, rows: list[Row], rates: Rates) -> Total:
    known = _known(rows)
    bounds = [row["energy_uncertainty_j"] for row in known]
    half = None if any(each is None for each in bounds) else math.fsum(bounds)
    energy = Figure(math.fsum(row["total_energy_j"] for row in known), half)
    return Total(measured_on, simulated, energy, len(known), len(rows) - len(known), footprint(energy, rates))


def _intensity(text: str, rates: Rates) -> Rates:
    try:
        number = float(text)
    except ValueError:
        return rates._replace(intensity=intensity_of_country(text))
    if not 0 <= number < math.inf:
        raise ConfigError(f"--grid-intensity {text}: give gCO2e per kWh, 0 or more, or a country's code")
    return rates._replace(intensity=GridIntensity(number, "as given"))


def _price(text: str, rates: Rates) -> Rates:
    match = _PRICE.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f'--price {text}: give a price per kWh and its currency, for example "0.30 EUR"')
    return rates._replace(price=Price(float(match[1]), match[2]))
