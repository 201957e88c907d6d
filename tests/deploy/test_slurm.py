"""The batch script for Slurm, with stand-ins for Slurm, Ray and the sweep."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from deploy_files import ROOT

SCRIPT = ROOT / "deploy" / "slurm.sh"
PROGRAMS = {
    # Everything after its options is what srun runs on each node.
    "srun": 'echo "srun $*"; while [[ $1 == -* ]]; do shift; done; "$@"',
    # What follows the first -- is what Ray runs on the head.
    "ray": 'while [[ $1 != -- ]]; do shift; done; shift; "$@"; exit 0',
    "python": 'if [[ $1 == -c ]]; then printf %064d 7; else echo "counting $2 $3"; exit ${COUNT_CODE:-0}; fi',
    "hostname": "echo 192.0.2.7 198.51.100.7",
    "llem-sweep": 'echo "sweep $*"; exit ${SWEEP_CODE:-0}',
}


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, body in PROGRAMS.items():
        write_program(folder, name, body)
    return folder


def write_program(folder: Path, name: str, body: str) -> None:
    (folder / name).write_text(f"#!/bin/bash\n{body}\n")
    (folder / name).chmod(0o755)


def start(programs: Path, *arguments: object, **more: str) -> subprocess.Popen[str]:
    """The script as Slurm starts it on the first of two nodes of four boards each."""
    home = programs.parent / "home"
    home.mkdir(exist_ok=True)
    known: Mapping[str, str] = {
        "HOME": str(home),
        "PATH": f"{programs}:{os.defpath}",
        "SLURM_SUBMIT_DIR": str(programs.parent / "submitted"),
        "SLURM_JOB_ID": "42",
        "SLURM_NNODES": "2",
        "SLURM_GPUS_ON_NODE": "4",
    }
    submitted = programs.parent / "submitted"
    if not submitted.exists():
        submitted.mkdir()
        (submitted / "deploy").symlink_to(ROOT / "deploy")
    return subprocess.Popen(
        ["bash", SCRIPT, *map(str, arguments)],
        env={**known, **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(programs: Path, *arguments: object, **more: str) -> tuple[int, str]:
    """Exit code and all that was printed."""
    process = start(programs, *arguments, **more)
    text, _ = process.communicate(timeout=60)
    return process.returncode, text


def directives() -> dict[str, str | None]:
    """The #SBATCH lines, which have to stand before the first command."""
    before_commands = SCRIPT.read_text().split("\nset -", 1)[0]
    found = re.findall(r"^#SBATCH --([a-z-]+)(?:=(\S+))?$", before_commands, re.MULTILINE)
    assert len(found) == SCRIPT.read_text().count("\n#SBATCH")
    return {name: value or None for name, value in found}


def test_the_job_asks_for_whole_nodes_one_ray_on_each_and_a_warning_before_the_end() -> None:
    asked = directives()
    assert "exclusive" in asked
    assert asked["ntasks-per-node"] == "1"
    assert int(asked["gpus-per-node"] or 0) > 0
    target, number, seconds = re.split("[:@]", asked["signal"] or "")
    assert (target, number) == ("B", "USR1")
    assert int(seconds) > 120, "time for running experiments to end"


def test_a_sweep_runs_on_every_board_and_the_second_time_goes_on(programs: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    code, text = run(programs, "my grid.yaml", output, "--quiet")
    assert code == 0, text
    assert "counting 192.0.2.7:6379 8" in text
    assert f"\nsweep my grid.yaml --output {output} --quiet --address 192.0.2.7:6379" in text
    assert "ray symmetric-run --address 192.0.2.7:6379 --min-nodes 2 --num-gpus=4" in text
    assert list(output.iterdir()) == [], "nothing of the job is left behind"
    assert list(programs.parent.rglob(".llem-sweep-job-*")) == []

    (output / "grid_2026").mkdir()
    (output / "grid_2026" / "plan.json").touch()
    code, text = run(programs, "my grid.yaml", output)
    assert f"\nsweep --resume {output}/grid_2026 --address 192.0.2.7:6379" in text


def test_the_dashboard_stays_on_localhost() -> None:
    # Ray's own default; `ray symmetric-run` gives an option to workers, too, which have none.
    assert "--dashboard-host" not in SCRIPT.read_text()


@pytest.mark.parametrize("failing", ["SWEEP_CODE", "COUNT_CODE"])
def test_the_exit_code_of_the_head_is_the_job_s(programs: Path, tmp_path: Path, failing: str) -> None:
    code, text = run(programs, "grid.yaml", tmp_path / "out", **{failing: "3"})
    assert code == 3
    assert ("\nsweep grid.yaml" in text) == (failing == "SWEEP_CODE")


def test_a_ray_that_could_not_be_started_is_no_success(programs: Path, tmp_path: Path) -> None:
    write_program(programs, "ray", 'echo "Failed to start Ray"; exit 0')
    code, text = run(programs, "grid.yaml", tmp_path / "out")
    assert code == 3
    assert "could not be started" in text


def test_the_token_is_made_once_and_for_its_user_alone(programs: Path, tmp_path: Path) -> None:
    token = tmp_path / "home" / ".ray" / "auth_token"
    run(programs, "grid.yaml", tmp_path / "out")
    assert (len(token.read_text()), token.stat().st_mode & 0o777) == (64, 0o600)
    token.write_text("of another cluster")
    token.chmod(0o644)
    run(programs, "grid.yaml", tmp_path / "out")
    assert (token.read_text(), token.stat().st_mode & 0o777) == ("of another cluster", 0o600)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_warning_lets_the_sweep_end_in_its_own_way(
    programs: Path, tmp_path: Path, number: signal.Signals
) -> None:
    begun = tmp_path / "begun"
    write_program(
        programs,
        "llem-sweep",
        f'trap "echo told; sleep 0.3; exit 130" TERM; touch {begun}; while :; do sleep 0.05; done',
    )
    process = start(programs, "grid.yaml", tmp_path / "out")
    deadline_s = time.monotonic() + 30
    while not begun.exists():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    process.send_signal(number)
    text, _ = process.communicate(timeout=30)
    assert process.returncode == 130, text
    assert "told\n" in text
    assert "to go on" in text


def test_it_says_how_it_is_used(programs: Path) -> None:
    code, text = run(programs, "grid.yaml")
    assert code == 2
    assert "usage: sbatch" in text
