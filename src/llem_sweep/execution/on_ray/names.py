"""What Ray's dashboard calls the actors of a sweep."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Sequence

_run = secrets.token_hex(3)
_births = itertools.count(1)


def unique(name: str) -> str:
    """``name`` for one actor and no other: Ray keeps the name of a dead one for a while."""
    return f"{name}#{_run}.{next(_births)}"


def boards_label(ids: Sequence[str]) -> str:
    """The boards that Ray has assigned, in one word: ``gpu3``, ``gpu0-3``, ``gpu0+gpu2``; empty for none."""
    if len(ids) > 1 and all(each.isdecimal() for each in ids):
        numbers = sorted(map(int, ids))
        if numbers == list(range(numbers[0], numbers[-1] + 1)):
            return f"gpu{numbers[0]}-{numbers[-1]}"
    return "+".join(f"gpu{each}" if each.isdecimal() else each for each in ids)
