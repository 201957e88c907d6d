"""The carbon intensity of countries' grids, from the table that the package codecarbon brings.

The table is read as a file of the installed distribution: importing the package would load pandas and more, and
nothing of it is needed.
"""

from __future__ import annotations

import difflib
import json
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Any, NamedTuple

from llem_sweep.errors import ConfigError, EnvironmentUnfitError

PACKAGE = "codecarbon"
TABLE = "codecarbon/data/private_infra/global_energy_mix.json"
_NEAR = 3


class GridIntensity(NamedTuple):
    """Carbon emitted per energy drawn from a grid."""

    g_per_kwh: float
    """gCO2e per kWh."""
    source: str
    """Where the number is from, in words: package, version, licence, table, country and year."""


def intensity_of_country(code: str) -> GridIntensity:
    """The yearly mean of the country with the ISO 3166-1 alpha-3 ``code``, the latest in the table.

    Raises ConfigError for a country that isn't in it, EnvironmentUnfitError where the table isn't installed.
    """
    try:
        package = distribution(PACKAGE)
    except PackageNotFoundError as exc:
        raise EnvironmentUnfitError(
            f"--grid-intensity {code}: the table of countries comes with the carbon extra; install it with"
            " pip install 'llem-sweep[carbon]', or give a number in gCO2e per kWh"
        ) from exc
    countries = _countries(package)
    found = countries.get(code.upper())
    if found is None:
        raise ConfigError(
            f"--grid-intensity {code}: no country in the table of {PACKAGE} {package.version} has this"
            f" ISO 3166-1 alpha-3 code{_near(code, countries)}"
        )
    licence = package.metadata["License-Expression"] or package.metadata["License"] or "licence not stated"
    source = (
        f"{found['country_name']} in {found['year']}, yearly mean, from {PACKAGE} {package.version} ({licence}),"
        f" {TABLE.rpartition('/')[2]}, whose data its project says are Our World in Data's"
    )
    return GridIntensity(float(found["carbon_intensity"]), source)


def _countries(package: Distribution) -> dict[str, Any]:
    file = package.locate_file(TABLE)
    try:
        with open(str(file), encoding="utf-8") as content:
            countries: dict[str, Any] = json.load(content)
    except (OSError, ValueError) as exc:
        raise EnvironmentUnfitError(
            f"the table of countries of {PACKAGE} {package.version} can't be read: {exc}; give --grid-intensity"
            " as a number in gCO2e per kWh"
        ) from exc
    needed = {"country_name", "year", "carbon_intensity"}
    return {code: each for code, each in countries.items() if needed <= each.keys()}


def _near(code: str, countries: dict[str, Any]) -> str:
    """Codes that may have been meant: alike, or of a country with such a name."""
    names = {each["country_name"].upper(): key for key, each in countries.items()}
    wanted = code.upper()
    begin = [key for key in countries if key.startswith(wanted)]
    begin += [key for name, key in names.items() if name.startswith(wanted)]
    close = difflib.get_close_matches(wanted, countries, n=_NEAR)
    named = [names[name] for name in difflib.get_close_matches(wanted, names, n=_NEAR)]
    found = list(dict.fromkeys([*begin, *named, *close]))[:_NEAR]
    if not found:
        return ""
    return "; near ones: " + ", ".join(f"{key} ({countries[key]['country_name']})" for key in found)
