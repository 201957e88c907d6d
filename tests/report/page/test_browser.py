"""The page as its readers meet it: in a browser, from disk, by mouse and by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser import PHONE, Browser, chromium
from factories import make_plan
from llem_sweep.report.page.page import page
from llem_sweep.report.page.source import PageSource
from report_pages import HOSTILE, failure_of, hostile_source, make_sidecar, page_source, result_of, simulated

pytestmark = pytest.mark.extra
PLOTS = ("tradeoff", "bars", "map", "phases", "devices", "timeline")
CONTROLS = "button:not(:disabled), select, input, a[href], summary, [tabindex='0']"


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def browser(window: Browser) -> Browser:
    """The window as it was at first."""
    window.colours("light")
    window.size(1280, 900)
    window.requests()
    window.complaints()
    return window


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of ordinary names, one of hostile ones, one of two kinds of numbers, one of nothing yet."""
    top = tmp_path_factory.mktemp("pages")
    sources = {
        "plain": plain(),
        "hostile": hostile_source(),
        "kinds": two_kinds(),
        "empty": page_source(results=[]),
    }
    for name, source in sources.items():
        (top / f"{name}.html").write_bytes(page(source))
    return {name: top / f"{name}.html" for name in sources}


def plain() -> PageSource:
    sweep = {
        "model": ("acme/small", "acme/large"),
        "precision": ("fp16", "bf16"),
        "synthetic.run_seconds": (1.0, 2.0),
    }
    plan = make_plan(shared={"backend": "synthetic"}, sweep=sweep, n_cycles=2)
    results = [(f"folder-{n}", result_of(each, 15 - n)) for n, each in enumerate(plan.by_point[:-1])]
    samples = make_sidecar(boards=2)
    return page_source(plan, results, [("failed", failure_of(plan.by_point[-1]))], lambda folder: samples)


def two_kinds() -> PageSource:
    plan = make_plan(2)
    one, other = plan.by_point
    return page_source(plan, [("a", result_of(one)), ("b", simulated(other, 3))])


def drawn(browser: Browser, plot: str) -> list[int]:
    """How many figures each trace of a plot has."""
    found: list[int] = browser.run(
        "return (document.getElementById('plot-' + arguments[0]).data || [])"
        ".map((trace) => (trace.z ? trace.z.flat() : trace.x).filter((value) => value !== null).length)",
        plot,
    )
    return found


def marks(browser: Browser, plot: str) -> int:
    """How many of them the browser shows."""
    number: int = browser.run(
        "return document.querySelectorAll(`#plot-${arguments[0]} :is(.point, .hm image, .js-line)`).length",
        plot,
    )
    return number


@pytest.mark.parametrize("name", ["plain", "hostile", "kinds", "empty"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_opens_from_disk_without_a_request_or_an_error(
    browser: Browser, files: dict[str, Path], name: str, scheme: str
) -> None:
    browser.colours(scheme)
    browser.open(files[name])
    assert browser.requests() == [files[name].as_uri()], "the file itself and nothing else"
    assert browser.complaints() == []
    assert browser.run("return window.stolen") is None
    assert browser.run("return document.documentElement.dataset.theme") == scheme


def test_every_plot_has_its_figures_and_the_same_as_a_table(browser: Browser, files: dict[str, Path]) -> None:
    browser.open(files["plain"])
    for plot in PLOTS:
        assert sum(drawn(browser, plot)) > 0, plot
        assert marks(browser, plot) > 0, plot
        browser.run("document.querySelector(`details[data-of=plot-${arguments[0]}]`).open = true", plot)
    rows = browser.run(
        "return arguments[0].map((plot) =>"
        " document.querySelectorAll(`details[data-of=plot-${plot}] tbody tr`).length)",
        list(PLOTS),
    )
    assert rows == [8, 8, 2, 8, 2, 3]
    least = browser.run(
        "return [...document.querySelectorAll('details[data-of=plot-tradeoff] tbody tr')]"
        ".filter((row) => row.cells[4].textContent === 'yes').map((row) => row.cells[0].textContent)"
    )
    assert [name.split()[0] for name in least] == ["small", "large"]
    assert drawn(browser, "map") == [4]
    assert browser.complaints() == []


def test_a_tick_filters_plots_table_and_counts(browser: Browser, files: dict[str, Path]) -> None:
    browser.open(files["plain"])
    before = {plot: drawn(browser, plot) for plot in PLOTS}
    counted = text(browser, "#counted")
    assert counted == "8 configurations of 8, 16 experiments of 16"
    browser.driver.find_element("xpath", "//fieldset[legend='precision']//label[contains(., 'fp16')]").click()
    assert text(browser, "#counted") == "4 configurations of 8, 8 experiments of 16"
    assert drawn(browser, "bars") == [4]
    assert sum(drawn(browser, "phases")) == sum(before["phases"]) // 2
    assert drawn(browser, "map") == [2]
    assert drawn(browser, "devices") == before["devices"], "devices are of the whole sweep"
    assert text(browser, "#table-note") == "Experiments 1 to 8 of 8"
    browser.driver.find_element("id", "reset").click()
    assert text(browser, "#counted") == counted
    assert {plot: drawn(browser, plot) for plot in PLOTS} == before


def test_nothing_ticked_says_so_instead_of_drawing(browser: Browser, files: dict[str, Path]) -> None:
    browser.open(files["plain"])
    for box in browser.driver.find_elements("xpath", "//fieldset[legend='precision']//input"):
        box.click()
    assert "No configuration shown has a known energy" in text(browser, "#tradeoff .empty")
    assert text(browser, "#table-note") == "No experiment is shown."
    browser.driver.find_element("id", "reset").click()
    assert sum(drawn(browser, "tradeoff")) > 0
    assert browser.complaints() == []


def test_measured_and_simulated_are_shown_one_at_a_time(browser: Browser, files: dict[str, Path]) -> None:
    browser.open(files["kinds"])
    assert drawn(browser, "bars") == [1]
    assert text(browser, "#tradeoff .mark") == ""
    choose(browser, "kind", "simulated")
    assert text(browser, "#tradeoff .mark").lower() == "simulated: no measurement"
    assert drawn(browser, "bars") == [1]
    assert "simulated" in text(browser, "#experiments tbody")
    assert "measured" not in text(browser, "#experiments tbody").replace("simulated", "")


@pytest.mark.parametrize(
    ("control", "value", "plot"),
    [
        ("colour", "1", "tradeoff"),
        ("scales", "log", "tradeoff"),
        ("bar-figure", "tokens_per_second", "bars"),
        ("bar-order", "plan", "bars"),
        ("map-x", "2", "map"),
        ("map-y", "2", "map"),
        ("map-figure", "energy_j", "map"),
        ("experiment", "3", "timeline"),
        ("part", "window", "timeline"),
        ("part", "all", "timeline"),
    ],
)
def test_every_choice_changes_its_plot(
    browser: Browser, files: dict[str, Path], control: str, value: str, plot: str
) -> None:
    browser.open(files["plain"])
    shape = (
        "const plot = document.getElementById('plot-' + arguments[0]);"
        "return JSON.stringify([plot.data, plot.layout, plot.getAttribute('aria-label')])"
    )
    before = browser.run(shape, plot)
    choose(browser, control, value)
    assert browser.run(shape, plot) != before
    assert browser.complaints() == []


def test_the_table_sorts_finds_and_links(browser: Browser, files: dict[str, Path]) -> None:
    browser.open(files["plain"])

    def first() -> str:
        return text(browser, "#experiments tbody tr:first-child td:nth-child(4)")

    heading = browser.driver.find_element("xpath", "//th[contains(., 'J per token')]")
    button = heading.find_element("tag name", "button")
    button.click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert first() == "5.100 ± 0.012"
    button.click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert first() == "6.500 ± 0.012"
    browser.driver.find_element("id", "find").send_keys("out_of_memory")
    assert text(browser, "#table-note") == "Experiments 1 to 1 of 1"
    browser.press("\ue003" * len("out_of_memory"))
    link = browser.driver.find_element("css selector", "#experiments a[href^=folder]")
    assert (link.get_attribute("href") or "").startswith(files["plain"].parent.as_uri() + "/folder-")


def test_the_keyboard_alone_reaches_and_works_every_control(browser: Browser, files: dict[str, Path]) -> None:
    browser.open(files["plain"])
    browser.run("document.querySelectorAll('details').forEach((box) => { box.open = true; })")
    wanted = browser.run(
        "window.wanted = [...document.querySelectorAll(arguments[0])].filter((each) => each.checkVisibility());"
        "window.reached = new Set(); return window.wanted.length",
        CONTROLS,
    )
    assert wanted > 50
    for _ in range(wanted + 20):
        browser.tab()
        browser.run("window.reached.add(document.activeElement)")
    missed = browser.run(
        "return window.wanted.filter((each) => !window.reached.has(each)).map((each) => each.outerHTML)"
    )
    assert missed == []
    browser.run("document.querySelector('#dimensions input').focus()")
    browser.press(" ")
    assert text(browser, "#counted").startswith("4 configurations of 8")
    browser.run("document.getElementById('map-figure').focus()")
    before = browser.run("return document.getElementById('plot-map').data[0].z")
    browser.press("\ue015")
    assert browser.run("return document.getElementById('plot-map').data[0].z") != before
    browser.run("document.getElementById('theme').focus()")
    browser.press("\ue007")
    assert browser.run("return document.documentElement.dataset.theme") == "dark"
    browser.run("document.querySelector('#experiments thead button').focus()")
    browser.press("\ue007")
    assert (
        browser.run("return document.querySelector('#experiments th').getAttribute('aria-sort')")
        == "ascending"
    )


def test_the_first_tab_stop_skips_to_the_report_and_the_focus_is_to_be_seen(
    browser: Browser, files: dict[str, Path]
) -> None:
    browser.open(files["plain"])
    browser.tab()
    assert browser.driver.switch_to.active_element.text == "Skip to the report"
    browser.press("\ue007")
    assert browser.run("return document.activeElement.id") == "main"
    browser.run("document.getElementById('colour').focus()")
    browser.tab()
    assert browser.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_every_control_and_plot_has_a_name(browser: Browser, files: dict[str, Path]) -> None:
    browser.open(files["plain"])
    tree: list[dict[str, Any]] = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    interactive = {"button", "combobox", "checkbox", "link", "searchbox", "image", "region", "table"}
    named = [
        (node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if "role" in node
    ]
    nameless = [role for role, name in named if role in interactive and not name.strip()]
    assert nameless == []
    images = [name for role, name in named if role == "image"]
    assert len(images) >= len(PLOTS)


def test_hostile_names_are_read_as_they_are(browser: Browser, files: dict[str, Path]) -> None:
    browser.open(files["hostile"])
    for plot in PLOTS:
        assert sum(drawn(browser, plot)) > 0, plot
    browser.run("document.querySelectorAll('details').forEach((box) => { box.open = true; })")
    assert HOSTILE[0] in text(browser, "h1")
    assert "<b>bold</b>" in text(browser, "#experiments")
    assert "<img src=x onerror" in browser.run("return document.getElementById('plot-bars').textContent")
    assert "<img" in text(browser, "#timeline-note")
    assert (
        browser.run("return document.querySelectorAll('main img, main b, main iframe, svg a, svg b').length")
        == 0
    )
    for control in ("colour", "map-x", "experiment", "bar-figure"):
        choose(
            browser,
            control,
            browser.run("return document.getElementById(arguments[0]).lastElementChild.value", control),
        )
    browser.run("document.querySelectorAll('.chip input').forEach((box) => box.click())")
    browser.run("document.getElementById('reset').click()")
    hover = browser.run("return document.getElementById('plot-bars').getBoundingClientRect().toJSON()")
    browser.run("document.getElementById('plot-bars').scrollIntoView({behavior: 'instant'})")
    for x in (0.35, 0.5):
        browser.driver.execute_cdp_cmd(
            "Input.dispatchMouseEvent",
            {"type": "mouseMoved", "x": hover["left"] + x * hover["width"], "y": 130},
        )
    assert browser.run("return window.stolen") is None
    assert browser.complaints() == []
    assert browser.requests() == [files["hostile"].as_uri()]


@pytest.mark.parametrize("name", ["plain", "hostile"])
def test_on_a_phone_the_page_never_scrolls_sideways(
    browser: Browser, files: dict[str, Path], name: str
) -> None:
    browser.size(*PHONE, phone=True)
    browser.open(files[name])
    browser.run("document.querySelectorAll('details').forEach((box) => { box.open = true; })")
    assert browser.run("return [document.documentElement.scrollWidth, window.innerWidth]") == [
        PHONE[0],
        PHONE[0],
    ]
    for plot in PLOTS:
        width = browser.run(
            "return document.querySelector(`#plot-${arguments[0]} svg`).getBoundingClientRect().right", plot
        )
        assert width <= PHONE[0], plot


def test_it_prints(browser: Browser, files: dict[str, Path]) -> None:
    browser.open(files["plain"])
    printed = browser.pdf()
    assert printed.startswith(b"%PDF-")
    assert len(printed) > 50_000
    assert browser.complaints() == []


def text(browser: Browser, selector: str) -> str:
    """What is to be read there."""
    said: str = browser.run("return document.querySelector(arguments[0]).innerText", selector)
    return said.strip()


def choose(browser: Browser, control: str, value: str) -> None:
    """Choose ``value`` of a list, as a user does."""
    browser.run(
        "const list = document.getElementById(arguments[0]); list.value = arguments[1];"
        "list.dispatchEvent(new Event('change', {bubbles: true}))",
        control,
        value,
    )
