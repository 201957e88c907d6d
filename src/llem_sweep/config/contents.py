"""What local model folders and dataset files hold, as digests: identity goes by content, never by path."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

LARGE_BYTES = 16 * 1024 * 1024
"""Files above this enter by their size and both ends."""
END_BYTES = 1024 * 1024
"""How much of each end of a large file enters."""

LOCAL_PREFIXES = ("./", "../", "/")
"""How a local ``model`` or ``dataset`` begins; anything else is a name."""


def is_local(name: str) -> bool:
    """Whether ``name`` is a path, not a name on the Hub."""
    return name.startswith(LOCAL_PREFIXES)


def digest(path: Path) -> str:
    """16 hex digits for the content of a file or folder.

    A folder enters as the relative names and contents of all files below it, links followed; hidden files and
    folders (``.git``, ``.cache``) don't enter. A file above 16 MiB enters by its size and its first and last
    MiB, so that digesting weights takes no time. Raises OSError when something can't be read.
    """
    whole = hashlib.sha256()
    if path.is_dir():
        for file in sorted(_files(path)):
            whole.update(f"{file.relative_to(path).as_posix()}\0".encode())
            whole.update(_file_digest(file))
    else:
        whole.update(_file_digest(path))
    return whole.hexdigest()[:16]


def changed_contents(contents: Mapping[str, str]) -> list[str]:
    """In words, what of ``contents`` (path to digest) is no longer there or no longer the same."""
    changes: list[str] = []
    for name, known in contents.items():
        path = Path(name)
        if not path.exists():
            changes.append(f"{name} is gone")
        elif digest(path) != known:
            changes.append(f"the content of {name} has changed")
    return changes


def _files(folder: Path) -> Iterator[Path]:
    seen: set[str] = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in files if not name.startswith("."))


def _file_digest(path: Path) -> bytes:
    size = path.stat().st_size
    content = hashlib.sha256(f"{size}\0".encode())
    with path.open("rb") as file:
        if size <= LARGE_BYTES:
            content.update(file.read())
        else:
            content.update(file.read(END_BYTES))
            file.seek(-END_BYTES, os.SEEK_END)
            content.update(file.read(END_BYTES))
    return content.digest()
