"""Energy per output token against tokens per second, with bounds and the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from llem_sweep.report.figures.dimensions import Dimension, dimensions
from llem_sweep.report.figures.style import (
    CUT,
    GREY,
    INK,
    PALETTE,
    SHAPES,
    Drawing,
    LeftOut,
    Spec,
    Unit,
    axis,
    energy_unit,
    page,
    spread_scale,
    titled,
    within,
)
from llem_sweep.report.figures.words import is_measured, kind_lines, labels, with_bound
from llem_sweep.report.points import Kind, Point, pareto_front

NAME = "pareto"
HEIGHT_PT = 165
ROW_PT = 11
LISTED = 12
"""Points of a front that are listed under it."""
_Key = tuple[str, Kind]


def pareto(points: Sequence[Point], models: Mapping[str, str]) -> Drawing | LeftOut:
    """One panel per kind of boards; the points of its front are numbered and listed below it.

    Colour is the first thing that varies (the model where there are several), shape the second.
    """
    known = [each for each in points if each.energy_per_token_j is not None]
    if not known:
        return LeftOut(NAME, "energy per token isn't known for any configuration")
    unit = energy_unit([each.energy_per_token_j.value for each in known if each.energy_per_token_j])
    varied = [each.kept(len(PALETTE)) for each in dimensions(known, models)]
    names = dict(zip(map(_key_of, known), labels(known, models), strict=True))
    panels: list[Spec] = []
    kinds = tuple(dict.fromkeys(each.kind for each in known))
    for kind in kinds:
        chosen = [number for number, each in enumerate(known) if each.kind == kind]
        own = [each._replace(of=tuple(each.of[number] for number in chosen)) for each in varied]
        panels += _panels(
            [known[number] for number in chosen], kind, own, names, unit, legend=kind == kinds[-1]
        )
    return page(NAME, panels)


def front_corners(front: Sequence[Point]) -> list[tuple[float, float]]:
    """The stepped line through ``front``, as tokens per second and joules per token.

    To the left of each point and above it nothing on the line is better than the point itself: energy steps up
    where the point before can't serve as many tokens per second.
    """
    at = [
        (each.tokens_per_second.value, each.energy_per_token_j.value)
        for each in front
        if each.energy_per_token_j is not None
    ]
    corners = at[:1]
    for (rate, _), (faster, energy) in pairwise(at):
        corners += [(rate, energy), (faster, energy)]
    return corners


def _key_of(each: Point) -> _Key:
    return each.config_hash, each.kind


def _panels(
    points: Sequence[Point],
    kind: Kind,
    varied: Sequence[Dimension],
    names: Mapping[_Key, str],
    unit: Unit,
    *,
    legend: bool,
) -> list[Spec]:
    front = pareto_front(points)
    rows = _rows(points, front, varied, unit)
    across, up = _scale(rows, "x"), _scale(rows, "y")
    far = any(row["x_high"] > across["domain"][1] or row["y_high"] > up["domain"][1] for row in rows)
    for row in rows:
        row["x_low"], row["x_high"] = within(across, row["x_low"], row["x_high"])
        row["y_low"], row["y_high"] = within(up, row["y_low"], row["y_high"])
    x = {"field": "x", "type": "quantitative", "scale": across, "axis": axis("Output tokens/s", across)}
    title = f"Energy per output token ({unit.name})"
    y = {"field": "y", "type": "quantitative", "scale": up, "axis": axis(title, up)}
    line = [
        {"x": rate, "y": energy * unit.factor, "n": number}
        for number, (rate, energy) in enumerate(front_corners(front))
    ]
    bound = {"type": "rule", "strokeWidth": 0.75}
    layers: list[Spec] = [
        {
            "data": {"values": line},
            "mark": {"type": "line", "color": GREY, "strokeWidth": 1, "strokeDash": [4, 2]},
            "encoding": {"x": x, "y": y, "order": {"field": "n", "type": "quantitative"}},
        },
        {"mark": bound, "encoding": {"x": x, "y": {**y, "field": "y_low"}, "y2": {"field": "y_high"}}},
        {"mark": bound, "encoding": {"x": {**x, "field": "x_low"}, "x2": {"field": "x_high"}, "y": y}},
        *_marks(rows, x, y, varied, legend=legend),
        {
            "data": {"values": [row for row in rows if row["place"]]},
            "mark": {"type": "text", "align": "left", "baseline": "top", "dx": 3, "dy": 2},
            "encoding": {"x": x, "y": y, "text": {"field": "place", "type": "nominal"}},
        },
    ]
    plot = {"height": HEIGHT_PT, "data": {"values": rows}, "layer": layers}
    return [titled(plot, kind_lines(kind), _notes(points, kind, far)), _key(front, names, unit)]


def _scale(rows: Sequence[dict[str, Any]], axis_name: str) -> Spec:
    ends = [row[f"{axis_name}_{end}"] for row in rows for end in ("low", "high")]
    return spread_scale([row[axis_name] for row in rows], ends)


def _notes(points: Sequence[Point], kind: Kind, far: bool) -> list[str]:
    """What has to be said of a panel's marks; ``far`` is whether an interval is cut at its upper end."""
    doubted = is_measured(kind) and not all(each.publishable for each in points)
    return (["Hollow: not publishable"] if doubted else []) + ([CUT] if far else [])


def _rows(
    points: Sequence[Point], front: Sequence[Point], varied: Sequence[Dimension], unit: Unit
) -> list[dict[str, Any]]:
    places = {_key_of(each): str(place) for place, each in enumerate(front, 1)}
    rows = []
    for number, each in enumerate(points):
        energy, rate = each.energy_per_token_j, each.tokens_per_second
        assert energy is not None, "the caller leaves points without known energy out"
        rows.append(
            {
                "x": rate.value,
                "x_low": rate.low,
                "x_high": rate.high,
                "y": energy.value * unit.factor,
                "y_low": energy.low * unit.factor,
                "y_high": energy.high * unit.factor,
                "place": places.get(_key_of(each), ""),
                "hollow": is_measured(each.kind) and not each.publishable,
                **{f"d{place}": dimension.of[number] for place, dimension in enumerate(varied[:2])},
            }
        )
    return rows


def _marks(
    rows: Sequence[dict[str, Any]], x: Spec, y: Spec, varied: Sequence[Dimension], *, legend: bool
) -> list[Spec]:
    """The points themselves; those that may not be published have a hole."""
    encoding: Spec = {"x": x, "y": y}
    look: Spec = {"type": "point", "filled": True, "opacity": 1}
    shape: Spec = {}
    if varied:
        by_shape = 1 if len(varied) > 1 and len(varied[1].values) <= len(SHAPES) else 0
        shape = {"shape": _encoding(f"d{by_shape}", varied[by_shape], SHAPES, legend=legend)}
        colours = [*PALETTE[: len(varied[0].values) - 1], GREY] if varied[0].others else PALETTE
        encoding |= {"color": _encoding("d0", varied[0], colours, legend=legend), **shape}
    else:
        look["color"] = INK
    hollow = [row for row in rows if row["hollow"]]
    return [
        {"mark": look | {"size": 34}, "encoding": encoding},
        {
            "data": {"values": hollow},
            "mark": look | {"size": 12, "color": "white"},
            "encoding": {"x": x, "y": y, **shape},
        },
    ][: 2 if hollow else 1]


def _encoding(column: str, dimension: Dimension, looks: Sequence[str], *, legend: bool) -> Spec:
    columns = max(1, min(4, 44 // (max(map(len, dimension.values)) + 5)))
    return {
        "field": column,
        "type": "nominal",
        "scale": {"domain": list(dimension.values), "range": list(looks[: len(dimension.values)])},
        "legend": {"title": dimension.title, "columns": columns, "labelLimit": 200} if legend else None,
    }


def _key(front: Sequence[Point], names: Mapping[_Key, str], unit: Unit) -> Spec:
    """The points of the front by number."""
    listed = [
        (str(place), names[_key_of(each)], with_bound(energy, unit.factor))
        for place, each in enumerate(front[:LISTED], 1)
        if (energy := each.energy_per_token_j) is not None
    ]
    title = "Pareto front (dashed)" if len(listed) > 1 else "Pareto front: one point"
    more = [("", f"and {len(front) - LISTED} more", "")] if len(front) > LISTED else []
    rows = [
        {"y": place, "number": number, "label": label, "energy": energy}
        for place, (number, label, energy) in enumerate(
            [("", title, f"{unit.name} per token"), *listed, *more]
        )
    ]
    scale = {"domain": [-0.5, len(rows) - 0.5], "nice": False, "zero": False, "reverse": True}
    y = {"field": "y", "type": "quantitative", "axis": None, "scale": scale}

    def column(name: str, align: str, at: Any, limit: float) -> Spec:
        mark = {"type": "text", "align": align, "limit": limit, "baseline": "middle"}
        return {"mark": mark, "encoding": {"x": at, "y": y, "text": {"field": name, "type": "nominal"}}}

    return {
        "height": ROW_PT * len(rows),
        "data": {"values": rows},
        "layer": [
            column("number", "right", {"value": -22}, 20),
            column("label", "left", {"value": -18}, 166),
            column("energy", "right", {"value": "width"}, 68),
        ],
    }
