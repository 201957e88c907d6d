"""A journal in an object store."""

from __future__ import annotations

from pathlib import Path

import pytest

from llem_sweep.clock import SimulatedClock
from llem_sweep.store.segments import JournalSegments
from object_stores import Disk, MemoryStore


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(Disk(SimulatedClock()))


def write(folder: Path, text: str) -> None:
    with (folder / "journal.jsonl").open("a") as file:
        file.write(text)


def segments(store: MemoryStore) -> dict[str, str]:
    return {name: store.get(name).decode() for name in store.entries("journal")}


def test_each_sending_makes_a_segment_of_what_is_new(tmp_path: Path, store: MemoryStore) -> None:
    journal = JournalSegments(tmp_path, store, "one", {})
    assert not journal.waiting()
    for text in ("a\nb\n", "c\n"):
        write(tmp_path, text)
        assert journal.waiting()
        journal.send()
    assert not journal.waiting()
    journal.send()
    assert segments(store) == {"journal/000001-one.jsonl": "a\nb\n", "journal/000002-one.jsonl": "c\n"}


def test_half_a_line_waits(tmp_path: Path, store: MemoryStore) -> None:
    journal = JournalSegments(tmp_path, store, "one", {})
    write(tmp_path, "a\nb")
    journal.send()
    write(tmp_path, "c\n")
    journal.send()
    assert list(segments(store).values()) == ["a\n", "bc\n"]


def test_a_later_run_goes_on_where_the_one_before_it_stopped(tmp_path: Path, store: MemoryStore) -> None:
    write(tmp_path, "a\n")
    JournalSegments(tmp_path, store, "one", {}).send()
    write(tmp_path, "b\n")
    JournalSegments(tmp_path, store, "one", store.entries()).send()
    assert segments(store) == {"journal/000001-one.jsonl": "a\n", "journal/000002-one.jsonl": "b\n"}


def test_a_run_on_another_machine_counts_on_and_writes_over_nothing(
    tmp_path: Path, store: MemoryStore
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    write(here, "a\n")
    first = JournalSegments(here, store, "one", {})
    first.send()
    write(there, "b\n")
    JournalSegments(there, store, "two", store.entries()).send()
    write(here, "c\n")
    first.send()
    assert segments(store) == {
        "journal/000001-one.jsonl": "a\n",
        "journal/000002-one.jsonl": "c\n",
        "journal/000002-two.jsonl": "b\n",
    }


def test_a_segment_whose_arrival_was_not_confirmed_is_sent_again_with_what_came_since(
    tmp_path: Path, store: MemoryStore
) -> None:
    journal = JournalSegments(tmp_path, store, "one", {})
    write(tmp_path, "a\n")
    put = store.put

    def put_and_fail(name: str, data: bytes) -> None:
        put(name, data)
        raise OSError("timed out")

    store.put = put_and_fail  # type: ignore[method-assign]
    with pytest.raises(OSError, match="timed out"):
        journal.send()
    store.put = put  # type: ignore[method-assign]
    write(tmp_path, "b\n")
    journal.send()
    assert segments(store) == {"journal/000001-one.jsonl": "a\nb\n"}
