"""Every link of the documentation leads somewhere, without asking a network."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from documentation import ROOT, Page, anchors, links, pages, read

PAGES = pages()
EXTERNAL = frozenset(
    {
        "https://arrow.apache.org/docs/python/",
        "https://ctan.org/pkg/booktabs",
        "https://github.com/mlco2/codecarbon",
    }
)
"""Every address outside the checkout that a page links to, so that a new one is looked at."""
HOSTS = frozenset({"127.0.0.1", "bucket", "store.example"})
"""What an address may name, in code as well: this machine, and names that are nobody's."""


def problem_of(target: str, page: Path) -> str | None:
    """What is wrong with a link to ``target`` on ``page``; None when it leads somewhere."""
    parts = urlsplit(target)
    if parts.scheme:
        if parts.scheme != "https" or "." not in parts.netloc:
            return "isn't an address of https"
        return None if target in EXTERNAL else "isn't listed in EXTERNAL"
    file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not file.is_relative_to(ROOT):
        return "leads out of the checkout"
    if not file.exists():
        return "leads nowhere"
    if parts.fragment and (file.suffix != ".md" or parts.fragment not in anchors(read(file))):
        return f"{file.name} has no heading of that name"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Page) -> None:
    problems = {target: problem_of(target, page.path) for target in links(page)}
    assert {target: problem for target, problem in problems.items() if problem} == {}


def test_pages_and_links_are_found() -> None:
    """That there is something to look at."""
    names = {page.name for page in PAGES}
    assert {"README.md", "CHANGELOG.md", "docs/measurement.md"} <= names
    found = {target for page in PAGES for target in links(page)}
    assert {"docs/tutorial.md", "architecture.md#when-something-dies", "../cluster.yaml"} <= found


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("no-such-page.md", "leads nowhere"),
        ("measurement.md#no-such-heading", "measurement.md has no heading of that name"),
        ("#no-such-heading", "weights.md has no heading of that name"),
        ("../cluster.yaml#head", "cluster.yaml has no heading of that name"),
        ("../../elsewhere.md", "leads out of the checkout"),
        ("http://store.example/page", "isn't an address of https"),
        ("https://store.example/page", "isn't listed in EXTERNAL"),
        ("measurement.md#energy-and-its-bound", None),
        ("#lora-adapters", None),
        ("../deploy/", None),
    ],
)
def test_a_link_that_leads_nowhere_is_noticed(target: str, problem: str | None) -> None:
    assert problem_of(target, ROOT / "docs" / "weights.md") == problem


def test_links_and_pictures_are_seen_in_markdown_and_html(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        '[one](a.md) ![two](b.png "title") [`three`](c.md#d) <img src="e.png" alt="">\n'
        "[![four](f.png)](g.md) [five\nlines](h.md) `[no](code.md)`\n```text\n[no](block.md)\n```\n"
    )
    assert sorted(links(read(page))) == ["a.md", "b.png", "c.md#d", "e.png", "f.png", "g.md", "h.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_names_a_host_of_others(page: Page) -> None:
    text = page.path.read_text(encoding="utf-8")
    named = set(re.findall(r"\b[a-z][a-z0-9+]*://([\w.-]+)", text))
    listed = {urlsplit(target).hostname for target in EXTERNAL}
    assert named - HOSTS - listed == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pictures_have_words_for_those_who_dont_see_them(page: Page) -> None:
    assert re.findall(r"!\[\s*\]\(", page.prose) == []
    assert [
        tag for tag in re.findall(r"<img\b[^>]*>", page.prose) if not re.search(r'alt="[^"]+"', tag)
    ] == []
