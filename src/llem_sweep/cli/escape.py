"""Text from outside (names, prompts, errors, paths) made fit for a terminal."""

from __future__ import annotations

from rich.text import Text

from llem_sweep.printable import printable

__all__ = ["outside", "printable"]


def outside(text: str, style: str = "", *, lines: bool = False) -> Text:
    """``text`` for a rich renderable: printable, and never read as markup."""
    return Text(printable(text, lines=lines), style)
