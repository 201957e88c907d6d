"""The end of a worker's log, for the failure it explains."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from llem_sweep.redaction import redact

TAIL_BYTES = 8192


def own_log_paths() -> tuple[str, ...]:
    """Files that this process's stdout and stderr go to; empty when they go elsewhere."""
    sys.stdout.flush()
    sys.stderr.flush()
    paths = []
    for descriptor in (1, 2):
        try:
            path = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            continue
        if path.startswith("/") and Path(path).is_file():
            paths.append(path)
    return tuple(dict.fromkeys(paths))


def own_log_tail() -> str:
    """The end of this process's own log."""
    return log_tail(own_log_paths())


def log_tail(paths: tuple[str, ...], limit_bytes: int = TAIL_BYTES) -> str:
    """The last ``limit_bytes`` of each file that can be read, under its name, without credentials."""
    parts = []
    for path in paths:
        try:
            with open(path, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - limit_bytes))
                text = file.read().decode(errors="replace").strip()
        except OSError as error:
            text = f"(not readable from here: {error})"
        if text:
            parts.append(f"==> {Path(path).name} <==\n{text}")
    return redact("\n".join(parts))
