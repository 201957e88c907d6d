"""A real Prometheus scrapes a running sweep, and every panel of the Grafana dashboard has an answer from it."""

from __future__ import annotations

import json
import math
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

import documentation
import grafana
from deploy_files import ROOT
from integration.watched import Watched, watched_sweep

pytestmark = [pytest.mark.extra, pytest.mark.integration]

VARIABLES = {"sweep": "watched", "node": ".*", "simulated": "true", "__rate_interval": "10s"}
LIMIT_S = 75.0
EXPERIMENTS = 60
"""More than can be run until then: the sweep is stopped when all panels have answered."""

SOME = 6
"""Completed, so that what is counted has been seen to grow."""

Series = dict[tuple[tuple[str, str], ...], float]


class Prometheus:
    """Asked through its HTTP API."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}/api/v1/"

    def query(self, expression: str) -> Series:
        """Value by labels now; empty while nothing answers. Raises when the expression is wrong."""
        try:
            found = self._get("query", query=expression)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expression}: {error.read().decode()}") from error
        except urllib.error.URLError:
            return {}
        assert found["resultType"] == "vector", expression
        return {tuple(sorted(each["metric"].items())): float(each["value"][1]) for each in found["result"]}

    def values_of(self, label: str, metric: str) -> set[str]:
        return {dict(labels)[label] for labels in self.query(metric)}

    def _get(self, what: str, **fields: str) -> Any:
        with urllib.request.urlopen(
            self._base + f"{what}?{urllib.parse.urlencode(fields)}", timeout=10
        ) as answer:
            return json.load(answer)["data"]


@contextmanager
def prometheus(targets: Path, folder: Path) -> Iterator[Prometheus]:
    """The shipped configuration, but for the place of Ray's list and the pace."""
    config = yaml.safe_load((ROOT / "deploy" / "grafana" / "prometheus.yaml").read_text())
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s"}
    (found,) = config["scrape_configs"][0]["file_sd_configs"]
    found |= {"files": [str(targets)], "refresh_interval": "1s"}
    written = folder / "prometheus.yaml"
    written.write_text(yaml.safe_dump(config))
    subprocess.run(["promtool", "check", "config", str(written)], check=True, stdout=subprocess.DEVNULL)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "prometheus.log").open("w") as log:
        ours = {
            "--config.file": str(written),
            "--storage.tsdb.path": str(folder / "tsdb"),
            "--web.listen-address": f"127.0.0.1:{port}",
        }
        process = subprocess.Popen(documented(ours), stdout=log, stderr=subprocess.STDOUT)
    try:
        yield Prometheus(port)
    finally:
        process.terminate()
        process.wait(30)


def documented(ours: dict[str, str]) -> list[str]:
    """The command of docs/monitoring.md, every option of it given ``ours`` as its value."""
    page = documentation.read(ROOT / "docs" / "monitoring.md")
    every = [command for block in page.blocks for command in documentation.commands(block)]
    (command,) = [each for each in every if each.startswith("prometheus ")]
    program, *options = command.split()
    return [program, *(f"{name}={ours[name]}" for name, _, _ in (each.partition("=") for each in options))]


@pytest.fixture
def grid(write_sweep: Callable[..., Path]) -> Path:
    """One experiment takes its worker down and is run again, one fails, the others are completed."""
    told: list[dict[str, Any]] = [{"fail_at": "die", "fail_times": 1}, {"fail_at": "run"}]
    told += [{"output_tokens": number} for number in range(1, EXPERIMENTS - 1)]
    return write_sweep(
        "watched",
        synthetic={"run_seconds": 1.0, "load_seconds": 0.5},
        experiments=[{"synthetic": each} for each in told],
        execution={"cycle_order": "sequential"},
    )


def test_every_panel_answers_while_a_sweep_runs(grid: Path, tmp_path: Path) -> None:
    asked = [(each.panel, grafana.filled(each.expression, VARIABLES)) for each in grafana.asked()]
    with (
        watched_sweep(grid, tmp_path / "out") as sweep,
        prometheus(sweep.targets, tmp_path) as source,
    ):
        until_s = time.monotonic() + LIMIT_S
        while True:
            states = by(source.query('ray_llem_sweep_experiments{sweep="watched"}'), "state")
            answers = {(panel, expression): source.query(expression) for panel, expression in asked}
            assert sum(states.values()) in (0, EXPERIMENTS), states
            everything = all(answers.values()) and all(states.values()) and states["done"] >= SOME
            retried = sum(source.query("ray_llem_sweep_retries_total").values())
            if everything and retried:
                break
            empty = [panel for (panel, _), answer in answers.items() if not answer]
            assert sweep.process.poll() is None, "the sweep has ended"
            assert time.monotonic() < until_s, f"no answer for {empty}, states {states}, retried {retried}"
            time.sleep(0.5)
        variables = grafana.dashboard()["templating"]["list"]
        offered = {
            each["name"]: source.values_of(*label_and_metric(each["query"]["query"]))
            for each in variables
            if each["type"] == "query"
        }
        workers = actors(sweep, "GpuWorker")
        (status,) = actors(sweep, "StatusBoard")
        assert sweep.process.poll() is None
    (node,) = offered["node"]
    assert {repr_ for _, repr_ in workers} == {f"watched/{node}/gpu0", f"watched/{node}/gpu1"}
    names = [name for name, _ in workers]
    assert len(set(names)) == len(names) == 3, "one was replaced"
    assert {name.split("#")[0] for name in names} == {f"watched/{node}/worker{number}" for number in (0, 1)}
    assert status[1] == "watched/status"
    for (panel, expression), answer in answers.items():
        assert all(math.isfinite(value) for value in answer.values()), (panel, expression, answer)
        check(panel, answer)
    assert states["failed"] == 1
    assert states["running"] in (1, 2)
    assert retried == 1
    assert offered["sweep"] == {"watched"}
    assert offered["simulated"] == {"true"}


def actors(sweep: Watched, kind: str) -> list[tuple[str, str]]:
    """Name and repr of every actor of a class that there is or was, as the actors page has them."""
    asked = urllib.request.Request(
        f"http://{sweep.dashboard}/logical/actors", headers={"Authorization": f"Bearer {sweep.token}"}
    )
    with urllib.request.urlopen(asked, timeout=10) as answer:
        found = json.load(answer)["data"]["actors"].values()
    return [(each["name"], each["reprName"]) for each in found if each["actorClass"] == kind]


def by(series: Series, label: str) -> dict[str, float]:
    return {dict(labels)[label]: value for labels, value in series.items()}


def label_and_metric(query: str) -> tuple[str, str]:
    """Of Grafana's ``label_values(metric, label)``."""
    metric, _, label = query.removeprefix("label_values(").removesuffix(")").rpartition(", ")
    return label, grafana.filled(metric, VARIABLES)


def check(panel: str, answer: Series) -> None:
    """Whether ``answer`` is one that two simulated boards and these experiments can give."""
    values = list(answer.values())
    match panel:
        case "Power":
            assert sorted(by(answer, "board")) == ["gpu0", "gpu1"]
            assert set(by(answer, "kind")) == {"Simulated GPU"}
            assert all(50 <= watts <= 700 for watts in values)
        case "Power of all boards":
            assert all(100 <= watts <= 1400 for watts in values)
        case "Temperature":
            assert all(20 <= celsius <= 100 for celsius in values)
        case "Done" | "Utilisation":
            assert all(0 <= share <= 1 for share in values)
        case "Scheduling efficiency":
            assert all(0 < share <= 1 for share in values)
        case "Clocks held down":
            assert set(by(answer, "reason")) == {"power", "thermal"}
            assert set(values) <= {0.0, 1.0}
        case "Energy of each board":
            assert len(values) == 2
            assert all(50 < joules < 700 * LIMIT_S for joules in values)
        case "Energy measured":
            assert all(50 < joules < 2 * 700 * LIMIT_S for joules in values)
        case "What the workers do":
            assert 1.0 < sum(values) < 3.0, "two workers, and one that was replaced"
        case "Length of a phase":
            lengths_s = by(answer, "phase")
            assert lengths_s["load"] == pytest.approx(0.5, abs=0.4)
            assert {"load", "warm-up", "prefill", "decode"} <= set(lengths_s)
        case "Tokens measured":
            assert set(by(answer, "direction")) == {"input", "output"}
            assert set(by(answer, "backend")) == {"synthetic"}
            assert all(value > 0 for value in values)
        case "Models loaded":
            assert all(1 <= loads <= EXPERIMENTS for loads in values)
        case "Time left":
            assert all(0 < seconds < 600 for seconds in values)
        case "Experiments" | "Failed" | "Run again":
            assert sum(values) <= EXPERIMENTS
        case _:
            raise AssertionError(f"nothing is known of what {panel} may answer")
