"""Power and temperature of one experiment over time, with its phases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llem_sweep.printable import printable
from llem_sweep.report.figures.style import (
    DOUBLE_PT,
    PALE,
    PALETTE,
    Drawing,
    LeftOut,
    Spec,
    axis,
    page,
    titled,
)
from llem_sweep.report.figures.words import kind_lines, wrapped
from llem_sweep.report.page.timelines import Line, Timeline
from llem_sweep.report.points import Kind

PREFIX = "timeline_"
POINTS = 700
"""Of a line, about: two a point of the figure's width."""
_HEIGHTS_PT = (95, 60)
_STRIP_PT = 12
_DASHES = ([1, 0], [4, 2], [1, 1], [6, 1, 1, 1])
_PHASES = {
    "baseline": "#f0f0f0",
    "load": "#bdbdbd",
    "context": "#d9d9d9",
    "warm-up": "#fdd0a2",
    "settle": "#fee6ce",
    "prefill": "#08519c",
    "decode": "#9ecae1",
    "prefill and decode": "#6baed6",
    "cool": "#c7e9c0",
    "idle": "#ffffff",
}
"""Colours of phases; those of the measured work are the dark ones."""


def trace(name: str, label: str, kind: Kind, timeline: Timeline) -> Drawing | LeftOut:
    """The figure of one experiment, called ``label``; ``name`` is that of its folder."""
    file = PREFIX + name
    if not any(board.power.times_s for board in timeline.boards):
        return LeftOut(file, "its samples hold no power")
    ends = [
        time_s
        for board in timeline.boards
        for line in (board.power, board.temperature)
        for time_s in line.times_s
    ]
    domain = [min(ends), max(ends)]
    notes = wrapped(label, DOUBLE_PT)
    if timeline.window_s is not None:
        notes.append("Measured window shaded; time counts from its start; blank where nothing was sampled")
    power = "Power (W)" if timeline.reading == "power_w" else "Instantaneous power (W)"
    lines = [(f"GPU {board.nvml_index}", board.power) for board in timeline.boards]
    warmth = [(f"GPU {board.nvml_index}", board.temperature) for board in timeline.boards]
    panels = [_strip(timeline, domain)] if timeline.bands else []
    panels.append(_panel(lines, timeline, domain, power, _HEIGHTS_PT[0], zero=True))
    if any(line.times_s for _, line in warmth):
        panels.append(_panel(warmth, timeline, domain, "Temperature (°C)", _HEIGHTS_PT[1], zero=False))
    panels[0] = titled(panels[0], kind_lines(kind, DOUBLE_PT), notes)
    return page(file, panels, DOUBLE_PT)


def _time(domain: Sequence[float], **more: Any) -> Spec:
    return {"type": "quantitative", "scale": {"domain": list(domain), "nice": False}, **more}


def _strip(timeline: Timeline, domain: Sequence[float]) -> Spec:
    """The phases, one after the other."""
    bands = [
        {"start": band.start_s, "end": band.end_s, "phase": printable(band.phase)} for band in timeline.bands
    ]
    phases = list(dict.fromkeys(band["phase"] for band in bands))
    colours = [_PHASES.get(str(phase), PALE) for phase in phases]
    return {
        "height": _STRIP_PT,
        "data": {"values": bands},
        "mark": {"type": "rect", "stroke": "#8a8a8a", "strokeWidth": 0.25},
        "encoding": {
            "x": _time(domain, field="start", axis=None),
            "x2": {"field": "end"},
            "color": {
                "field": "phase",
                "type": "nominal",
                "scale": {"domain": phases, "range": colours},
                "legend": {"title": None, "orient": "top", "direction": "horizontal", "symbolType": "square"},
            },
        },
    }


def _panel(
    lines: Sequence[tuple[str, Line]],
    timeline: Timeline,
    domain: Sequence[float],
    title: str,
    height: int,
    *,
    zero: bool,
) -> Spec:
    boards = list(dict.fromkeys(name for name, _ in lines))
    rows = [row for name, line in lines for row in _rows(name, line)]
    window = [{"start": timeline.window_s[0], "end": timeline.window_s[1]}] if timeline.window_s else []
    bottom = not zero
    y = {
        "field": "value",
        "type": "quantitative",
        "axis": axis(title, tickCount=4),
        "scale": {"zero": zero, "nice": True},
    }
    shown = bottom and len(boards) > 1
    legend = {"title": None, "symbolType": "stroke", "symbolSize": 120} if shown else None
    colour, dash = (
        {
            "field": "board",
            "type": "nominal",
            "scale": {"domain": boards, "range": [looks[n % len(looks)] for n in range(len(boards))]},
            "legend": legend,
        }
        for looks in (PALETTE, _DASHES)
    )
    x = _time(domain, field="at", axis=axis("Time (s)") if bottom else {"title": None})
    return {
        "height": height,
        "layer": [
            {
                "data": {"values": window},
                "mark": {"type": "rect", "color": "#eef3f8"},
                "encoding": {"x": _time(domain, field="start", axis=x["axis"]), "x2": {"field": "end"}},
            },
            {
                "data": {"values": rows},
                "mark": {"type": "line", "strokeWidth": 0.75},
                "encoding": {
                    "x": x,
                    "y": y,
                    "color": colour,
                    "strokeDash": dash,
                    "detail": {"field": "piece", "type": "nominal"},
                    "order": {"field": "at", "type": "quantitative"},
                },
            },
        ],
    }


def _rows(name: str, line: Line) -> list[dict[str, Any]]:
    """The readings of ``line``, each in the piece that it belongs to: nothing is drawn between pieces."""
    rows, piece = [], 0
    for at_s, value in zip(line.times_s, line.values, strict=True):
        if value is None:
            piece += 1
        else:
            rows.append({"at": at_s, "value": value, "board": name, "piece": str(piece)})
    return rows
