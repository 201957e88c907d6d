"""What happened when, one JSON object per line, appended before the next step is taken."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from llem_sweep.clock import Clock
from llem_sweep.errors import OutputError
from llem_sweep.redaction import redact
from llem_sweep.store.atomic import cannot_write


class Journal:
    """An append-only file. The folders are the truth; this explains them."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Open ``path`` for appending; a last line torn by a crash is cut off. Raises OutputError."""
        self._path = path
        self._clock = clock
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self._end = _end_of_whole_lines(self._descriptor)
            os.ftruncate(self._descriptor, self._end)
        except OSError as exc:
            raise OutputError(cannot_write(path, exc)) from exc

    def append(self, event: str, fields: Mapping[str, object], *, sync: bool = True) -> None:
        """Add a line ``{"time": …, "event": …}`` with ``fields``; what JSON doesn't know becomes text.

        Durable on return unless ``sync`` is false, which is for what the folders tell as well: such a line
        survives the process, and the machine with the next synced line. Raises OutputError.
        """
        line = {"time": self._clock.now().isoformat(), "event": event, **fields}
        data = redact(json.dumps(line, default=str)).encode() + b"\n"
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(self._descriptor, data[written:], self._end + written)
            if sync:
                os.fdatasync(self._descriptor)
        except OSError as exc:
            with contextlib.suppress(OSError):  # the failure to report is the first one
                os.ftruncate(self._descriptor, self._end)
            raise OutputError(cannot_write(self._path, exc)) from exc
        self._end += len(data)

    def close(self) -> None:
        """Let the file go. Safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _end_of_whole_lines(descriptor: int) -> int:
    """Offset behind the last newline."""
    block = 1 << 16
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - block)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
