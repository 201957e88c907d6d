"""What figures say: names from outside made fit for them, kinds and configurations in words."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence

from llem_sweep.plan.values import point
from llem_sweep.printable import printable
from llem_sweep.report.figures.style import SINGLE_PT
from llem_sweep.report.points import Figure, Kind, Point
from llem_sweep.report.rounding import rounded

NO_MEASUREMENT = {
    "simulated": "SIMULATED boards: no measurement",
    "synthetic": "SYNTHETIC backend, which computes nothing: no measurement",
    "off-board": "Computed OFF the board that was metered: no measurement of it",
}
_PT_PER_LETTER = 4.6
"""Mean advance of the bold font at its size."""


def is_measured(kind: Kind) -> bool:
    """Whether numbers of ``kind`` are measurements of its boards."""
    return kind.measured_on == "board" and not kind.simulated


def kind_lines(kind: Kind, width_pt: float = SINGLE_PT) -> list[str]:
    """The boards of ``kind``, then, where it is no measurement, that in words."""
    boards = Counter(printable(name) for name in kind.boards)
    named = ", ".join(f"{number} × {name}" if number > 1 else name for name, number in boards.items())
    return wrapped(named or "No board", width_pt) + reservation(kind, width_pt)


def reservation(kind: Kind, width_pt: float = SINGLE_PT) -> list[str]:
    """Why numbers of ``kind`` are no measurement; nothing where they are."""
    if is_measured(kind):
        return []
    words = NO_MEASUREMENT.get(kind.measured_on, NO_MEASUREMENT["simulated"])
    also = "; SIMULATED boards" if kind.simulated and kind.measured_on not in ("simulated", "board") else ""
    return wrapped(words + also, width_pt)


def wrapped(text: str, width_pt: float) -> list[str]:
    """``text`` in lines that fit ``width_pt`` in bold."""
    return textwrap.wrap(text, round(width_pt / _PT_PER_LETTER)) or [""]


def labels(points: Sequence[Point], models: Mapping[str, str]) -> list[str]:
    """A label for each of ``points``, no two of one kind the same: what varies, the model where there are several.

    ``models`` has the short name of each model.
    """
    several = len({each.model for each in points}) > 1
    found = [_label(each, models, several=several) for each in points]
    times = Counter(zip(found, (each.kind for each in points), strict=True))
    return [
        label if times[label, each.kind] == 1 else f"{label} ({printable(each.config_hash)[:8]})"
        for label, each in zip(found, points, strict=True)
    ]


def _label(each: Point, models: Mapping[str, str], *, several: bool) -> str:
    varied = point(each.varied)
    model = printable(models.get(each.model, each.model))
    if not varied:
        return model
    return f"{model}: {printable(varied)}" if several else printable(varied)


def field_name(dotted: str) -> str:
    """What a field is called on an axis: its last part, with spaces."""
    return printable(dotted.rpartition(".")[2]).replace("_", " ")


def value_name(value: object) -> str:
    """A field's value as in YAML."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else printable(str(value))


def with_bound(each: Figure, factor: float) -> str:
    """``each`` times ``factor`` and its half-width, to the digits that this has."""
    half = each.half_width
    return rounded(Figure(each.value * factor, None if half is None else half * factor)).joined()
