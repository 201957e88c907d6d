"""The script that begins a sweep or goes on with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy_files import ROOT
from object_stores import S3Server, store_at

SCRIPT = ROOT / "deploy" / "run-or-resume.sh"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A folder with an ``llem-sweep`` that prints its arguments and ends with 1."""
    program = tmp_path / "bin" / "llem-sweep"
    program.parent.mkdir()
    program.write_text('#!/bin/bash\nprintf "%s\\n" "$@"\nexit 1\n')
    program.chmod(0o755)
    return program.parent


def run(program: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", SCRIPT, *map(str, arguments)],
        env=os.environ | {"PATH": f"{program}:{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=30,
    )


def make_sweep(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "plan.json").touch()


def test_an_empty_folder_gets_a_new_sweep_and_the_exit_code_is_the_program_s(
    program: Path, tmp_path: Path
) -> None:
    output = tmp_path / "my results"
    done = run(program, "grid.yaml", output, "--address", "auto")
    assert done.stdout.splitlines() == ["grid.yaml", "--output", str(output), "--address", "auto"]
    assert done.returncode == 1
    assert output.is_dir()


def test_a_folder_with_a_sweep_is_resumed(program: Path, tmp_path: Path) -> None:
    output = tmp_path / "my results"
    make_sweep(output / "grid_2026")
    (output / "notes").mkdir()
    done = run(program, "grid.yaml", output, "--address", "auto")
    assert done.stdout.splitlines() == ["--resume", f"{output}/grid_2026", "--address", "auto"]


def test_several_sweeps_in_one_folder_are_not_chosen_between(program: Path, tmp_path: Path) -> None:
    for name in ("grid_1", "grid_2"):
        make_sweep(tmp_path / "out" / name)
    done = run(program, "grid.yaml", tmp_path / "out")
    assert (done.returncode, done.stdout) == (2, "")
    assert "2 sweeps" in done.stderr


def test_an_object_store_is_searched_too(program: Path, s3: S3Server) -> None:
    output = s3.folder().replace("s3://", "s3://AKIAOPEN:sesame@")
    store = store_at(output)
    begun = run(program, "grid.yaml", output, "--address", "auto")
    assert begun.stdout.splitlines() == ["grid.yaml", "--output", output, "--address", "auto"]
    assert begun.returncode == 1
    for name in ("grid_1/sweep.yaml", "grid_1/plan.json", "grid_1/n-1/result.json", "above/grid_3/plan.json"):
        store.put(name, b"")
    resumed = run(program, "grid.yaml", output, "--address", "auto")
    assert resumed.stdout.splitlines() == [
        "--resume",
        output.replace("/runs?", "/runs/grid_1?"),
        "--address",
        "auto",
    ]
    store.put("grid_2/plan.json", b"")
    refused = run(program, "grid.yaml", output)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "2 sweeps" in refused.stderr
    assert "sesame" not in refused.stderr


def test_a_store_that_is_down_begins_nothing(program: Path, s3: S3Server) -> None:
    output = s3.folder()
    s3.stop()
    try:
        done = run(program, "grid.yaml", output)
    finally:
        s3.start()
    assert (done.returncode, done.stdout) == (3, "")
    assert "check the URI, the credentials and the network" in done.stderr


@pytest.mark.parametrize("arguments", [("grid.yaml",), ("grid.yaml", "s4://bucket/results")])
def test_what_it_can_not_do_is_said(program: Path, arguments: tuple[str, ...]) -> None:
    done = run(program, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr
