"""Energy per token against tokens per second."""

from __future__ import annotations

from typing import Any

import pytest

from drawn import grid, names, picture_of, position, row
from llem_sweep.report.figures.pareto import front_corners, pareto
from llem_sweep.report.figures.style import CUT, PALETTE, LeftOut, spread_scale
from llem_sweep.report.figures.words import labels
from llem_sweep.report.points import pareto_front, points


def _at(key: str, energy: float | None, rate: float, **fields: Any) -> dict[str, Any]:
    return row(
        measurement_config_hash=key, avg_energy_per_token_j=energy, avg_tokens_per_second=rate, **fields
    )


def test_every_point_is_a_mark_at_its_place_with_its_bound() -> None:
    picture = picture_of(pareto, [_at("a", 2.0, 100.0), _at("b", 3.0, 150.0), _at("c", 4.0, 90.0)])
    assert len(picture.marks("symbol")) == 3
    down = picture.ticks(1)
    (low, low_at), (high, high_at) = min(down.items()), max(down.items())
    per_joule = (high_at - low_at) / (high - low)
    upright = [mark for mark in picture.marks("rule") if mark.attrib["x2"] == "0"][:3]
    for mark, symbol, energy in zip(upright, picture.marks("symbol"), (2.0, 3.0, 4.0), strict=True):
        # Labels are put below their tick's own place, alike for all of them.
        start, end = position(mark)[1], position(mark)[1] + float(mark.attrib["y2"])
        assert abs(start - end) == pytest.approx(0.2 * abs(per_joule), rel=1e-3), "0.1 J to either side"
        assert (start + end) / 2 == pytest.approx(position(symbol)[1], abs=0.01)
        offset = position(symbol)[1] - (low_at + (energy - low) * per_joule)
        assert abs(offset) < 4.0


def test_cycles_are_one_mark_with_bounds_both_ways() -> None:
    rows = [_at("a", 2.0 + 0.1 * n, 100.0 + n, cycle=n + 1) for n in range(3)]
    picture = picture_of(pareto, rows)
    [value] = picture.values("symbol")
    assert float(value["y"]) == pytest.approx(2.1)
    upright, across = picture.values("rule")
    assert float(upright["y_high"]) - float(upright["y_low"]) == pytest.approx(2 * 0.2677, rel=1e-3)
    assert float(across["x_high"]) - float(across["x_low"]) == pytest.approx(2 * 2.484, rel=1e-3)


def test_the_front_is_numbered_and_named() -> None:
    texts = picture_of(pareto, grid(batches=(1, 4))).texts
    assert "Pareto front (dashed)" in texts
    assert "precision=bf16 batch_size=1" in texts
    assert "1.10 ± 0.10" in texts
    assert {"1", "2"} <= set(texts)


def test_a_front_of_one_point_is_called_that() -> None:
    assert "Pareto front: one point" in picture_of(pareto, [row()]).texts


def test_a_long_front_is_listed_in_part() -> None:
    rows = [_at(str(n), 1.0 + n, 10.0 + n, **{"config.n": n}) for n in range(20)]
    texts = picture_of(pareto, rows).texts
    assert "and 8 more" in texts
    assert {"n=0", "n=11"} <= set(texts)
    assert "n=12" not in texts


def test_the_front_steps_up_where_it_gets_faster() -> None:
    found = points([_at("slow", 1.0, 10.0), _at("beaten", 2.0, 10.0), _at("fast", 3.0, 50.0)])
    assert front_corners(pareto_front(found)) == [(10.0, 1.0), (10.0, 3.0), (50.0, 3.0)]


def test_kinds_have_panels_of_their_own_that_say_what_they_are() -> None:
    simulated = grid(measured_on="simulated", simulated=True, device_names=["Simulated GPU"])
    synthetic = grid(measured_on="synthetic", simulated=True, device_names=["Simulated GPU"])
    elsewhere = grid(measured_on="off-board")
    picture = picture_of(pareto, grid() + simulated + synthetic + elsewhere)
    texts = " ".join(picture.texts)
    assert "SIMULATED boards: no measurement" in texts
    assert "SYNTHETIC backend, which computes nothing: no measurement; SIMULATED boards" in texts
    assert "Computed OFF the board that was metered: no measurement" in texts
    plots = {mark.attrib["class"].split()[2] for mark in picture._groups("mark-symbol role-mark")}
    assert len(plots) == 4
    assert len(picture.marks("symbol")) == 24


def test_only_what_is_measured_has_no_reservation() -> None:
    assert not [text for text in picture_of(pareto, grid()).texts if "no measurement" in text]


def test_what_may_not_be_published_is_hollow_where_it_was_measured() -> None:
    picture = picture_of(pareto, [_at("a", 2.0, 10.0), _at("b", 3.0, 5.0, **{"verdict.publishable": False})])
    assert [mark.attrib["fill"] for mark in picture.marks("symbol")].count("white") == 1
    assert "Hollow: not publishable" in picture.texts
    rehearsed = [row(measured_on="simulated", simulated=True, **{"verdict.publishable": False})]
    assert "Hollow: not publishable" not in picture_of(pareto, rehearsed).texts


def test_points_without_known_energy_are_left_out_and_none_is_no_figure() -> None:
    unknown = _at("b", None, 5.0)
    assert len(picture_of(pareto, [row(), unknown]).marks("symbol")) == 1
    for rows in ([unknown], []):
        found = pareto(points(rows), {})
        assert isinstance(found, LeftOut)
        assert "isn't known" in found.reason


def test_two_hundred_points_of_many_models_are_drawn_and_the_legend_ends() -> None:
    models = tuple(f"org/model-{n:02}-of-quite-a-long-name-Instruct" for n in range(20))
    picture = picture_of(pareto, grid(models, batches=(1, 2, 4, 8, 16)))
    assert len(picture.marks("symbol")) == 200
    assert "13 others" in picture.texts
    assert len({mark.attrib["fill"] for mark in picture.marks("symbol")}) == len(PALETTE)


def test_two_colours_are_never_one() -> None:
    assert len(set(PALETTE)) == len(PALETTE)


def test_axes_are_logarithmic_where_values_span_much_and_never_below_zero() -> None:
    assert spread_scale([1.0, 20.0], [0.9, 22.0])["type"] == "log"
    assert spread_scale([1.0, 2.0], [0.9, 2.2])["type"] == "linear"
    assert spread_scale([1.0, 20.0], [-0.5, 22.0])["domain"][0] == pytest.approx(0.5 / 1.15)
    assert spread_scale([1.0, 2.0], [-0.5, 2.2])["domain"][0] == 0.0
    assert spread_scale([-1.0, 2.0], [-1.0, 2.0])["domain"][0] < -1.0


@pytest.mark.parametrize("values", [[1.0, 2.0], [1.0, 20.0], [3.0], [0.0]])
def test_wide_intervals_dont_press_points_together(values: list[float]) -> None:
    low, high = spread_scale(values, [*values, 1e6])["domain"]
    assert high <= max(2.2 * max(values) + (max(values) - min(values)), 1.2)
    assert low <= min(values) <= max(values) <= high


def test_an_interval_cut_at_the_edge_is_told() -> None:
    picture = picture_of(pareto, [_at("a", 2.0, 10.0, avg_energy_per_token_uncertainty_j=50.0)])
    assert CUT in picture.texts
    assert "2 ± 50" in picture.texts
    assert CUT not in picture_of(pareto, [row()]).texts


def test_labels_tell_points_of_one_kind_apart_that_differ_in_nothing_varied() -> None:
    simulated = row(measured_on="simulated", simulated=True)
    slower = _at("bcdefghij", 1.5, 90.0)
    found = points([row(), slower, simulated])
    assert labels(found, names(found)) == ["m (a)", "m (bcdefghi)", "m"]
