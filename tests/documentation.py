"""The pages of the documentation, and what of them can be held against the program: blocks, links, commands.

Comments above a block say what a test is to make of it; they aren't rendered::

    <!-- not run: needs an account on AWS -->         and why
    <!-- run by: tests/integration/test_jobs.py -->   by a test of its own
    <!-- on Ray -->                                   with those tests that start one
    <!-- file: grid.yaml -->                          to be written before what follows is run
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
LANGUAGES = frozenset({"sh", "yaml", "python", "json", "text"})
"""What a block may be: commands, a sweep file, a program, data, or anything that isn't run, such as output."""

_FENCE = re.compile(r"^( *)(`{3,})(\S*)\s*$")
_COMMENT = re.compile(r"^<!-- (?P<what>not run|run by|on Ray|file)(: (?P<of>.+))? -->$")
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_ATTRIBUTE = re.compile(r"<(?:img|source|a)\b[^>]*?\b(?:src|srcset|href)=\"([^\"]+)\"")
_CODE = re.compile(r"(`+)(.+?)\1", re.DOTALL)


class Marker(NamedTuple):
    """A comment above a block."""

    what: str
    of: str


class Block(NamedTuple):
    """A fenced block."""

    line: int
    language: str
    text: str
    markers: tuple[Marker, ...]

    def marked(self, what: str) -> str | None:
        """What its comment of this kind says; None without one."""
        return next((marker.of for marker in self.markers if marker.what == what), None)

    @property
    def left_out(self) -> bool:
        """Whether it is for another time, machine or test."""
        return any(marker.what in ("not run", "run by") for marker in self.markers)


class Page(NamedTuple):
    """A page, read."""

    path: Path
    blocks: tuple[Block, ...]
    prose: str
    """Its text with every block emptied, lines kept."""

    @property
    def name(self) -> str:
        """Relative to the checkout."""
        return self.path.relative_to(ROOT).as_posix()


def pages() -> tuple[Page, ...]:
    """The README, the changelog, further pages at the top, and everything in docs."""
    paths = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
    return tuple(read(path) for path in paths)


def read(path: Path) -> Page:
    """The page at ``path``. Raises ValueError for a block that doesn't end."""
    blocks, prose = [], []
    markers: list[Marker] = []
    lines = iter(enumerate(path.read_text(encoding="utf-8").splitlines(), 1))
    for number, line in lines:
        fence = _FENCE.match(line)
        comment = _COMMENT.match(line.strip())
        if fence is not None:
            held = list(_until(lines, fence[2], path, number))
            text = "\n".join(each.removeprefix(fence[1]) for each in held)
            blocks.append(Block(number, fence[3], text, tuple(markers)))
            prose += [""] * (len(held) + 2)
            markers = []
            continue
        if comment is not None:
            markers.append(Marker(comment["what"], comment["of"] or ""))
        elif line.strip() and markers:
            raise ValueError(f"{path}:{number}: the comment above is above no block")
        prose.append(line)
    return Page(path, tuple(blocks), "\n".join(prose))


def commands(block: Block) -> list[str]:
    """The commands of a block of ``sh``, continued lines joined, without comments."""
    found, open_line = [], ""
    for line in block.text.splitlines():
        open_line += re.sub(r"(^|\s)#\s.*$", "", line).rstrip()
        if open_line.endswith("\\"):
            open_line = open_line[:-1]
        else:
            found += [" ".join(open_line.split())] if open_line.strip() else []
            open_line = ""
    if open_line:
        raise ValueError(f"line {block.line}: the last command goes on")
    return found


def links(page: Page) -> list[str]:
    """Targets of every link and picture, those of HTML as well; not what stands in code."""
    text = _CODE.sub("", page.prose)
    return _LINK.findall(text) + _ATTRIBUTE.findall(text)


def code_spans(page: Page) -> list[str]:
    """Every piece of code within a paragraph."""
    return [" ".join(match[2].split()) for match in _CODE.finditer(page.prose)]


def anchors(page: Page) -> set[str]:
    """Names of the page's headings, as MkDocs and GitHub make them."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.+?)\s*$", page.prose, re.MULTILINE):
        plain = unicodedata.normalize("NFKD", re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading))
        name = re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())
        found.add(name)
    return found


def _until(lines: Iterator[tuple[int, str]], fence: str, path: Path, begun: int) -> Iterator[str]:
    for _, line in lines:
        if line.strip() == fence:
            return
        yield line
    raise ValueError(f"{path}:{begun}: the block doesn't end")
