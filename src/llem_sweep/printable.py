"""Text from outside (names, prompts, errors, paths) made fit to be shown, on a terminal or on a page."""

from __future__ import annotations

import unicodedata

from llem_sweep.redaction import redact

_UNPRINTABLE = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}
"""Unicode categories that move the cursor, reorder or hide text, have no shape or can't be encoded: control codes,
formatting (text direction among it), unassigned and private ones, lone surrogates, line and paragraph ends."""


def printable(text: str, *, lines: bool = False) -> str:
    """``text`` without credentials, everything a terminal would act on spelled out, as ``\\x1b`` or ``\\u202e``.

    Line ends are spelled out too unless ``lines`` keeps them; a tab becomes spaces.
    """
    plain = redact(text).replace("\r\n", "\n").expandtabs(4)
    # Nearly every text is, and looking at each of its characters takes longer than all else here.
    return plain if plain.isprintable() else "".join(_shown(char, lines) for char in plain)


def _shown(char: str, lines: bool) -> str:
    if unicodedata.category(char) not in _UNPRINTABLE or (lines and char == "\n"):
        return char
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")
