"""The documentation as a site: built strictly, with every page in its place, and whole without a network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from documentation import ROOT

SETTINGS = ROOT / "mkdocs.yml"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as ``make docs`` does it."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", SETTINGS, "--site-dir", folder],
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return folder


def pages_in(nav: object) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [page for part in (nav.values() if isinstance(nav, dict) else nav) for page in pages_in(part)]  # type: ignore[attr-defined]


def test_every_page_has_one_place_in_the_navigation() -> None:
    nav = yaml.safe_load(SETTINGS.read_text(encoding="utf-8"))["nav"]
    docs = ROOT / "docs"
    there = [path.relative_to(docs).as_posix() for path in docs.rglob("*.md")]
    assert sorted(pages_in(nav)) == sorted(there), (
        "put a new page into nav: of mkdocs.yml, and into docs/index.md"
    )


def test_every_page_is_on_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", index)) | {"index.md"}
    assert linked == {path.name for path in (ROOT / "docs").glob("*.md")}


def test_the_site_has_every_page_and_its_search(site: Path) -> None:
    for page in (ROOT / "docs").glob("*.md"):
        assert (site / f"{page.stem}.html").is_file()
    assert (site / "search" / "search_index.json").is_file()
    assert list(site.rglob("*.py")) == []


def test_the_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    fetching = re.compile(
        r"<(?:script|link|img|source|iframe)\b[^>]*?\b(?:src|href|srcset)=\"?((?:https?:)?//[^\" >]+)"
    )
    for page in site.rglob("*.html"):
        assert fetching.findall(page.read_text(encoding="utf-8")) == [], page.name
    for sheet in site.rglob("*.css"):
        assert re.findall(r"url\(\s*[\"']?(?:https?:)?//", sheet.read_text(encoding="utf-8")) == [], (
            sheet.name
        )


def test_links_into_the_checkout_are_text_on_the_site(site: Path) -> None:
    page = (site / "clusters.html").read_text(encoding="utf-8")
    assert "<code>deploy/local.yaml</code>" in page
    assert 'href="../deploy' not in page
