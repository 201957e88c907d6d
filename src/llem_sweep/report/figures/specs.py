"""All figures of a sweep, from plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from llem_sweep.report.figures.bars import devices, energy_per_token, phases
from llem_sweep.report.figures.heatmap import heatmap
from llem_sweep.report.figures.pareto import pareto
from llem_sweep.report.figures.style import Drawing, LeftOut
from llem_sweep.report.points import Point, best_of_each_model
from llem_sweep.report.summary import BoardEnergy


class Traced(NamedTuple):
    """An experiment whose samples are to be drawn."""

    folder: str
    point: Point
    cycle: int


def of_sweep(
    points: Sequence[Point], boards: Sequence[BoardEnergy], models: Mapping[str, str]
) -> list[Drawing | LeftOut]:
    """The figures of everything measured; ``models`` has the short name of each model."""
    return [
        pareto(points, models),
        energy_per_token(points, models),
        heatmap(points, models),
        phases(points, models),
        devices(boards),
    ]


def best_traced(points: Sequence[Point]) -> list[Traced]:
    """The first cycle of the best point of each model, within each kind of boards."""
    return [_traced(each, 0) for each in best_of_each_model(points).values()]


def traced(points: Sequence[Point], folder: str) -> Traced | None:
    """The experiment kept in ``folder``; None where no point has it."""
    for each in points:
        for number, row in enumerate(each.rows):
            if row["folder"] == folder:
                return _traced(each, number)
    return None


def _traced(each: Point, number: int) -> Traced:
    row = each.rows[number]
    return Traced(row["folder"], each, row["cycle"])
