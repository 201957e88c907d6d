"""The journal: appended, whole lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from factories import START
from llem_sweep.clock import SimulatedClock
from llem_sweep.errors import OutputError
from llem_sweep.store.journal import Journal


def test_events_are_lines_of_json_in_order(tmp_path: Path, clock: SimulatedClock) -> None:
    journal = Journal(tmp_path / "j", clock)
    journal.append("worker_ready", {"worker": "node7/gpu0", "boards": ("a", "b")})
    clock.sleep(1.5)
    journal.append("message", {"text": "two\nlines \udce9"}, sync=False)
    journal.close()
    first, second = map(json.loads, (tmp_path / "j").read_text().splitlines())
    assert first == {
        "time": START.isoformat(),
        "event": "worker_ready",
        "worker": "node7/gpu0",
        "boards": ["a", "b"],
    }
    assert second["text"] == "two\nlines \udce9"
    assert second["time"] > first["time"]


def test_an_existing_journal_is_continued(tmp_path: Path, clock: SimulatedClock) -> None:
    for event in ("one", "two"):
        journal = Journal(tmp_path / "j", clock)
        journal.append(event, {})
        journal.close()
    assert [json.loads(line)["event"] for line in (tmp_path / "j").read_text().splitlines()] == ["one", "two"]


@pytest.mark.parametrize("torn", ['{"time": "2026', "x" * 200_000])
def test_a_last_line_torn_by_a_crash_is_cut_off(tmp_path: Path, clock: SimulatedClock, torn: str) -> None:
    (tmp_path / "j").write_text('{"event": "whole"}\n' + torn)
    journal = Journal(tmp_path / "j", clock)
    journal.append("next", {})
    journal.close()
    events = [json.loads(line)["event"] for line in (tmp_path / "j").read_text().splitlines()]
    assert events == ["whole", "next"]


def test_a_journal_of_one_torn_line_starts_afresh(tmp_path: Path, clock: SimulatedClock) -> None:
    (tmp_path / "j").write_text('{"ev')
    Journal(tmp_path / "j", clock).close()
    assert (tmp_path / "j").read_text() == ""


def test_a_journal_that_cannot_be_opened_is_an_output_error(tmp_path: Path, clock: SimulatedClock) -> None:
    with pytest.raises(OutputError, match="journal"):
        Journal(tmp_path / "missing" / "journal", clock)


def test_closing_twice_is_safe(tmp_path: Path, clock: SimulatedClock) -> None:
    journal = Journal(tmp_path / "j", clock)
    journal.close()
    journal.close()
