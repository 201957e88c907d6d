"""Rows to draw figures from, and figures read back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any
from xml.etree import ElementTree

from llem_sweep.report.figures.draw import draw
from llem_sweep.report.figures.style import Drawing, LeftOut
from llem_sweep.report.points import Point, points

H100 = "NVIDIA H100 80GB HBM3"


def row(**fields: Any) -> dict[str, Any]:
    """A completed experiment of one board, everything known."""
    return {
        "status": "completed",
        "measurement_config_hash": "a",
        "folder": "folder",
        "model": "org/m",
        "backend": "pytorch",
        "cycle": 1,
        "measured_on": "board",
        "simulated": False,
        "device_names": [H100],
        "avg_tokens_per_second": 100.0,
        "avg_energy_per_token_j": 2.0,
        "avg_energy_per_token_uncertainty_j": 0.1,
        "total_energy_j": 2000.0,
        "energy_uncertainty_j": 100.0,
        "energy_adjusted_j": 1500.0,
        "energy_adjusted_uncertainty_j": 120.0,
        "output_tokens": 1000,
        "phases.prefill.energy_j": 500.0,
        "phases.prefill.energy_uncertainty_j": 40.0,
        "phases.decode.energy_j": 1500.0,
        "phases.decode.energy_uncertainty_j": 90.0,
        "verdict.publishable": True,
    } | fields


def grid(
    models: tuple[str, ...] = ("org/m",),
    precisions: tuple[str, ...] = ("bf16", "fp8"),
    batches: tuple[int, ...] = (1, 4, 16),
    cycles: int = 1,
    **fields: Any,
) -> list[dict[str, Any]]:
    """Rows of a whole grid: more tokens per second cost more energy each, other precisions and models as well."""
    rows = []
    for number, (model, precision, batch) in enumerate(product(models, precisions, batches)):
        weight = 1.0 + 0.5 * models.index(model) + 0.2 * precisions.index(precision)
        for cycle in range(cycles):
            energy = weight * (1.0 + 0.1 * batch) * (1.0 + 0.01 * cycle)
            rows.append(
                row(
                    measurement_config_hash=f"{number:016x}",
                    folder=f"folder-{number}-{cycle}",
                    cycle=cycle + 1,
                    model=model,
                    avg_tokens_per_second=50.0 * batch / weight,
                    avg_energy_per_token_j=energy,
                    **{"config.precision": precision, "config.pytorch.batch_size": batch},
                    **fields,
                )
            )
    return rows


def names(of: tuple[Point, ...]) -> dict[str, str]:
    """The last part of each model's name."""
    return {each.model: each.model.rpartition("/")[2] for each in of}


class Picture:
    """A figure's SVG."""

    def __init__(self, figure: Drawing | LeftOut) -> None:
        assert isinstance(figure, Drawing), figure
        self.svg = draw(figure, ("svg",))[f"{figure.name}.svg"]
        self.root = ElementTree.fromstring(self.svg)

    @property
    def texts(self) -> list[str]:
        """Every text, as it is shown, line by line."""
        return [line for each in self.root.iter() if _tag(each) == "text" for line in each.itertext()]

    @property
    def tags(self) -> set[str]:
        return {_tag(each) for each in self.root.iter()}

    def marks(self, kind: str) -> list[ElementTree.Element]:
        """The marks of a kind (symbol, rect, rule, line, text) that stand for data, panel after panel."""
        return [mark for group in self._groups(f"mark-{kind} role-mark") for mark in group]

    def values(self, kind: str) -> list[dict[str, str]]:
        """What the marks of a kind stand for, column by column."""
        return [
            dict(part.split(": ", 1) for part in mark.attrib["aria-label"].replace("−", "-").split("; "))
            for mark in self.marks(kind)
        ]

    def ticks(self, which: int) -> dict[float, float]:
        """Where the numbers of an axis stand, in the direction of that axis: across for 0, down for 1."""
        found: dict[float, float] = {}
        for group in self._groups("mark-text role-axis-label"):
            at = {
                float((label.text or "").replace(",", "").replace("−", "-")): position(label)
                for label in group
            }
            if len({place[1 - which] for place in at.values()}) == 1:
                found |= {value: place[which] for value, place in at.items()}
        return found

    def _groups(self, role: str) -> Iterator[ElementTree.Element]:
        return (each for each in self.root.iter() if each.attrib.get("class", "").startswith(role))


def position(mark: ElementTree.Element) -> tuple[float, float]:
    """Where ``mark`` was moved to within its group."""
    found = re.match(r"translate\(([-\d.]+),([-\d.]+)\)", mark.attrib["transform"])
    assert found
    return float(found.group(1)), float(found.group(2))


def picture_of(make: Any, rows: list[dict[str, Any]], models: Mapping[str, str] | None = None) -> Picture:
    """The figure that ``make`` draws of ``rows``."""
    found = points(rows)
    return Picture(make(found, names(found) if models is None else models))


def _tag(each: ElementTree.Element) -> str:
    return str(each.tag).rpartition("}")[2]
