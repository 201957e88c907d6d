"""A disk that can be full: a small one of its own where mounting is allowed, else a limit on a process's files."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

SIZE_MB = 64
BLOCK = b"\0" * 4096


class Disk(Protocol):
    """Where a sweep is written."""

    folder: Path
    """Output folder of the sweep: nothing else is in it."""

    def fill(self, writer: int) -> None:
        """Leave the process ``writer`` no room at all; to be called again while it is to stay so."""

    def free(self, writer: int) -> None:
        """Leave it all the room again."""


class SmallDisk:
    """A file system in memory that a filler takes all of."""

    def __init__(self, mounted: Path) -> None:
        self.folder = mounted / "out"
        self.folder.mkdir()
        self._filler = mounted / "filler"

    def fill(self, writer: int) -> None:
        with self._filler.open("ab", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(BLOCK)

    def free(self, writer: int) -> None:
        self._filler.unlink(missing_ok=True)


class LimitedFiles:
    """A limit on the size of every file that the driver writes; those that write for others have none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "out"
        self.folder.mkdir()

    def fill(self, writer: int) -> None:
        self._limit(writer, shut=True)

    def free(self, writer: int) -> None:
        self._limit(writer, shut=False)

    def _limit(self, writer: int, *, shut: bool) -> None:
        # It may have stopped meanwhile, which is one of the two right things to do.
        with contextlib.suppress(ProcessLookupError):
            _, most = resource.prlimit(writer, resource.RLIMIT_FSIZE)
            resource.prlimit(writer, resource.RLIMIT_FSIZE, (0 if shut else most, most))


@contextmanager
def small_disk(place: Path) -> Iterator[Disk]:
    """A disk below ``place``, gone at the end; a limit on files where nothing may be mounted."""
    mounted = place / "disk"
    mounted.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(mounted)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        yield LimitedFiles(place)
        return
    try:
        yield SmallDisk(mounted)
    finally:
        # Lazily: a process that the test failed to end may have files open there.
        subprocess.run(["umount", "--lazy", str(mounted)], check=True)
