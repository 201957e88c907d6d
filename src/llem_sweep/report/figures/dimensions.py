"""What the points of a sweep differ in, and what of it a figure can show by colour, shape or place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from llem_sweep.printable import printable
from llem_sweep.report.figures.words import field_name, value_name
from llem_sweep.report.points import Point

MODEL = "model"


class Dimension(NamedTuple):
    """A field that the points differ in."""

    title: str
    values: tuple[str, ...]
    """Names of its values, numbers by size, the rest in the order of the sweep."""
    of: tuple[str, ...]
    """The value's name of each point."""
    others: bool = False
    """Whether the last value stands for several."""

    def kept(self, most: int) -> Dimension:
        """The dimension with its first ``most`` - 1 values and one name for all others, where it has more."""
        if len(self.values) <= most:
            return self
        first = self.values[: most - 1]
        rest = f"{len(self.values) - len(first)} others"
        return self._replace(
            values=(*first, rest),
            of=tuple(each if each in first else rest for each in self.of),
            others=True,
        )


def dimensions(points: Sequence[Point], models: Mapping[str, str]) -> tuple[Dimension, ...]:
    """The model where there are several, then precision, then what else differs, in the order of the sweep."""
    names = list(dict.fromkeys(name for each in points for name in each.varied))
    names.sort(key=lambda name: name != "precision")
    found = [_model(points, models), *(_field(name, points) for name in names)]
    return tuple(each for each in found if len(each.values) > 1)


def most_varied(found: Sequence[Dimension]) -> tuple[Dimension, Dimension] | None:
    """The two with the most values, the one with more of them first; None where there aren't two."""
    ranked = sorted(found, key=lambda each: -len(each.values))
    return (ranked[0], ranked[1]) if len(ranked) > 1 else None


def _model(points: Sequence[Point], models: Mapping[str, str]) -> Dimension:
    """Models by name, those whose best point uses least energy first."""
    best: dict[str, float] = {}
    for each in points:
        name = printable(models.get(each.model, each.model))
        energy = each.energy_per_token_j.value if each.energy_per_token_j else float("inf")
        best[name] = min(energy, best.get(name, float("inf")))
    of = tuple(printable(models.get(each.model, each.model)) for each in points)
    return Dimension(MODEL, tuple(sorted(best, key=lambda name: best[name])), of)


def _field(name: str, points: Sequence[Point]) -> Dimension:
    values = [each.varied.get(name) for each in points]
    known = dict.fromkeys(values)
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in known):
        known = dict.fromkeys(sorted(known))  # type: ignore[type-var]
    of = tuple(value_name(value) for value in values)
    return Dimension(field_name(name), tuple(dict.fromkeys(map(value_name, known))), of)
