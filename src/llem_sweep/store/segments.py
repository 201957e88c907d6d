"""A journal in an object store: objects can't be appended to, so its lines go there in numbered segments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from llem_sweep.store.layout import JOURNAL, JOURNAL_SEGMENTS
from llem_sweep.store.objects import Entry, ObjectStore


class JournalSegments:
    """Sends what is new in the journal of a local folder, each time as one more segment.

    Segments carry the name of the run's machine, so that no two runs ever write the same one. One that was sent
    without our knowing is sent again under its number, with what has been added since.
    """

    def __init__(self, path: Path, store: ObjectStore, token: str, entries: Mapping[str, Entry]) -> None:
        """Go on after the segments among ``entries``, a listing of ``store``."""
        self._file = path / JOURNAL
        self._store = store
        self._token = token
        segments = {name: entry for name, entry in entries.items() if name.startswith(f"{JOURNAL_SEGMENTS}/")}
        self._sent = sum(entry.size for name, entry in segments.items() if name.endswith(f"-{token}.jsonl"))
        self._last = max((_number(name) for name in segments), default=0)

    def waiting(self) -> bool:
        """Whether there are lines that the store lacks."""
        return self._file.exists() and self._file.stat().st_size > self._sent

    def send(self) -> None:
        """Send whole lines that the store lacks. Raises OSError."""
        with self._file.open("rb") as file:
            file.seek(self._sent)
            lines = file.read()
        lines = lines[: lines.rfind(b"\n") + 1]
        if lines:
            number = self._last + 1
            self._store.put(f"{JOURNAL_SEGMENTS}/{number:06d}-{self._token}.jsonl", lines)
            self._last, self._sent = number, self._sent + len(lines)


def _number(name: str) -> int:
    digits = name.rpartition("/")[2].partition("-")[0]
    return int(digits) if digits.isdecimal() else 0
