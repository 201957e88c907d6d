"""Energy per output token over two dimensions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from llem_sweep.report.figures.dimensions import Dimension, dimensions, most_varied
from llem_sweep.report.figures.style import (
    DOUBLE_PT,
    HEAT,
    INK,
    LOG_FROM,
    SINGLE_PT,
    SMALL_PT,
    Drawing,
    LeftOut,
    Spec,
    Unit,
    energy_unit,
    page,
    titled,
)
from llem_sweep.report.figures.words import is_measured, kind_lines, wrapped
from llem_sweep.report.points import Point
from llem_sweep.report.rounding import significant

NAME = "heatmap"
ROW_PT = 20
WIDE_FROM = 7
"""Columns from which the figure takes two columns of a page."""
MOST = 16
"""Values of a dimension that fit."""


def heatmap(points: Sequence[Point], models: Mapping[str, str]) -> Drawing | LeftOut:
    """Cells of the two dimensions with the most values, the one with more of them across.

    Where anything else varies, a cell shows the configuration of least energy, and the figure says so.
    """
    known = [each for each in points if each.energy_per_token_j is not None]
    if not known:
        return LeftOut(NAME, "energy per token isn't known for any configuration")
    varied = dimensions(known, models)
    chosen = most_varied(varied)
    if chosen is None:
        return LeftOut(NAME, "fewer than two things vary")
    across, down = chosen
    if len(across.values) > MOST:
        return LeftOut(NAME, f"{across.title} has {len(across.values)} values, more than the {MOST} that fit")
    others = [each.title for each in varied if each not in chosen]
    unit = energy_unit([each.energy_per_token_j.value for each in known if each.energy_per_token_j])
    width = DOUBLE_PT if len(across.values) >= WIDE_FROM else SINGLE_PT
    panels = []
    for kind in dict.fromkeys(each.kind for each in known):
        cells = _cells(known, [each.kind == kind for each in known], across, down, unit)
        notes = [f"Energy per output token ({unit.name})"]
        notes += wrapped(f"Least over {', '.join(others)}", width) if others else []
        if is_measured(kind) and any(cell["doubted"] for cell in cells):
            notes.append("In brackets: not publishable")
        panels.append(titled(_panel(cells, across, down), kind_lines(kind, width), notes))
    return page(NAME, panels, width)


def _cells(
    points: Sequence[Point], chosen: Sequence[bool], across: Dimension, down: Dimension, unit: Unit
) -> list[dict[str, Any]]:
    """The best of the chosen points of each cell."""
    best: dict[tuple[str, str], tuple[float, Point]] = {}
    for each, own, column, row in zip(points, chosen, across.of, down.of, strict=True):
        energy = each.energy_per_token_j
        at = (column, row)
        if own and energy is not None and (at not in best or energy.value < best[at][0]):
            best[at] = (energy.value, each)
    shades = _shades([energy for energy, _ in best.values()])
    cells = []
    for ((column, row), (energy_j, each)), shade in zip(best.items(), shades, strict=True):
        doubted = is_measured(each.kind) and not each.publishable
        value = significant(energy_j * unit.factor)
        cells.append(
            {
                "column": column,
                "row": row,
                "value": f"({value})" if doubted else value,
                "doubted": doubted,
                "shade": shade,
            }
        )
    return cells


def _shades(values: Sequence[float]) -> list[float]:
    """Where each of ``values`` lies between the least, 0, and the greatest, 1; by ratio where they span much."""
    low, high = min(values), max(values)
    if low > 0 and high / low >= LOG_FROM:
        return [math.log(value / low) / math.log(high / low) for value in values]
    return [(value - low) / (high - low) if high > low else 0.0 for value in values]


def _panel(cells: Sequence[dict[str, Any]], across: Dimension, down: Dimension) -> Spec:
    x = _place("column", across, {"labelAngle": 0} if _short(across) else {"labelAngle": -40})
    y = _place("row", down, {"labelLimit": 90})
    shade = {
        "field": "shade",
        "type": "quantitative",
        "scale": {"domain": [0, 1], "range": list(HEAT)},
        "legend": None,
    }
    return {
        "height": ROW_PT * len(down.values),
        "data": {"values": list(cells)},
        "layer": [
            {
                "mark": {"type": "rect", "stroke": "white", "strokeWidth": 1},
                "encoding": {"x": x, "y": y, "color": shade},
            },
            *(
                {
                    "data": {"values": [cell for cell in cells if (cell["shade"] > 0.5) is dark]},
                    "mark": {"type": "text", "fontSize": SMALL_PT, "color": "white" if dark else INK},
                    "encoding": {"x": x, "y": y, "text": {"field": "value", "type": "nominal"}},
                }
                for dark in (False, True)
            ),
        ],
    }


def _short(dimension: Dimension) -> bool:
    """Whether the names of its values fit below the columns of a panel."""
    return max(map(len, dimension.values)) * len(dimension.values) <= 40


def _place(column: str, dimension: Dimension, more: Spec) -> Spec:
    return {
        "field": column,
        "type": "nominal",
        "scale": {"domain": list(dimension.values)},
        "axis": {"title": dimension.title, "ticks": False, "domain": False, "labelLimit": 80, **more},
    }
