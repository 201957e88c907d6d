"""Every command and option of the command line.

    PYTHONPATH=src python tests/cli_page.py > docs/cli.md

Made from the program itself, so that the page has what ``--help`` has.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from cyclopts import App
from cyclopts.argument import Argument

from llem_sweep.cli.app import build_app
from llem_sweep.cli.library import Package

_INTRODUCTION = """\
# Command line

Made by `tests/cli_page.py` from the program itself; `tests/docs/test_generated.py` holds it to that.
`llem-sweep --help` and `llem-sweep COMMAND --help` print the same.
"""
_EXIT_CODES = """\
## Exit codes

| code | meaning |
|---|---|
| 0 | all done; of a dry run: it could be planned |
| 1 | experiments failed or can't run here; results aren't publishable and had to be, or contradict their samples |
| 2 | the configuration or the command line is wrong |
| 3 | the environment is: no GPU, cluster unreachable or lost, output not writable |
| 130 | interrupted. The first Ctrl-C lets running experiments finish, the second stops at once |
"""
_VALUES: dict[Any, str] = {bool: "", int: "a whole number", float: "a number", str: "text", Path: "a path"}


def app() -> App:
    """The program."""
    return build_app(Package())


def commands(of: App) -> tuple[str, ...]:
    """Names of the commands, in the order in which they were added."""
    return tuple(name for name in of if not name.startswith("-"))


def page() -> str:
    """docs/cli.md."""
    program = app()
    parts = [_INTRODUCTION, *_command("llem-sweep GRID.yaml", program)]
    for name in commands(program):
        parts += _command(f"llem-sweep {name}", program[name])
    return "\n".join([*parts, _EXIT_CODES])


def _command(title: str, command: App) -> Iterator[str]:
    arguments = list(command.assemble_argument_collection())
    given = " ".join(
        each.names[0] for each in arguments if each.required and not each.names[0].startswith("-")
    )
    yield f"## `{' '.join(filter(None, (title, given)))}`\n"
    assert command.default_command is not None, f"{title} does nothing"
    yield f"{inspect.getdoc(command.default_command)}\n"
    if arguments:
        yield "| option | value | what it does |\n|---|---|---|"
        yield "\n".join(map(_row, arguments)) + "\n"


def _row(argument: Argument) -> str:
    names = ", ".join(f"`{name}`" for name in argument.names)
    text = (argument.parameter.help or "").replace("|", "\\|")
    return f"| {names} | {value(argument.hint)} | {text} |"


def value(hint: Any) -> str:
    """What is given for a parameter of type ``hint``, in words."""
    if get_origin(hint) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(hint))
    kinds = [each for each in get_args(hint) if each is not NoneType] if hint not in _VALUES else [hint]
    if get_origin(hint) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(hint))
    if get_origin(hint) in (list, tuple):
        return f"{value(get_args(hint)[0])}, again for more"
    if set(kinds) == {Path, str}:
        return "a path or URI"
    return " or ".join(_VALUES[kind] if kind in _VALUES else value(kind) for kind in kinds)


if __name__ == "__main__":
    sys.stdout.write(page())
