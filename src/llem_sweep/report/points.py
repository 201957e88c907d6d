"""The configurations of a sweep: cycles taken together, each figure with its bound.

Everything that compares configurations (the closing table, the report, figures, comparisons, exports) starts here,
so that they can't disagree.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any, NamedTuple

from llem_sweep.plan.values import point
from llem_sweep.results.student import student_t

Row = Mapping[str, Any]
"""A row of the summary table, or of ``load_results``, by column name."""
CONFIG = "config."
COLUMNS = (
    "measurement_config_hash",
    "model",
    "backend",
    "cycle",
    "measured_on",
    "simulated",
    "device_names",
    "avg_tokens_per_second",
    "avg_energy_per_token_j",
    "avg_energy_per_token_uncertainty_j",
    "total_energy_j",
    "energy_uncertainty_j",
    "energy_adjusted_j",
    "energy_adjusted_uncertainty_j",
    "verdict.publishable",
)
"""Columns that rows must have, beside those of the configuration."""


class Figure(NamedTuple):
    """A mean over cycles and the half-width of its 95 % interval."""

    value: float
    half_width: float | None
    """None where nothing bounds it: a rate that was measured once."""

    @property
    def low(self) -> float:
        """Lower end of the interval; the value itself where it has no bound."""
        return self.value - (self.half_width or 0.0)

    @property
    def high(self) -> float:
        """Upper end of the interval; the value itself where it has no bound."""
        return self.value + (self.half_width or 0.0)


class Kind(NamedTuple):
    """What figures must have in common to be compared."""

    measured_on: str
    """board, off-board, simulated or synthetic, as in the results."""
    simulated: bool
    boards: tuple[str, ...]
    """Names of the boards used, sorted; empty where none was."""


class Point(NamedTuple):
    """One configuration on one kind of boards, its completed cycles together."""

    config_hash: str
    model: str
    backend: str
    varied: Mapping[str, object]
    """The fields that differ between the points at hand, by dotted name; the model isn't among them."""
    kind: Kind
    energy_per_token_j: Figure | None
    """Per output token."""
    tokens_per_second: Figure
    """Output tokens."""
    energy_j: Figure | None
    """Of the window."""
    adjusted_j: Figure | None
    """The same without idle power."""
    prefill_per_token_j: Figure | None
    """What prefill takes of the energy per output token; it and the next add up to ``energy_per_token_j``."""
    decode_per_token_j: Figure | None
    rows: tuple[Row, ...]
    """Its cycles' rows, in the order given."""

    @property
    def label(self) -> str:
        """What was varied, for people; the model where nothing was."""
        return point(self.varied) or self.model

    @property
    def publishable(self) -> bool:
        """Whether every cycle is."""
        return all(row.get("verdict.publishable") for row in self.rows)


def points(rows: Iterable[Row]) -> tuple[Point, ...]:
    """The completed ones of ``rows`` by configuration and kind of boards, in the order of their first cycles."""
    grouped: dict[tuple[str, Kind], list[Row]] = {}
    for row in rows:
        if row.get("status", "completed") == "completed":
            grouped.setdefault((row["measurement_config_hash"], kind_of(row)), []).append(row)
    varied = _varied([cycles[0] for cycles in grouped.values()])
    return tuple(_point(key, kind, cycles, varied) for (key, kind), cycles in grouped.items())


def varying(of: Sequence[Point]) -> list[Point]:
    """``of``, from several calls of :func:`points`, told apart by what differs between all of them."""
    varied = _varied([each.rows[0] for each in of])
    return [each._replace(varied=_varied_in(each.rows[0], varied)) for each in of]


def kind_of(row: Row) -> Kind:
    """What ``row`` may be compared within."""
    return Kind(row["measured_on"], bool(row["simulated"]), tuple(sorted(row["device_names"] or ())))


def figure(values: Sequence[float | None], bounds: Sequence[float | None] | None = None) -> Figure | None:
    """The mean of ``values``, one a cycle; None when none is known or any is missing.

    ``bounds`` are those on each: where any of them isn't known, neither is the half-width, which the spread alone
    would understate. Without them, as for rates, whose cycles have none, the spread is all there is.

    The half-width is ``√((t·s/√n)² + b²)``: the spread of n cycles with Student's t for n - 1 degrees of freedom,
    and the mean bound b. Bounds aren't divided by √n: what a sensor's timing gets wrong in one cycle it may get
    wrong alike in the next.
    """
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    given = [bound for bound in bounds or () if bound is not None]
    bound = fmean(given) if given else 0.0
    bounded = len(known) > 1 if bounds is None else len(given) == len(values)
    if not bounded:
        return Figure(fmean(known), None)
    repeats = len(known)
    spread = student_t(repeats - 1) * stdev(known) / math.sqrt(repeats) if repeats > 1 else 0.0
    return Figure(fmean(known), math.hypot(spread, bound))


def pareto_front(of: Sequence[Point]) -> tuple[Point, ...]:
    """Those that no other of the same kind beats: as many tokens per second for less energy per token, or more for
    as much. By rising energy per token within each kind; points without known energy are on no front."""
    known = [each for each in of if each.energy_per_token_j is not None]
    front = []
    for kind in dict.fromkeys(each.kind for each in known):
        best = -math.inf
        ranked = sorted((each for each in known if each.kind == kind), key=_by_energy_then_speed)
        for each in ranked:
            if each.tokens_per_second.value > best:
                best = each.tokens_per_second.value
                front.append(each)
    return tuple(front)


def best_of_each_model(of: Sequence[Point]) -> dict[tuple[str, Kind], Point]:
    """The point of least energy per output token of each model, within each kind."""
    best: dict[tuple[str, Kind], Point] = {}
    for each in sorted(
        (each for each in of if each.energy_per_token_j is not None), key=_by_energy_then_speed
    ):
        best.setdefault((each.model, each.kind), each)
    return best


def _by_energy_then_speed(each: Point) -> tuple[float, float]:
    energy = each.energy_per_token_j
    return (energy.value if energy else math.inf, -each.tokens_per_second.value)


def _varied(first: Sequence[Row]) -> tuple[str, ...]:
    """Columns of the configuration that don't hold the same in all of ``first``."""
    names = dict.fromkeys(name for row in first for name in row if name.startswith(CONFIG))
    return tuple(name for name in names if any(row.get(name) != first[0].get(name) for row in first))


def _varied_in(row: Row, names: Sequence[str]) -> dict[str, object]:
    return {name.removeprefix(CONFIG): row.get(name) for name in names}


def _point(key: str, kind: Kind, cycles: Sequence[Row], varied: Sequence[str]) -> Point:
    first = cycles[0]
    rates = figure([row["avg_tokens_per_second"] for row in cycles])
    assert rates is not None, "every result has a rate"
    return Point(
        config_hash=key,
        model=first["model"],
        backend=first["backend"],
        varied=_varied_in(first, varied),
        kind=kind,
        energy_per_token_j=_of(cycles, "avg_energy_per_token_j", "avg_energy_per_token_uncertainty_j"),
        tokens_per_second=rates,
        energy_j=_of(cycles, "total_energy_j", "energy_uncertainty_j"),
        adjusted_j=_of(cycles, "energy_adjusted_j", "energy_adjusted_uncertainty_j"),
        prefill_per_token_j=_per_token(cycles, "prefill"),
        decode_per_token_j=_per_token(cycles, "decode"),
        rows=tuple(cycles),
    )


def _per_token(cycles: Sequence[Row], phase: str) -> Figure | None:
    """The energy of ``phase`` by output tokens; None where a row has no such column, or no token came out."""
    if not all(row.get("output_tokens") for row in cycles):
        return None

    def each(name: str) -> list[float | None]:
        found = [(row.get(f"phases.{phase}.{name}"), row["output_tokens"]) for row in cycles]
        return [None if energy_j is None else energy_j / tokens for energy_j, tokens in found]

    return figure(each("energy_j"), each("energy_uncertainty_j"))


def _of(cycles: Sequence[Row], value: str, bound: str) -> Figure | None:
    return figure([row[value] for row in cycles], [row[bound] for row in cycles])
