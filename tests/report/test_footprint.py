"""Carbon and cost: formulas, bounds, rates as written, and the table of countries."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llem_sweep.errors import ConfigError, EnvironmentUnfitError
from llem_sweep.report.footprint import Price, Rates, footprint, read_rates, totals
from llem_sweep.report.grid_intensity import TABLE, GridIntensity, intensity_of_country
from llem_sweep.report.points import Figure
from report_rows import row

RATES = Rates(GridIntensity(400.0, "as given"), Price(0.25, "EUR"), 1.5)


def test_the_formulas() -> None:
    found = footprint(Figure(7.2e6, 3.6e5), RATES)
    assert found.electricity_kwh == pytest.approx((3.0, 0.15))
    assert found.carbon_g == pytest.approx((1200.0, 60.0))
    assert found.cost == pytest.approx((0.75, 0.0375))


def test_what_no_rate_is_given_for_is_unknown() -> None:
    found = footprint(Figure(3.6e6, None), Rates(GridIntensity(400.0, "as given")))
    assert found.carbon_g is not None
    assert (found.electricity_kwh.value, found.carbon_g.value) == pytest.approx((1.0, 400.0))
    assert (found.electricity_kwh.half_width, found.carbon_g.half_width) == (None, None)
    assert found.cost is None


def test_totals_keep_kinds_apart_and_tell_what_is_unknown() -> None:
    rows = [
        row(),
        row(total_energy_j=100.0, energy_uncertainty_j=1.0),
        row(total_energy_j=None, energy_uncertainty_j=None),
        row(measured_on="simulated", simulated=True, total_energy_j=5.0),
        row(status="failed", measured_on=None, simulated=None, total_energy_j=None),
        row(measured_on="off-board", total_energy_j=None),
    ]
    measured, simulated = totals(rows, RATES)
    assert (measured.measured_on, measured.experiments, measured.unknown) == ("board", 2, 1)
    assert measured.energy_j == Figure(300.0, 4.0)
    assert measured.footprint == footprint(Figure(300.0, 4.0), RATES)
    assert (simulated.measured_on, simulated.simulated, simulated.energy_j.value) == ("simulated", True, 5.0)


def test_a_total_without_a_bound_anywhere_has_none() -> None:
    [total] = totals([row(), row(energy_uncertainty_j=None)], RATES)
    assert total.energy_j == Figure(400.0, None)


def test_rates_are_read_as_written_and_say_where_they_are_from() -> None:
    rates = read_rates("380.5", "0.30 EUR", 1.2)
    assert rates == Rates(GridIntensity(380.5, "as given"), Price(0.3, "EUR"), 1.2)
    assert rates.words[:3] == ("380.5 gCO2e/kWh: as given", "0.3 EUR/kWh: as given", "PUE 1.2: as given")
    assert "how far off these rates are isn't known" in rates.words[3]
    assert read_rates(None, "2$", None) == Rates(None, Price(2.0, "$"), None)
    assert read_rates(None, None, None) is None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((None, None, 1.2), "give --grid-intensity or --price with it"),
        (("400", None, 0.9), "a PUE is 1 or more"),
        (("400", None, float("nan")), "a PUE is 1 or more"),
        (("400", None, float("inf")), "a PUE is 1 or more"),
        (("-1", None, None), "give gCO2e per kWh, 0 or more"),
        (("nan", None, None), "give gCO2e per kWh, 0 or more"),
        (("inf", None, None), "give gCO2e per kWh, 0 or more"),
        ((None, "0.30", None), "a price per kWh and its currency"),
        ((None, "EUR 0.30", None), "a price per kWh and its currency"),
        ((None, "-1 EUR", None), "a price per kWh and its currency"),
        ((None, "1 EUR\n2 EUR", None), "a price per kWh and its currency"),
    ],
)
def test_a_rate_that_is_none_is_refused(given: tuple[Any, ...], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        read_rates(*given)


def test_all_wrong_rates_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        read_rates("-1", "much", 0.5)
    assert len(caught.value.problems) == 3


def install(site: Path, content: str, licence: str = "License-Expression: MIT") -> None:
    """A distribution called codecarbon that can't be imported."""
    info = site / "codecarbon-9.8.7.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: codecarbon\nVersion: 9.8.7\n{licence}\n")
    (site / "codecarbon" / "data" / "private_infra").mkdir(parents=True)
    (site / "codecarbon" / "__init__.py").write_text("raise ImportError('imported')")
    (site / TABLE).write_text(content)


COUNTRIES = {
    "DEU": {"country_name": "Germany", "year": 2023, "carbon_intensity": 381.0},
    "DNK": {"country_name": "Denmark", "year": 2022, "carbon_intensity": 150.0},
    "COD": {"country_name": "Democratic Republic of Congo", "year": 2022, "carbon_intensity": 24.0},
    "XXX": {"country_name": "Nowhere"},
}


def test_a_country_is_looked_up_in_the_package_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, json.dumps(COUNTRIES))
    monkeypatch.syspath_prepend(tmp_path)
    found = intensity_of_country("deu")
    assert found.g_per_kwh == 381.0
    for part in ("Germany in 2023", "codecarbon 9.8.7 (MIT)", "global_energy_mix.json", "Our World in Data"):
        assert part in found.source
    assert read_rates("DNK", None, None) == Rates(intensity_of_country("DNK"))


@pytest.mark.parametrize(
    ("code", "near"),
    [
        ("DE", "; near ones: DEU (Germany), DNK (Denmark), COD (Democratic"),
        ("Germany", "; near ones: DEU (Germany)"),
        ("DNU", "near ones: D"),
        ("QQQQ", "code$"),
        ("XXX", "no country"),
    ],
)
def test_a_country_that_is_not_there_is_an_error_with_near_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, near: str
) -> None:
    install(tmp_path, json.dumps(COUNTRIES))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="no country in the table of codecarbon") as caught:
        intensity_of_country(code)
    caught.match(near.replace("(", r"\(").replace(")", r"\)"))


def test_a_table_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "{")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EnvironmentUnfitError, match=r"codecarbon 9\.8\.7 can't be read"):
        intensity_of_country("DEU")


def test_without_the_extra_a_country_says_what_to_install() -> None:
    code = (
        "import sys\n"
        "from importlib.metadata import MetadataPathFinder\n"
        "found = MetadataPathFinder.find_distributions\n"
        "MetadataPathFinder.find_distributions = classmethod(\n"
        "    lambda cls, context: iter(()) if context.name == 'codecarbon' else found(context))\n"
        "from llem_sweep.report.grid_intensity import intensity_of_country\n"
        "try:\n"
        "    intensity_of_country('DEU')\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("EnvironmentUnfitError --grid-intensity DEU")
    assert "pip install 'llem-sweep[carbon]'" in done.stdout


@pytest.mark.extra
def test_the_table_of_the_package_itself() -> None:
    before = set(sys.modules)
    found = intensity_of_country("FRA")
    assert 0 < found.g_per_kwh < 200
    assert "France in 20" in found.source
    assert "(MIT)" in found.source
    assert not {name for name in set(sys.modules) - before if name.startswith("codecarbon")}
