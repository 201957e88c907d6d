"""The Grafana dashboard and what is provisioned beside it, held to the metrics that the code declares."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

import pytest
import yaml

import grafana
from deploy_files import ROOT
from grafana import Asked
from llem_sweep.execution.on_ray.metrics import METRICS

DECLARED = {f"ray_{metric.name}": metric for metric in METRICS}
_SELECTOR = re.compile(r"\b(ray_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'\b(\w+)\s*(?:=~|!~|!=|=)\s*"')
_GROUPED = re.compile(r"\bby \(([^)]*)\)")
_LEGEND = re.compile(r"\{\{(\w+)\}\}")
GRAFANAS_OWN = {"__rate_interval", "__all"}
UNITS = {
    "_watts": "watt",
    "_celsius": "celsius",
    "_ratio": "percentunit",
    "_joules_total": "joule",
    "_seconds": "s",
}
"""Grafana's unit of a panel that shows such a metric as it is."""

EVERYTHING = list(grafana.asked())


def queries() -> list[str]:
    """Everything that is asked of Prometheus: by panels, and for the variables."""
    variables = grafana.dashboard()["templating"]["list"]
    return [
        *(each.expression for each in EVERYTHING),
        *(each["query"]["query"] for each in variables if each["type"] == "query"),
    ]


def selected(expression: str) -> dict[str, set[str]]:
    """The labels by which each metric in ``expression`` is chosen."""
    return {found[1]: set(_MATCHER.findall(found[2] or "")) for found in _SELECTOR.finditer(expression)}


def test_every_metric_is_shown_and_nothing_else_is_asked_for() -> None:
    assert {metric for each in EVERYTHING for metric in selected(each.expression)} == set(DECLARED)
    assert {metric for each in queries() for metric in selected(each)} == set(DECLARED)


@pytest.mark.parametrize("expression", queries())
def test_metrics_are_chosen_by_labels_that_they_have(expression: str) -> None:
    for metric, labels in selected(expression).items():
        assert labels <= set(DECLARED[metric].tags), metric


@pytest.mark.parametrize("asked", EVERYTHING, ids=lambda each: each.expression)
def test_legends_and_groups_name_labels_that_are_left(asked: Asked) -> None:
    known = set.intersection(*(set(DECLARED[metric].tags) for metric in selected(asked.expression)))
    groups = [set(group.split(", ")) for group in _GROUPED.findall(asked.expression)]
    for group in groups:
        assert group <= known
    aggregated = re.match(r"(sum|min|max|count|avg)\b", asked.expression)
    left = (groups[0] if groups else set()) if aggregated else known
    assert set(_LEGEND.findall(asked.legend)) <= left
    assert asked.legend


@pytest.mark.parametrize("asked", EVERYTHING, ids=lambda each: each.expression)
def test_simulated_and_measured_are_never_in_one_panel(asked: Asked) -> None:
    for found in _SELECTOR.finditer(asked.expression):
        assert 'simulated="$simulated"' in (found[2] or "")


def test_every_heading_says_whether_boards_are_simulated() -> None:
    headings = [panel["title"] for panel in grafana.dashboard()["panels"] if panel["type"] == "row"]
    assert len(headings) == 3
    assert all("simulated: $simulated" in heading for heading in headings)


def test_every_variable_is_defined_and_used() -> None:
    board = grafana.dashboard()
    defined = {each["name"] for each in board["templating"]["list"]}
    text = grafana.DASHBOARD.read_text()
    assert grafana.variables(text) - GRAFANAS_OWN == defined
    for panel in grafana.panels():
        assert panel["datasource"]["uid"] == "${datasource}"


def test_panels_have_titles_units_numbers_and_room_of_their_own() -> None:
    every = grafana.dashboard()["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    assert len({panel["title"] for panel in every}) == len(every)
    for panel in grafana.panels():
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["type"] in ("stat", "timeseries")
    for one, other in combinations(every, 2):
        assert not overlap(one["gridPos"], other["gridPos"]), (one["title"], other["title"])
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in every)


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


def test_a_panel_has_the_unit_of_what_it_shows() -> None:
    seen = set()
    for panel in grafana.panels():
        (first, *_) = panel["targets"]
        expression = first["expr"]
        if "rate(" in expression or "increase(" in expression or " / " in expression:
            continue
        (metric,) = selected(expression)
        for suffix, unit in UNITS.items():
            if metric.endswith(suffix):
                seen.add(suffix)
                assert panel["fieldConfig"]["defaults"]["unit"] == unit, panel["title"]
    assert seen == set(UNITS)


def provisioned(name: str) -> Any:
    return yaml.safe_load((ROOT / "deploy" / "grafana" / name).read_text())


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    (source,) = provisioned("provisioning/datasources/prometheus.yaml")["datasources"]
    (scrape,) = provisioned("prometheus.yaml")["scrape_configs"]
    assert source["type"] == "prometheus"
    assert source["url"] == "http://127.0.0.1:9090", "where Prometheus listens unless told otherwise"
    assert source["jsonData"]["timeInterval"] == provisioned("prometheus.yaml")["global"]["scrape_interval"]
    assert scrape["file_sd_configs"][0]["files"] == ["/tmp/ray/prom_metrics_service_discovery.json"]
    (provider,) = provisioned("provisioning/dashboards/llem-sweep.yaml")["providers"]
    assert provider["type"] == "file"
    assert provider["options"]["path"] == "${LLEM_SWEEP_DASHBOARDS}"
    assert "LLEM_SWEEP_DASHBOARDS" in (ROOT / "docs" / "monitoring.md").read_text()
