"""Bars: per output token, by phase, by device."""

from __future__ import annotations

from typing import Any

import pytest

from drawn import H100, Picture, grid, picture_of, row
from llem_sweep.report.figures.bars import devices, energy_per_token, phases
from llem_sweep.report.figures.style import CUT, LeftOut, energy_unit
from llem_sweep.report.points import points
from llem_sweep.report.summary import BoardEnergy


def bars_of(picture: Picture) -> list[Any]:
    """Name and both ends of each bar; the one that begins at the axis doesn't say so."""
    said = [{"start": "0"} | each for each in picture.values("rect")]
    return [(each["name"], float(each["start"]), float(each["end"])) for each in said]


def bounds_of(picture: Picture) -> list[Any]:
    return [(float(each["start"]), float(each["end"])) for each in picture.values("rule")]


def test_bars_are_sorted_by_energy_with_bounds_and_numbers() -> None:
    picture = picture_of(energy_per_token, grid(batches=(16, 1)))
    assert bars_of(picture) == [
        ("precision=bf16 batch_size=1", 0.0, pytest.approx(1.1)),
        ("precision=fp8 batch_size=1", 0.0, pytest.approx(1.32)),
        ("precision=bf16 batch_size=16", 0.0, pytest.approx(2.6)),
        ("precision=fp8 batch_size=16", 0.0, pytest.approx(3.12)),
    ]
    assert bounds_of(picture)[0] == pytest.approx((1.0, 1.2))
    assert "1.10 ± 0.10" in picture.texts
    assert "J per output token" in picture.texts


def test_intervals_are_cut_below_nothing_and_at_twice_the_longest_bar_which_is_said() -> None:
    picture = picture_of(energy_per_token, [row(avg_energy_per_token_uncertainty_j=5.0)])
    assert bounds_of(picture) == [pytest.approx((0.0, 4.12))]
    assert "2.0 ± 5.0" in picture.texts
    assert CUT in picture.texts
    assert CUT not in picture_of(energy_per_token, [row()]).texts


def test_of_very_many_bars_the_best_are_shown_which_is_said() -> None:
    picture = picture_of(energy_per_token, grid(batches=tuple(range(1, 101))))
    assert len(picture.marks("rect")) == 40
    assert "The 40 of least energy, of 200" in picture.texts


def test_kinds_have_panels_of_their_own() -> None:
    simulated = grid(measured_on="simulated", simulated=True, device_names=["Simulated GPU"])
    picture = picture_of(energy_per_token, grid() + simulated)
    assert len(picture.marks("rect")) == 12
    assert picture.texts.count("SIMULATED boards: no measurement") == 1
    assert {H100, "Simulated GPU"} <= set(picture.texts)


def test_what_may_not_be_published_is_hollow() -> None:
    doubted = row(measurement_config_hash="b", **{"verdict.publishable": False, "config.n": 2})
    picture = picture_of(energy_per_token, [row(**{"config.n": 1}), doubted])
    assert [bar.attrib["fill"] for bar in picture.marks("rect")].count("white") == 1
    assert "Hollow: not publishable" in picture.texts


def test_unknown_energy_is_no_bar() -> None:
    unknown = row(measurement_config_hash="b", avg_energy_per_token_j=None, **{"config.n": 2})
    assert len(picture_of(energy_per_token, [row(**{"config.n": 1}), unknown]).marks("rect")) == 1
    assert isinstance(energy_per_token(points([unknown]), {}), LeftOut)
    assert isinstance(energy_per_token((), {}), LeftOut)


def test_phases_are_stacked_with_bounds_at_both_ends() -> None:
    picture = picture_of(phases, [row()])
    assert bars_of(picture) == [("m", 0.0, 0.5), ("m", 0.5, 2.0)]
    assert bounds_of(picture) == [pytest.approx((0.46, 0.54)), pytest.approx((1.9, 2.1))]
    assert "25 % prefill" in picture.texts


def test_where_phases_are_unknown_that_is_said() -> None:
    unknown = row(measurement_config_hash="b", **{"phases.prefill.energy_j": None, "config.n": 2})
    picture = picture_of(phases, [row(**{"config.n": 1}), unknown])
    assert "Not known by phase, and left out: 1 of 2" in picture.texts
    assert len(picture.marks("rect")) == 2
    found = phases(points([unknown]), {})
    assert isinstance(found, LeftOut)
    assert "by phase isn't known" in found.reason


def board(**fields: object) -> BoardEnergy:
    known = BoardEnergy("node1", "GPU-11112222", H100, 2e3, 4, 0, "board", False)
    return known._replace(**fields)  # type: ignore[arg-type]


def test_devices_tell_how_many_experiments_were_summed() -> None:
    picture = Picture(devices([board(), board(node="node2", energy_j=1e3, experiments=3, unknown=2)]))
    assert bars_of(picture) == [
        (f"node2: {H100} …112222", 0.0, 1.0),
        (f"node1: {H100} …112222", 0.0, 2.0),
    ]
    assert "1.00 (3, 2 not known)" in picture.texts
    assert "Energy (kJ)" in picture.texts


def test_devices_of_one_name_are_bars_of_their_own() -> None:
    picture = Picture(devices([board(), board(uuid="other-112222")]))
    assert len({name for name, _, _ in bars_of(picture)}) == 2


def test_devices_are_apart_by_what_was_measured_each_in_its_unit() -> None:
    simulated = board(measured_on="simulated", simulated=True, energy_j=5.0)
    picture = Picture(devices([board(), simulated, board(node="n", energy_j=None)]))
    assert len(picture.marks("rect")) == 2
    assert {"Energy (kJ)", "Energy (J)", "SIMULATED boards: no measurement"} <= set(picture.texts)
    assert isinstance(devices([board(energy_j=None)]), LeftOut)


@pytest.mark.parametrize(
    ("size_j", "unit"), [(2e9, "GJ"), (2e6, "MJ"), (999.0, "J"), (0.5, "mJ"), (5e-5, "µJ"), (0.0, "µJ")]
)
def test_units_fit(size_j: float, unit: str) -> None:
    assert energy_unit([size_j, size_j / 3]).name == unit
