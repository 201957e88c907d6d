"""One run at a time on one folder."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from llem_sweep.errors import OutputError, ResumeError
from llem_sweep.store.lock import FolderLock

HOLD = """
import sys
from pathlib import Path
from llem_sweep.store.lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_run_is_refused_by_the_name_of_the_first(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / ".lock")
    with pytest.raises(ResumeError, match=f"another run is working on .*process {os.getpid()} on "):
        FolderLock(tmp_path / ".lock")
    lock.close()
    FolderLock(tmp_path / ".lock").close()


def test_closing_twice_is_safe(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / ".lock")
    lock.close()
    lock.close()


def test_a_run_that_is_killed_lets_go(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(ResumeError, match=f"process {holder.pid} "):
            FolderLock(path)
        holder.kill()
        holder.wait()
        FolderLock(path).close()


def test_a_lock_that_cannot_be_created_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        FolderLock(tmp_path / "missing" / ".lock")


def test_a_full_disk_is_said_to_be_full_and_the_lock_let_go(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"can't write .*\.lock.*free space there"):
            FolderLock(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    FolderLock(path).close()
