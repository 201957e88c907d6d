"""Errors as printed: plain lines on the error stream, so that paths in them stay whole."""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Sequence
from typing import TextIO

from cyclopts.exceptions import CycloptsError, UnusedCliTokensError

from llem_sweep.cli.escape import printable
from llem_sweep.errors import ConfigError, LlemSweepError

COMMANDS = ("compare", "doctor", "export", "report", "schema", "verify")


def print_error(error: LlemSweepError, stream: TextIO, *, verbose: bool) -> None:
    """Print what is wrong, every problem on a line of its own, and with ``verbose`` where it came from.

    A wrong configuration comes from the user's file, which its message names, unless something else caused it.
    """
    if verbose and (error.__cause__ is not None or not isinstance(error, ConfigError)):
        stream.write(printable("".join(traceback.format_exception(error)), lines=True))
    text = printable(str(error), lines=True)
    if isinstance(error, ConfigError) and len(error.problems) > 1:
        stream.write(f"error: {len(error.problems)} problems\n{text}\n")
    else:
        stream.write(f"error: {text}\n")
    for note in getattr(error, "__notes__", ()):
        stream.write(printable(note, lines=True) + "\n")


def usage_problem(error: CycloptsError, tokens: Sequence[str]) -> str:
    """What is wrong with a command line, and what may have been meant."""
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        first = next((token for token in tokens if not token.startswith("-")), "")
        if first not in COMMANDS and (hint := command_hint(first)):
            return f"no such command: {first}\n{hint}"
        return f"not understood: {' '.join(error.unused_tokens)}\nSee llem-sweep --help."
    error.verbose = False
    return f"{error}\nSee llem-sweep --help."


def command_hint(word: str) -> str | None:
    """The command that ``word`` may be a misspelling of, as a question."""
    near = difflib.get_close_matches(word, COMMANDS, n=1, cutoff=0.6)
    return f"Did you mean: llem-sweep {near[0]}" if near else None
