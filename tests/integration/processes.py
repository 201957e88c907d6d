"""Processes of this machine, as /proc shows them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")


class Process(NamedTuple):
    """A process that runs, or is stopped."""

    pid: int
    parent: int
    state: str
    """One letter, as ps shows it: Z has ended already."""
    command: str


def processes() -> Iterator[Process]:
    """Every process that can be seen, except those that end while it is looked."""
    for entry in PROC.iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            # The name in brackets may hold anything, brackets too.
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
        yield Process(int(entry.name), int(parent), state, command)


def children(parent: int) -> list[Process]:
    """The children of a process, zombies left out, by age."""
    found = [each for each in processes() if each.parent == parent and each.state != "Z"]
    return sorted(found, key=lambda each: each.pid)


def using(folder: Path) -> list[Process]:
    """Processes that were started with a path below ``folder`` or have a file open there, zombies left out."""
    return [each for each in processes() if each.state != "Z" and _uses(each, folder)]


def _uses(process: Process, folder: Path) -> bool:
    if f"{folder}/" in process.command:
        return True
    try:
        for link in (PROC / str(process.pid) / "fd").iterdir():
            if os.readlink(link).startswith(f"{folder}/"):
                return True
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False
    return False
