"""The page as bytes: its figures are the results', nothing gets out of place, nothing is asked of a network."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest

from factories import make_plan
from llem_sweep.report.page.page import as_script_data, page
from report_pages import HOSTILE, failure_of, hostile_source, page_source, result_of, simulated

KNOWN = {
    "html", "head", "meta", "title", "style", "body", "a", "header", "div", "p", "span", "button", "main", "h1",
    "h2", "h3", "noscript", "nav", "ul", "li", "section", "label", "select", "option", "details", "summary",
    "input", "table", "caption", "thead", "tbody", "tr", "th", "td", "footer", "script", "bdi", "code", "pre",
    "dl", "dt", "dd", "strong", "article",
}  # fmt: skip
"""Elements of a page, ``img`` and ``b`` not among them."""


class Elements(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "input"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag in ("dt", "dd", "th", "td", "p"):
            self.texts.append(" ")

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.scripts.append(data)
        elif self._open and self._open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())

    def named(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for name, attributes in self.found if name == tag)


def data_of(html: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found.group(1))
    return data


def test_the_figures_of_the_page_are_those_of_the_results() -> None:
    plan = make_plan(2, n_cycles=2)
    results = [(f"f{n}", result_of(each, n)) for n, each in enumerate(plan.by_point)]
    data = data_of(page(page_source(plan, results)).decode())
    assert data["rows"]["total_energy_j"] == [result.total_energy_j for _, result in results]
    assert data["rows"]["avg_energy_per_token_j"] == [result.avg_energy_per_token_j for _, result in results]
    assert data["rows"]["href"] == ["f0/", "f1/", "f2/", "f3/"]
    first, second = data["points"]["energy_per_token_j"]
    assert first[0] == pytest.approx((5.0 + 5.1) / 2)
    assert second[0] == pytest.approx((5.2 + 5.3) / 2)
    assert first[1] > 0.05
    prefill, decode = data["points"]["prefill_per_token_j"][0], data["points"]["decode_per_token_j"][0]
    assert prefill[0] + decode[0] == pytest.approx(first[0])
    assert data["points"]["front"] == [True, True]
    assert data["points"]["best"] == [True, False]
    assert [board["energy_j"] for board in data["boards"]] == [12000.0, 8000.0]
    assert data["dimensions"][1] == {
        "name": "synthetic.run_seconds",
        "values": ["0.0", "1.0"],
        "numeric": True,
    }
    assert data["points"]["values"] == [[0, 0], [0, 1]]


def test_the_same_sweep_gives_the_same_bytes() -> None:
    assert page(page_source()) == page(page_source())


def test_nothing_hostile_becomes_markup_or_leaves_its_script() -> None:
    html = page(hostile_source()).decode()
    elements = Elements(html)
    assert {tag for tag, _ in elements.found} <= KNOWN
    assert all(not name.startswith("on") for _, attributes in elements.found for name in attributes)
    assert len(elements.scripts) == 3
    data = json.loads(elements.scripts[0])
    assert "window.stolen" not in elements.scripts[1] + elements.scripts[2]
    assert any("<img src=x" in label for label in data["points"]["label"])
    assert "\u202e" not in html
    assert "\\u202e" in elements.text
    assert not {"\u2028", "\u2029"} & set(html)
    for hostile in HOSTILE[:3]:
        assert " ".join(hostile.split()) in elements.text, "what it says is still to be read"
    links = [attributes["href"] or "" for attributes in elements.named("a")]
    assert all(link.startswith("#") for link in links)
    assert not any(set(":<>\"'") & set(href or "") for href in data["rows"]["href"])


def test_data_cannot_end_its_script() -> None:
    text = as_script_data({"a": "</script><!--&\u2028"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": "</script><!--&\u2028"}


def test_the_page_asks_for_nothing_and_lets_nothing_else_run() -> None:
    elements = Elements(page(page_source()).decode())
    for tag, attributes in elements.found:
        assert not {"src", "srcset", "data", "action"} & attributes.keys(), tag
    [policy] = [each["content"] or "" for each in elements.named("meta") if "http-equiv" in each]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline" not in policy.replace("style-src-attr 'unsafe-inline'", "")
    assert "unsafe-eval" not in policy
    assert "http" not in policy


def test_a_simulation_says_so_in_words_that_cannot_be_overlooked() -> None:
    plan = make_plan(2)
    results = [(f"f{n}", simulated(each, n)) for n, each in enumerate(plan.by_point)]
    html = page(page_source(plan, results)).decode()
    assert "No measurement. Every experiment ran on SIMULATED boards" in Elements(html).text
    assert html.index('class="banner"') < html.index('id="tiles"')
    data = data_of(html)
    assert data["rows"]["measured"] == ["simulated", "simulated"]
    assert [kind["words"] for kind in data["kinds"]] == ["simulated"]
    assert {board["measured"] for board in data["boards"]} == {"simulated"}
    assert "SIMULATED" not in Elements(page(page_source()).decode()).text


def test_measured_and_simulated_results_are_kept_apart() -> None:
    plan = make_plan(2)
    one, other = plan.by_point
    data = data_of(page(page_source(plan, [("a", result_of(one)), ("b", simulated(other, 9))])).decode())
    assert [kind["words"] for kind in data["kinds"]] == ["measured", "simulated"]
    assert data["points"]["kind"] == [0, 1]
    assert data["points"]["front"] == [True, True], "each on the front of its own kind"


def test_warnings_and_failures_come_with_what_to_do() -> None:
    plan = make_plan(2)
    one, other = plan.by_point
    html = page(page_source(plan, [("a", result_of(one))], [("b", failure_of(other, "no room"))])).decode()
    text = Elements(html).text
    assert "power_throttle 1 of 1 results" in text
    assert "What to do: expected at the power limit; compare only runs at the same limit" in text
    assert "in 3 % of the samples" in text
    assert "out_of_memory Llama-3.1-8B run_seconds=1.0" in text
    assert "no room" in text
    assert "What to do: take a smaller batch, shorter requests" in text
    assert "the end of the log" in text


def test_the_way_to_run_it_again_is_the_file_and_the_command() -> None:
    texts = (("sweep.yaml", "model: m\n\n# --set n=3 4\n"), ("sweep-2.yaml", "model: k\n"))
    settings = {"simulate_gpus": 2, "inline": True, "address": None}
    text = Elements(page(page_source(texts=texts, settings=settings)).decode()).text
    assert "llem-sweep sweep.yaml --set 'n=3 4' --simulate-gpus 2 --inline" in text
    assert "llem-sweep sweep-2.yaml --simulate-gpus 2 --inline --resume DIR --extend" in text
    assert "model: k" in text


def test_provenance_names_versions_boards_seed_and_method() -> None:
    text = Elements(page(page_source()).decode()).text
    for said in (
        "GPU-11111111-2222-3333-4444-555555555555",
        "NVIDIA H100 80GB HBM3",
        "Coverage 95%",
        "Estimator 1",
        "Energy by counter",
        "Seeds of sampling 42",
        "Order sequential, 2 cycles each",
        "-6 % to +11 %",
    ):
        assert said in text, said


def test_every_field_of_a_configuration_is_in_the_page_once_or_with_its_own() -> None:
    plan = make_plan(2)
    html = page(page_source(plan)).decode()
    own = data_of(html)["configurations"]
    assert [own[each.config_hash]["synthetic.run_seconds"] for each in plan.by_point] == ["0.0", "1.0"]
    assert all("precision" not in fields for fields in own.values())
    assert "precision bf16" in Elements(html).text


def test_a_sweep_of_which_nothing_is_known_yet_has_a_page() -> None:
    html = page(page_source(results=[])).decode()
    assert "6 not run yet" in Elements(html).text
    assert data_of(html)["points"]["label"] == []


def test_every_control_has_a_name_and_every_section_a_heading() -> None:
    elements = Elements(page(page_source()).decode())
    names = {each.get("id") for each in elements.named("h2")}
    for section in elements.named("section"):
        assert section["aria-labelledby"] in names
    assert next(elements.named("html"))["lang"] == "en"
    assert any(each.get("class") == "skip" for each in elements.named("a"))
