"""Heat map of the two things that vary most."""

from __future__ import annotations

from drawn import grid, picture_of, row
from llem_sweep.report.figures.heatmap import heatmap
from llem_sweep.report.figures.style import LeftOut
from llem_sweep.report.points import points


def test_cells_are_the_two_dimensions_of_most_values() -> None:
    picture = picture_of(heatmap, grid(batches=(1, 4, 16)))
    cells = {(each["column"], each["row"]) for each in picture.values("rect")}
    assert cells == {(batch, kind) for batch in ("1", "4", "16") for kind in ("bf16", "fp8")}
    assert {"1.10", "3.12", "batch size", "precision"} <= set(picture.texts)
    assert picture.texts.index("1") < picture.texts.index("4") < picture.texts.index("16")


def test_dark_cells_have_light_numbers() -> None:
    picture = picture_of(heatmap, grid())
    inks = {mark.text: mark.attrib["fill"] for mark in picture.marks("text")}
    assert (inks["1.10"], inks["3.12"]) == ("#000000", "white")


def test_a_cell_is_the_best_of_what_else_varies_which_is_said() -> None:
    picture = picture_of(heatmap, grid(models=("org/a", "org/b", "org/c")))
    assert "Least over precision" in picture.texts
    assert len(picture.marks("rect")) == 9
    assert "1.10" in picture.texts
    assert "1.32" not in picture.texts, "fp8 of the same model and batch size costs more"


def test_each_kind_has_a_panel() -> None:
    picture = picture_of(heatmap, grid() + grid(measured_on="simulated", simulated=True))
    assert len(picture.marks("rect")) == 12
    assert "SIMULATED boards: no measurement" in picture.texts


def test_what_may_not_be_published_is_in_brackets() -> None:
    rows = grid()
    rows[0]["verdict.publishable"] = False
    texts = picture_of(heatmap, rows).texts
    assert "(1.10)" in texts
    assert "In brackets: not publishable" in texts


def test_an_unknown_cell_stays_empty() -> None:
    rows = grid()
    rows[0]["avg_energy_per_token_j"] = None
    assert len(picture_of(heatmap, rows).marks("rect")) == 5


def test_one_dimension_none_or_far_too_many_values_are_no_heat_map() -> None:
    for rows in ([], [row()], grid(precisions=("bf16",)), [row(avg_energy_per_token_j=None)]):
        assert isinstance(heatmap(points(rows), {}), LeftOut)
    found = heatmap(points(grid(batches=tuple(range(1, 30)))), {})
    assert isinstance(found, LeftOut)
    assert "29 values, more than the 16 that fit" in found.reason


def test_two_hundred_points_fit() -> None:
    models = tuple(f"org/model-{n}" for n in range(10))
    picture = picture_of(heatmap, grid(models, ("fp32", "bf16", "fp16", "fp8"), (1, 2, 4, 8, 16)))
    assert len(picture.marks("rect")) == 50
