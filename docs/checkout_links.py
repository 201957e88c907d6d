"""Links out of this folder lead into a checkout, which the site hasn't: there they are text."""

from __future__ import annotations

import re

_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./[^)]+\)")


def on_page_markdown(markdown: str, **_: object) -> str:
    """Called by MkDocs for each page."""
    return _OUTSIDE.sub(r"\1", markdown)
