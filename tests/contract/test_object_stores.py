"""What every object store promises to the sweeps kept in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyarrow.fs import FileInfo, FileSelector, FileType, LocalFileSystem

from llem_sweep.clock import SimulatedClock
from llem_sweep.store.objects import ArrowStore, ObjectStore, get_all
from llem_sweep.store.uri import StoreUri, parse_place
from object_stores import Disk, MemoryStore, S3Server, store_at


@pytest.fixture(params=["memory", "folders", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """An empty one: the tests' own, a file system with real folders, and one that speaks S3."""
    if request.param == "memory":
        return MemoryStore(Disk(SimulatedClock()))
    if request.param == "folders":
        where = parse_place(f"dir://{tmp_path}/runs")
        assert isinstance(where, StoreUri)
        return ArrowStore(LocalFileSystem(), str(tmp_path / "runs"), where)
    s3: S3Server = request.getfixturevalue("s3")
    return store_at(s3.folder())


def test_what_was_put_is_there_whole(store: ObjectStore) -> None:
    store.put("a.json", b"{}")
    store.put("one/two/b.bin", bytes(range(256)) * 1000)
    assert store.get("a.json") == b"{}"
    assert store.get("one/two/b.bin") == bytes(range(256)) * 1000
    assert {name: entry.size for name, entry in store.entries().items()} == {
        "a.json": 2,
        "one/two/b.bin": 256_000,
    }


def test_an_empty_object_is_one(store: ObjectStore) -> None:
    store.put("empty", b"")
    assert store.get("empty") == b""
    assert store.entries()["empty"].size == 0


def test_what_is_put_again_is_replaced(store: ObjectStore) -> None:
    store.put("a", b"first")
    store.put("a", b"2nd")
    assert store.get("a") == b"2nd"
    assert store.entries()["a"].size == 3


def test_a_folder_lists_what_is_in_it_and_below_alone(store: ObjectStore) -> None:
    for name in ("x", "in/a", "in/deep/b", "inner/c"):
        store.put(name, b".")
    assert set(store.entries("in")) == {"in/a", "in/deep/b"}
    assert set(store.below("in").entries()) == {"a", "deep/b"}
    assert store.below("in").get("deep/b") == b"."
    assert store.below("in").uri == store.uri.below("in")


def test_nothing_is_listed_where_there_is_nothing(store: ObjectStore) -> None:
    assert store.entries() == {}
    assert store.entries("nowhere") == {}


def test_what_is_deleted_is_gone_and_may_be_deleted_again(store: ObjectStore) -> None:
    store.put("in/a", b".")
    store.delete("in/a")
    store.delete("in/a")
    assert store.entries() == {}
    with pytest.raises(FileNotFoundError):
        store.get("in/a")


def test_times_of_writing_are_by_one_clock(store: ObjectStore) -> None:
    store.put("a", b"")
    store.put("b", b"")
    entries = store.entries()
    assert entries["a"].modified <= entries["b"].modified
    assert entries["a"].modified.tzinfo is not None


def test_many_are_fetched_together(store: ObjectStore) -> None:
    names = [f"in/{number}" for number in range(20)]
    for name in names:
        store.put(name, name.encode())
    assert get_all(store, names) == {name: name.encode() for name in names}


class Hostile:
    """A file system that lists names which would lead out of a folder."""

    type_name = "s3"

    def get_file_info(self, selector: FileSelector) -> list[FileInfo]:
        names = ("good", "../escape", "a//b", "./c", "in/../../d")
        return [FileInfo(f"bucket/runs/{name}", FileType.File, size=1) for name in names]


def test_names_that_lead_elsewhere_are_not_listed() -> None:
    where = parse_place("s3://bucket/runs")
    assert isinstance(where, StoreUri)
    assert set(ArrowStore(Hostile(), "bucket/runs", where).entries()) == {"good"}
