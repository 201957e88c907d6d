"""Whole or not at all, whatever goes wrong."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from llem_sweep.errors import StoreError
from llem_sweep.store.atomic import cannot_write, commit_folder, make_folder, recover, write_file


def tree(folder: Path) -> set[str]:
    """Every path below ``folder``."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_a_folder_holds_exactly_what_was_given(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"copied")
    place = commit_folder(
        tmp_path / "out", "a", "result.json", b"{}", {"x": b"bytes", "y": tmp_path / "source"}
    )
    assert place == tmp_path / "out" / "a"
    assert tree(tmp_path / "out") == {".staging", "a", "a/result.json", "a/x", "a/y"}
    assert (place / "y").read_bytes() == b"copied"


def test_a_taken_name_is_numbered_and_nothing_is_overwritten(tmp_path: Path) -> None:
    names = [commit_folder(tmp_path, "a", "m", str(number).encode(), {}).name for number in range(3)]
    assert names == ["a", "a-2", "a-3"]
    assert [(tmp_path / name / "m").read_text() for name in names] == ["0", "1", "2"]


@pytest.mark.parametrize("kind", ["file", "empty folder", "dangling link"])
def test_whatever_has_the_name_already_stays(tmp_path: Path, kind: str) -> None:
    taken = tmp_path / "a"
    if kind == "file":
        taken.touch()
    elif kind == "empty folder":
        taken.mkdir()
    else:
        taken.symlink_to("nowhere")
    assert commit_folder(tmp_path, "a", "m", b"", {}).name == "a-2"
    assert os.path.lexists(taken)


def test_a_missing_source_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="gone"):
        commit_folder(tmp_path, "a", "m", b"{}", {"x": tmp_path / "gone"})
    assert tree(tmp_path) == {".staging"}


def test_a_file_in_place_of_the_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(StoreError, match="choose another folder"):
        commit_folder(tmp_path / "out", "a", "m", b"{}", {})
    with pytest.raises(StoreError, match="choose another folder"):
        write_file(tmp_path / "out" / "x", b"")


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    write_file(tmp_path / "x", b"old, and longer")
    write_file(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"new"
    assert tree(tmp_path) == {"x"}


def test_a_file_that_cannot_be_replaced_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "kept").touch()
    with pytest.raises(StoreError):
        write_file(tmp_path / "x", b"new")
    assert tree(tmp_path) == {"x", "x/kept"}


def test_recovery_finishes_what_was_committed_and_deletes_the_rest(tmp_path: Path) -> None:
    staging = tmp_path / ".staging"
    for name, marker in (
        ("done", "result.json"),
        ("half", "result.json.partial"),
        ("failed", "failure.json"),
    ):
        (staging / name).mkdir(parents=True)
        (staging / name / marker).write_bytes(b"{}")
    (staging / "stray").touch()
    assert recover(tmp_path, ("result.json", "failure.json")) == ("done", "failed")
    assert tree(tmp_path) == {".staging", "done", "done/result.json", "failed", "failed/failure.json"}


def test_recovery_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / ".staging" / "a").mkdir(parents=True)
    (tmp_path / ".staging" / "a" / "m").write_text("staged")
    (tmp_path / "a").mkdir()
    assert recover(tmp_path, ("m",)) == ("a-2",)
    assert tree(tmp_path) == {".staging", "a", "a-2", "a-2/m"}


def test_folders_are_created_exclusively(tmp_path: Path) -> None:
    names = [make_folder(tmp_path / "deep" / "out", "x").name for _ in range(3)]
    assert names == ["x", "x-2", "x-3"]


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.ENOSPC, "free space"), (errno.EACCES, "make it writable"), (errno.EIO, "choose another folder")],
)
def test_an_error_names_the_path_and_says_what_to_do(number: int, advice: str) -> None:
    message = cannot_write(Path("/data/x"), OSError(number, os.strerror(number), "/data/.staging/x"))
    assert "/data/x" in message
    assert os.strerror(number) in message
    assert advice in message
