"""What the documentation tells its reader to type where that takes a Ray: the tutorial, and single blocks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from documentation import ROOT, commands, read
from documented import ELSEWHERE
from llem_sweep import load_results
from llem_sweep.cli.app import main

pytestmark = pytest.mark.integration

QUICK = {
    "model": "acme/made-up-7b",
    "backend": "synthetic",
    "n": 2,
    "baseline": {"enabled": False},
    "warmup": {"enabled": False},
}


def typed(command: str, folder: Path) -> str:
    """What a shell prints for ``command`` in ``folder``; AssertionError when it fails."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_tutorial_can_be_followed(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "sweeps", tmp_path / "sweeps")
    printed = []
    for block in read(ROOT / "docs" / "tutorial.md").blocks:
        file = block.marked("file")
        if file is not None:
            (tmp_path / file).write_text(block.text)
        elif block.language == "sh" and not block.left_out:
            printed += [typed(command, tmp_path) for command in commands(block)]
        elif block.language == "python":
            (tmp_path / "block.py").write_text(block.text)
            printed.append(typed("python block.py", tmp_path))
    whole = "\n".join(printed)
    assert "3 of 3 experiments completed" in whole
    assert "3 of 3 results computed again from the samples; no contradiction; 0 publishable" in whole
    assert printed[-1].count("J/token simulated\n") == 3


def test_blocks_that_need_a_ray_can_be_done(
    ray_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("grid.yaml").write_text(yaml.safe_dump(QUICK))
    blocks = [block for block in read(ROOT / "README.md").blocks if block.marked("on Ray") is not None]
    assert blocks
    for block in blocks:
        names: dict[str, object] = {}
        exec(compile(block.text, "README.md", "exec"), names)
        assert names["result"].exit_code == 0  # type: ignore[attr-defined]
    assert load_results("results")["measured_on"].to_pylist() == ["synthetic"]


def test_a_running_ray_can_be_joined(
    ray_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (command,) = [each for each in ELSEWHERE if "--address" in each]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_ADDRESS", ray_address)
    Path("grid.yaml").write_text(yaml.safe_dump(QUICK | {"gpus": 0}))
    assert main(command.split()[1:]) == 0
    assert load_results("results").num_rows == 1
