"""Every shell script, held against ShellCheck."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy_files import ROOT

SCRIPTS = sorted(path.name for path in (ROOT / "deploy").iterdir() if path.suffix in (".sh", ".env"))


def test_there_are_scripts() -> None:
    assert SCRIPTS == ["ray.env", "run-or-resume.sh", "slurm.sh"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_shellcheck_has_nothing_to_say(name: str) -> None:
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert shellcheck, "it comes with the extra dev"
    done = subprocess.run(
        [shellcheck, "--external-sources", f"deploy/{name}"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_scripts_may_be_run() -> None:
    for path in (ROOT / "deploy").glob("*.sh"):
        assert path.stat().st_mode & 0o111, path
