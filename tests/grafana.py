"""The Grafana dashboard as data: its panels, and what they ask Prometheus for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from deploy_files import ROOT

DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "llem-sweep.json"
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


class Asked(NamedTuple):
    """One expression of one panel."""

    panel: str
    expression: str
    legend: str


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return loaded


def panels() -> list[dict[str, Any]]:
    """Every panel but the headings."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def asked() -> Iterator[Asked]:
    """Every expression of every panel, as it stands in the file."""
    for panel in panels():
        for target in panel["targets"]:
            yield Asked(panel["title"], target["expr"], target["legendFormat"])


def filled(text: str, values: Mapping[str, str]) -> str:
    """``text`` with Grafana's variables replaced; raises KeyError for one that isn't known."""
    return _VARIABLE.sub(lambda found: values[found[1] or found[2]], text)


def variables(text: str) -> set[str]:
    """Names of the variables in ``text``."""
    return {found[1] or found[2] for found in _VARIABLE.finditer(text)}
