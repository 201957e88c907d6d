"""What all figures look like: sizes, fonts, colours, scales, and how panels make a page.

Lengths are in points: one unit of a specification is one point of the figure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

Spec = dict[str, Any]
"""A Vega-Lite view. Text from outside is in it as a value alone: of data, of a title, of a scale's domain, none of
which Vega-Lite computes. Columns of data have names of our own: it reads dots and brackets in names."""

SINGLE_PT = 88 / 25.4 * 72
"""Width of one column of a paper, 88 mm."""
DOUBLE_PT = 180 / 25.4 * 72
"""Width of two, 180 mm."""
FONT_PT = 9
SMALL_PT = 8
_FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
"""The first is what vl-convert brings along and measures; the next two have the same widths."""
INK = "#000000"
GREY = "#6b6b6b"
PALE = "#d9d9d9"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8a7f00")
"""Okabe and Ito's colours for all kinds of colour vision, the strongest first; their yellow darkened, since a thin
line of it is lost on white."""
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "stroke")
HEAT = ("#f0f4fa", "#08306b")
"""Ends of the scale of a heat map, in grey light and dark."""
LOG_FROM = 12.0
"""Ratio of the largest to the smallest value from which an axis is logarithmic."""
CUT = "Intervals that end at the edge reach further"


class Drawing(NamedTuple):
    """A figure to draw."""

    name: str
    """Of its files, without their suffix."""
    spec: Spec
    """All of it but :func:`config`, which has the width of the panels."""
    width_pt: float
    """Of the whole figure."""


class LeftOut(NamedTuple):
    """A figure that isn't drawn, since what it would show isn't known."""

    name: str
    reason: str


class Unit(NamedTuple):
    """A unit of energy, and what a value in joules is multiplied by."""

    name: str
    factor: float


def config(panel_width: float) -> Spec:
    """The configuration that every figure has, with panels ``panel_width`` points wide."""
    text = {"labelFontSize": SMALL_PT, "titleFontSize": FONT_PT, "titleFontWeight": "normal"}
    return {
        "font": _FONT,
        "background": "white",
        "padding": 2,
        "view": {"continuousWidth": panel_width, "discreteWidth": panel_width, "stroke": None},
        "axis": {
            **text,
            "labelColor": INK,
            "titleColor": INK,
            "domainColor": INK,
            "tickColor": INK,
            "gridColor": "#e6e6e6",
            "gridWidth": 0.5,
            "domainWidth": 0.75,
            "tickWidth": 0.75,
            "tickSize": 3,
            "titlePadding": 4,
        },
        "legend": {
            **text,
            "orient": "bottom",
            "offset": 4,
            "rowPadding": 1,
            "symbolSize": 36,
            "layout": {"bottom": {"direction": "vertical", "anchor": "start", "margin": 3}},
        },
        "title": {
            "anchor": "start",
            "frame": "bounds",
            "fontSize": FONT_PT,
            "fontWeight": "bold",
            "subtitleFontSize": SMALL_PT,
            "subtitleColor": INK,
            "offset": 4,
        },
        "rule": {"color": INK},
        "text": {"fontSize": SMALL_PT, "color": INK},
        "concat": {"spacing": 10},
    }


def page(name: str, panels: Sequence[Spec], width_pt: float = SINGLE_PT) -> Drawing:
    """``panels`` one below the other, each with colours, shapes and axes of its own."""
    own = dict.fromkeys(("color", "shape", "x", "y"), "independent")
    legends = dict.fromkeys(("color", "shape"), "independent")
    return Drawing(name, {"vconcat": list(panels), "resolve": {"scale": own, "legend": legends}}, width_pt)


def titled(spec: Spec, title: Sequence[str], subtitle: Sequence[str] = ()) -> Spec:
    """``spec`` under a heading; lines are taken as they are."""
    heading: Spec = {"text": list(title)}
    if subtitle:
        heading["subtitle"] = list(subtitle)
    return {**spec, "title": heading}


def energy_unit(values_j: Sequence[float]) -> Unit:
    """The unit in which the largest of ``values_j`` has one to three digits before the point."""
    size = max((abs(value) for value in values_j), default=0.0)
    units = (Unit("GJ", 1e-9), Unit("MJ", 1e-6), Unit("kJ", 1e-3), Unit("J", 1.0), Unit("mJ", 1e3))
    return next((unit for unit in units if size * unit.factor >= 1.0), Unit("µJ", 1e6))


def spread_scale(values: Sequence[float], ends: Sequence[float]) -> Spec:
    """A scale for ``values`` and the ``ends`` of their intervals, logarithmic for positive values that span much.

    It reaches as far beyond the values as they are apart, or half of the largest, and no further (on a logarithmic
    one, to half of the least and twice the largest): a wide interval would press all points together. Where every
    value is above zero, so is the scale. :func:`within` cuts intervals at its ends.
    """
    least, most = min(values), max(values)
    if least > 0 and most / least >= LOG_FROM:
        low = max(min(ends), least / 2) if min(ends) > 0 else least / 2
        return {"type": "log", "domain": [low / 1.15, min(max(ends), most * 2) * 1.15], "nice": False}
    reach = max(most - least, abs(most) / 2) or 1.0
    low, high = max(min(ends), least - reach), min(max(ends), most + reach)
    room = (high - low or reach) * 0.08
    bottom = max(0.0, low - room) if least >= 0 else low - room
    return {"type": "linear", "domain": [bottom, high + room], "nice": False}


def within(scale: Spec, low: float, high: float) -> tuple[float, float]:
    """The interval cut at the ends of ``scale``; what Vega cuts has another name each time that it draws."""
    bottom, top = scale["domain"]
    return max(low, bottom), min(high, top)


def ticks(scale: Spec) -> list[float] | None:
    """Where a logarithmic ``scale`` has its labels: 1, 2 and 5 of each decade; None leaves it to Vega."""
    if scale["type"] != "log":
        return None
    low, high = scale["domain"]
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high / low < 1e3 else (1,)
    found = [step * 10.0**decade for decade in decades for step in steps]
    return [value for value in found if low <= value <= high]


def axis(title: str, scale: Spec | None = None, **more: Any) -> Spec:
    """An axis called ``title``; numbers of a ``scale`` as people write them."""
    at = ticks(scale) if scale is not None else None
    return {"title": title, **({"values": at, "format": "~r"} if at else {}), **more}
