"""Two sets of configurations held against each other, like with like. Read :func:`comparison` first."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from llem_sweep.plan.values import point
from llem_sweep.report.points import CONFIG, Figure, Point, Row, points

CROSSINGS = ("boards", "measured_on", "methods")
"""What two configurations must have alike to be compared, unless told to compare across it."""
METHOD = {
    "window": "measurement_methodology",
    "estimator": "energy_estimator",
    "sensors' method": "energy_breakdown.energy_methods",
    "idle power subtracted": "energy_breakdown.baseline_kind",
    "coverage": "energy_coverage",
}
"""Columns that say how an energy was made, by the words for them."""
_WORK = ("requests", "input_tokens", "output_tokens")
_ALSO_CONFIGURED = ("model", "backend")
COLUMNS = (*METHOD.values(), *_WORK)
"""Columns of ``load_results`` that are needed here, beside those that ``points`` needs."""


class Difference(NamedTuple):
    """One figure of both sides."""

    a: Figure | None
    b: Figure | None
    change: Figure | None
    """``b - a``; its half-width is both half-widths in quadrature. None where either figure is unknown."""
    change_pct: Figure | None
    """The same in percent of ``a``, by the same errors to first order."""

    @property
    def shown(self) -> bool | None:
        """Whether the interval of the change leaves 0 out; None where nothing bounds it."""
        if self.change is None or self.change.half_width is None:
            return None
        return abs(self.change.value) > self.change.half_width


class Pair(NamedTuple):
    """One configuration of both sides."""

    label: str
    a: Point
    b: Point
    energy_per_token_j: Difference
    """Per output token."""
    tokens_per_second: Difference
    """Output tokens."""
    energy_j: Difference
    """Of the window; unknown where the windows hold different work."""
    crossings: Mapping[str, str]
    """In what the two aren't alike: of :data:`CROSSINGS`, each with words for how."""


class Comparison(NamedTuple):
    """What two sets of results have in common, and how they differ."""

    by_design: Mapping[str, tuple[object, object]]
    """Fields that hold one value throughout A and another throughout B."""
    pairs: tuple[Pair, ...]
    refused: tuple[Pair, ...]
    """Those that aren't alike in something that wasn't to be compared across. Not for showing figures."""
    only_a: tuple[str, ...]
    """Labels of configurations that have no counterpart."""
    only_b: tuple[str, ...]


def comparison(a: Iterable[Row], b: Iterable[Row], across: Collection[str] = ()) -> Comparison:
    """The configurations of ``a`` and ``b``, rows of ``load_results``, each with its counterpart.

    Counterparts have the same ``measurement_config_hash``, or the same value in every field that varies within
    either side. A field with one value throughout A and another throughout B differs by design: it is named, and
    not looked at. Where a configuration ran on several kinds of boards, like kinds are counterparts.

    Those that aren't alike in one of :data:`CROSSINGS` are refused unless that is in ``across``.
    """
    of_a, of_b = points(a), points(b)
    fields = _fields((*of_a, *of_b))
    by_design = {name: pair for name in fields if (pair := _constants(name, of_a, of_b)) is not None}
    key = [name for name in fields if name not in by_design]
    pairs = [_pair(one, other, _label(one, key)) for one in of_a for other in _counterparts(one, of_b, key)]
    refused = [pair for pair in pairs if not pair.crossings.keys() <= set(across)]
    met = {id(side) for pair in pairs for side in (pair.a, pair.b)}
    return Comparison(
        by_design={name.removeprefix(CONFIG): pair for name, pair in by_design.items()},
        pairs=tuple(pair for pair in pairs if pair.crossings.keys() <= set(across)),
        refused=tuple(refused),
        only_a=tuple(_label(each, key) for each in of_a if id(each) not in met),
        only_b=tuple(_label(each, key) for each in of_b if id(each) not in met),
    )


def difference(a: Figure | None, b: Figure | None) -> Difference:
    """``b`` against ``a``.

    For ``100·(b/a - 1)`` the half-width is ``100·√((Δb/a)² + (b·Δa/a²)²)``.
    """
    if a is None or b is None:
        return Difference(a, b, None, None)
    half = None
    if a.half_width is not None and b.half_width is not None:
        half = math.hypot(a.half_width, b.half_width)
    percent = None
    if a.value:
        relative = None
        if a.half_width is not None and b.half_width is not None:
            relative = 100 * math.hypot(b.half_width / a.value, b.value * a.half_width / a.value**2)
        percent = Figure(100 * (b.value / a.value - 1), relative)
    return Difference(a, b, Figure(b.value - a.value, half), percent)


def crossings(a: Point, b: Point) -> dict[str, str]:
    """In which of :data:`CROSSINGS` the two aren't alike, and how."""
    found = {}
    if a.kind.boards != b.kind.boards:
        found["boards"] = f"A on {boards_words(a)}, B on {boards_words(b)}"
    if a.kind[:2] != b.kind[:2]:
        found["measured_on"] = f"A is {kind_words(a)}, B is {kind_words(b)}"
    unlike = []
    for words, column in METHOD.items():
        one, other = (told(side.rows, column) for side in (a, b))
        if one != other:
            unlike.append(f"{words}: A {' or '.join(one)}, B {' or '.join(other)}")
    if unlike:
        found["methods"] = "; ".join(unlike)
    return found


def told(rows: Sequence[Row], column: str) -> list[str]:
    """What cycles have in ``column``, each once; a list, one value a board, as what is in it."""
    found = set()
    for row in rows:
        value = row[column]
        values = value if isinstance(value, list) else [value]
        found |= {"unknown" if each is None else str(each) for each in values}
    return sorted(found)


def boards_words(of: Point) -> str:
    """The boards of a configuration, as ``2 × NVIDIA H100``."""
    boards = of.kind.boards
    numbers = {name: boards.count(name) for name in dict.fromkeys(boards)}
    return " + ".join(f"{n} × {name}" if n > 1 else name for name, n in numbers.items()) or "no board"


def kind_words(of: Point) -> str:
    """How far the figures of a configuration are measurements."""
    kind = "measured" if of.kind.measured_on == "board" else of.kind.measured_on
    return f"{kind} and simulated" if of.kind.simulated and kind != "simulated" else kind


def _fields(of: Sequence[Point]) -> list[str]:
    """Columns of the configuration that don't hold the same everywhere."""
    names = dict.fromkeys(
        name for each in of for name in each.rows[0] if name.startswith(CONFIG) or name in _ALSO_CONFIGURED
    )
    return [name for name in names if len({repr(each.rows[0].get(name)) for each in of}) > 1]


def _constants(name: str, a: Sequence[Point], b: Sequence[Point]) -> tuple[object, object] | None:
    """The value of the field throughout ``a`` and the other one throughout ``b``; None where it isn't so."""
    if not a or not b:
        return None
    of_a, of_b = a[0].rows[0].get(name), b[0].rows[0].get(name)
    constant = all(repr(each.rows[0].get(name)) == repr(of_a) for each in a) and all(
        repr(each.rows[0].get(name)) == repr(of_b) for each in b
    )
    return (of_a, of_b) if constant else None


def _counterparts(of: Point, among: Sequence[Point], key: Sequence[str]) -> list[Point]:
    same = [each for each in among if each.config_hash == of.config_hash]
    alike = same or [each for each in among if _key(each, key) == _key(of, key)]
    return [each for each in alike if each.kind == of.kind] or alike


def _key(of: Point, names: Sequence[str]) -> list[str]:
    return [repr(of.rows[0].get(name)) for name in names]


def _label(of: Point, names: Sequence[str]) -> str:
    """The fields of a configuration by which it is told from others; its model where there is none."""
    varied = {name.removeprefix(CONFIG): of.rows[0].get(name) for name in names}
    return point(varied) or of.model


def _pair(a: Point, b: Point, label: str) -> Pair:
    same_work = all(told(a.rows, name) == told(b.rows, name) for name in _WORK)
    return Pair(
        label=label,
        a=a,
        b=b,
        energy_per_token_j=difference(a.energy_per_token_j, b.energy_per_token_j),
        tokens_per_second=difference(a.tokens_per_second, b.tokens_per_second),
        energy_j=difference(a.energy_j, b.energy_j) if same_work else difference(None, None),
        crossings=crossings(a, b),
    )
