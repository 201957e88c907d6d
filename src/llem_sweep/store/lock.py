"""One run at a time on one folder."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

from llem_sweep.errors import OutputError, ResumeError
from llem_sweep.store.atomic import cannot_write


class FolderLock:
    """Held until closed, or until the process that holds it dies, however it dies."""

    def __init__(self, path: Path) -> None:
        """Take the lock at ``path``. Raises ResumeError when another run holds it, OutputError when it can't be
        created."""
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as exc:
            raise OutputError(cannot_write(path, exc)) from exc
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            holder = os.pread(self._descriptor, 200, 0).decode(errors="replace").strip()
            os.close(self._descriptor)
            if isinstance(exc, BlockingIOError):
                raise ResumeError(
                    f"another run is working on {path.parent} ({holder or 'it'}): wait for it, or stop it first"
                ) from exc
            raise OutputError(
                f"{path.parent} can't be locked ({exc.strerror}): use a file system with file locks"
            ) from exc
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        except OSError as exc:
            self.close()
            raise OutputError(cannot_write(path, exc)) from exc

    def close(self) -> None:
        """Let the folder go. Safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
