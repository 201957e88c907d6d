"""What a part of the accuracy report is given, and what it hands over."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean
from typing import NamedTuple

SEED = 20260101


class Given(NamedTuple):
    """What the command line says."""

    seed: int = SEED
    windows: int = 2000
    """Windows of the part ``windows``."""


class Section(NamedTuple):
    """What one part found."""

    title: str
    text: tuple[str, ...]
    """Lines of Markdown: what is compared with what, the limits, the figures."""
    short: tuple[str, ...]
    """What falls short of a limit; empty when nothing does."""

    def lines(self) -> Iterator[str]:
        """The section as Markdown."""
        yield f"## {self.title}"
        yield ""
        yield from self.text
        yield ""
        yield from (f"**Falls short:** {each}  " for each in self.short)
        if not self.short:
            yield "Nothing falls short."
        yield ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    return [_row(head), "|" + "---|" * len(head), *map(_row, rows)]


def rms(values: Sequence[float]) -> float:
    """Root of the mean square."""
    return math.sqrt(fmean(value * value for value in values))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
