"""Colours that can be read on white and on black alike; nothing is said by a colour alone.

Contrast with white times contrast with black is 21, so that a colour with 4.5 to either is in the middle. The
first 16 colours are whatever the terminal's owner made of them, and faint text fades on many: neither is used.
"""

from __future__ import annotations

GOOD = "color(28)"
DOUBT = "color(130)"
BAD = "color(160)"
HEADER = "bold"
"""Of a table's columns."""
