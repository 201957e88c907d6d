"""Bars of energy with their bounds: per output token, by phase, and by device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from llem_sweep.printable import printable
from llem_sweep.report.figures.style import (
    CUT,
    DOUBLE_PT,
    INK,
    PALETTE,
    SINGLE_PT,
    Drawing,
    LeftOut,
    Spec,
    Unit,
    axis,
    energy_unit,
    page,
    titled,
    within,
)
from llem_sweep.report.figures.words import is_measured, kind_lines, labels, reservation, with_bound
from llem_sweep.report.points import Figure, Kind, Point
from llem_sweep.report.rounding import significant
from llem_sweep.report.summary import BoardEnergy

PER_TOKEN, PHASES, DEVICES = "energy_per_token", "phases", "devices"
ROW_PT = 13
SHOWN = 40
"""Bars of a panel; of more, those of least energy are shown, which the panel says."""
_LABEL_PT = {SINGLE_PT: 105.0, DOUBLE_PT: 250.0}
"""Room for the names of bars by the width of the figure."""
_PT_PER_LETTER = 4.4
_SUMMED = "Over all measured windows; in brackets how many"
_BLUE, _LIGHT = PALETTE[0], PALETTE[4]


class _Part(NamedTuple):
    """A stretch of a bar, in joules."""

    start: float
    end: float
    colour: str


class _Bar(NamedTuple):
    label: str
    parts: tuple[_Part, ...]
    bounds: tuple[tuple[float, float], ...]
    """Intervals drawn over it."""
    value: str
    """What stands behind it."""
    hollow: bool = False

    @property
    def reach(self) -> float:
        """Where it ends, bounds included."""
        return max([part.end for part in self.parts] + [high for _, high in self.bounds])


class _Panel(NamedTuple):
    heading: Sequence[str]
    notes: Sequence[str]
    bars: Sequence[_Bar]
    title: str
    """Of the axis."""
    unit: Unit


def energy_per_token(points: Sequence[Point], models: Mapping[str, str]) -> Drawing | LeftOut:
    """A bar for each configuration, least energy first; one panel per kind of boards."""
    known = [(each, each.energy_per_token_j) for each in points if each.energy_per_token_j is not None]
    if not known:
        return LeftOut(PER_TOKEN, "energy per token isn't known for any configuration")
    unit = energy_unit([energy.value for _, energy in known])
    names = labels([each for each, _ in known], models)

    def bar(label: str, each: Point, energy: Figure) -> _Bar:
        hollow = is_measured(each.kind) and not each.publishable
        part = _Part(0.0, energy.value, _BLUE)
        return _Bar(label, (part,), _interval(energy), with_bound(energy, unit.factor), hollow)

    bars = [(each.kind, bar(label, each, energy)) for label, (each, energy) in zip(names, known, strict=True)]
    return _by_kind(PER_TOKEN, bars, unit)


def phases(points: Sequence[Point], models: Mapping[str, str]) -> Drawing | LeftOut:
    """The same parted into prefill and decode, where that is known.

    Intervals are prefill's, the upper one, and the whole's.
    """
    known = [
        (each, each.energy_per_token_j, each.prefill_per_token_j)
        for each in points
        if each.energy_per_token_j is not None
        and each.prefill_per_token_j is not None
        and each.decode_per_token_j is not None
    ]
    if not known:
        return LeftOut(PHASES, "energy by phase isn't known for any configuration")
    unit = energy_unit([whole.value for _, whole, _ in known])
    names = labels([each for each, _, _ in known], models)
    bars = [
        (each.kind, _phases_bar(label, whole, prefill))
        for label, (each, whole, prefill) in zip(names, known, strict=True)
    ]
    lines = ["Prefill dark, decode light; intervals: prefill above, whole below"]
    if left := len(points) - len(known):
        lines.append(f"Not known by phase, and left out: {left:,} of {len(points):,}")
    return _by_kind(PHASES, bars, unit, lines)


def devices(boards: Sequence[BoardEnergy]) -> Drawing | LeftOut:
    """Energy of each board over all measured windows, which has no bound; one panel per kind of results."""
    known = [(each, each.energy_j) for each in boards if each.energy_j is not None]
    if not known:
        return LeftOut(DEVICES, "the energy of no board is known")
    panels = []
    for kind in dict.fromkeys(_kind(each) for each, _ in known):
        own = [(each, energy_j) for each, energy_j in known if _kind(each) == kind]
        unit = energy_unit([energy_j for _, energy_j in own])
        heading = ["Energy of each board", *reservation(kind)]
        bars = [_device(each, energy_j, unit) for each, energy_j in own]
        panels.append(_Panel(heading, [_SUMMED], bars, f"Energy ({unit.name})", unit))
    return _page(DEVICES, panels)


def _kind(board: BoardEnergy) -> Kind:
    """Of which kind its energy is; all boards are in one panel."""
    return Kind(board.measured_on, board.simulated, ())


def _device(each: BoardEnergy, energy_j: float, unit: Unit) -> _Bar:
    label = f"{printable(each.node)}: {printable(each.name)} …{printable(each.uuid)[-6:]}"
    unknown = f", {each.unknown:,} not known" if each.unknown else ""
    value = f"{significant(energy_j * unit.factor)} ({each.experiments:,}{unknown})"
    return _Bar(label, (_Part(0.0, energy_j, _BLUE),), (), value)


def _phases_bar(label: str, whole: Figure, prefill: Figure) -> _Bar:
    return _Bar(
        label,
        (_Part(0.0, prefill.value, _BLUE), _Part(prefill.value, whole.value, _LIGHT)),
        (*_interval(prefill), *_interval(whole)),
        f"{significant(100 * prefill.value / whole.value, 2)} % prefill" if whole.value else "",
    )


def _interval(energy: Figure) -> tuple[tuple[float, float], ...]:
    return ((energy.low, energy.high),) if energy.half_width is not None else ()


def _by_kind(name: str, bars: Sequence[tuple[Kind, _Bar]], unit: Unit, lines: Sequence[str] = ()) -> Drawing:
    panels = []
    for kind in dict.fromkeys(kind for kind, _ in bars):
        own = [bar for each, bar in bars if each == kind]
        notes = [*lines, "Hollow: not publishable"] if any(bar.hollow for bar in own) else list(lines)
        panels.append(_Panel(kind_lines(kind), notes, own, f"{unit.name} per output token", unit))
    return _page(name, panels)


def _page(name: str, panels: Sequence[_Panel]) -> Drawing:
    """``panels``, each with its bars of least energy first; a figure of long names takes two columns."""
    longest = max(len(bar.label) for panel in panels for bar in panel.bars) * _PT_PER_LETTER
    width = SINGLE_PT if longest <= _LABEL_PT[SINGLE_PT] else DOUBLE_PT
    drawn = []
    for panel in panels:
        own = sorted(panel.bars, key=lambda bar: bar.parts[-1].end)[:SHOWN]
        cut = [f"The {SHOWN} of least energy, of {len(panel.bars):,}"] if len(panel.bars) > SHOWN else []
        cut += [CUT] if any(bar.reach > _top(own) for bar in own) else []
        plot = _plot(own, panel.title, panel.unit, min(longest, _LABEL_PT[width]))
        drawn.append(titled(plot, panel.heading, [*panel.notes, *cut]))
    return page(name, drawn, width)


def _top(bars: Sequence[_Bar]) -> float:
    """Where the axis ends: with the longest interval, or at twice the longest bar, where that is less."""
    longest = max(bar.parts[-1].end for bar in bars)
    return min(max(bar.reach for bar in bars), 2 * longest) if longest > 0 else 1.0


def _plot(bars: Sequence[_Bar], title: str, unit: Unit, label_pt: float) -> Spec:
    names = _distinct([bar.label for bar in bars])
    extent = {"labelLimit": label_pt, "minExtent": label_pt + 4, "maxExtent": label_pt + 4}
    y = {
        "field": "name",
        "type": "nominal",
        "scale": {"domain": names, "paddingInner": 0.3, "paddingOuter": 0.15},
        "axis": {"title": None, "ticks": False, "domain": False, **extent},
    }
    bottom = min(0.0, *(part.end for bar in bars for part in bar.parts)) * unit.factor
    scale = {"domain": [bottom, _top(bars) * unit.factor * 1.03]}
    x = {"type": "quantitative", "scale": scale | {"nice": False}, "axis": axis(title, tickCount=4)}
    parts: list[dict[str, Any]] = []
    bounds: list[dict[str, Any]] = []
    values: list[dict[str, Any]] = []
    for label, bar in zip(names, bars, strict=True):
        for part in bar.parts:
            ends = {"start": part.start * unit.factor, "end": part.end * unit.factor}
            parts.append({"name": label, **ends, "colour": "white" if bar.hollow else part.colour})
        for number, interval in enumerate(bar.bounds):
            start, end = within(scale, *(each * unit.factor for each in interval))
            bounds.append({"name": label, "start": start, "end": end, "n": number})
        values.append({"name": label, "value": bar.value})
    from_start, to_end = {**x, "field": "start"}, {"field": "end"}
    # Of two intervals one is above the other: at the same height nobody could tell where which ends.
    places = [0.3, 0.7] if any(bound["n"] for bound in bounds) else [0.5]
    colour = {"field": "colour", "type": "nominal", "scale": None}
    return {
        "height": ROW_PT * len(bars) + 4,
        "layer": [
            {
                "data": {"values": parts},
                "mark": {"type": "bar", "stroke": INK, "strokeWidth": 0.5},
                "encoding": {"y": y, "x": from_start, "x2": to_end, "color": colour},
            },
            *(
                {
                    "data": {"values": [bound for bound in bounds if bound["n"] == number]},
                    "mark": {"type": "rule", "strokeWidth": 1},
                    "encoding": {"y": {**y, "bandPosition": place}, "x": from_start, "x2": to_end},
                }
                for number, place in enumerate(places)
            ),
            {
                "data": {"values": values},
                "mark": {"type": "text", "align": "left", "dx": 5},
                "encoding": {"y": y, "x": {"value": "width"}, "text": {"field": "value", "type": "nominal"}},
            },
        ],
    }


def _distinct(names: Sequence[str]) -> list[str]:
    """``names``, the later of equal ones numbered: bars of one name would be drawn over one another."""
    found: list[str] = []
    for name in names:
        number, free = 1, name
        while free in found:
            number += 1
            free = f"{name} ({number})"
        found.append(free)
    return found
