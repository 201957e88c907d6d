"""The batch script for Slurm with a real Ray: under a stand-in for srun, and under a real Slurm."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from deploy_files import ROOT
from llem_sweep import load_result
from private_machine import ADDRESS, run_privately, user, why_not

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(240)]


@pytest.fixture(scope="module", autouse=True)
def private_machine() -> None:
    if reason := why_not():
        pytest.skip(
            f"`ray symmetric-run` stops every Ray on the machine, so it needs one of its own: {reason}"
        )


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A user's: a home without a token, the installed programs on PATH."""
    return user(tmp_path / "home")


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    """Six short experiments on CPU workers, of which one fails."""
    path = tmp_path / "grid.yaml"
    fields = {
        "model": "acme/made-up-7b",
        "backend": "synthetic",
        "gpus": 0,
        "n": 8,
        "baseline": {"enabled": False},
        "warmup": {"enabled": False},
        "sweep": {"n": [1, 2, 3, 4, 5]},
        "experiments": [{"n": 6, "synthetic": {"fail_at": "run"}}],
        "execution": {"cpu_workers": 2},
    }
    path.write_text(yaml.safe_dump(fields, sort_keys=False))
    return path


def results(output: Path) -> list[str]:
    return sorted(load_result(path).experiment_id for path in output.rglob("result.json"))


def test_a_sweep_on_a_ray_of_its_own_that_is_gone_afterwards(
    environment: dict[str, str], grid: Path, tmp_path: Path
) -> None:
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text('#!/bin/bash\nwhile [[ $1 == -* ]]; do shift; done\nexec "$@"\n')
    srun.chmod(0o755)
    slurm = {
        "SLURM_SUBMIT_DIR": str(ROOT),
        "SLURM_JOB_ID": "42",
        "SLURM_NNODES": "1",
        "SLURM_GPUS_ON_NODE": "2",
    }
    script = f"""
        code=0; bash deploy/slurm.sh {grid} {tmp_path}/out || code=$?
        pgrep raylet && exit 99
        exit $code
    """
    environment["PATH"] = f"{srun.parent}:{environment['PATH']}"
    done = run_privately(f"cd {ROOT}\n{script}", environment | slurm, timeout_s=120)
    assert done.returncode == 1, done.stdout
    assert f"joining the Ray cluster at {ADDRESS}:6379" in done.stdout
    assert "starting Ray on this machine" not in done.stdout
    assert len(results(tmp_path / "out")) == 5
    assert len(list((tmp_path / "out").rglob("failure.json"))) == 1


# One node with two boards, which are files here: enough for Slurm to count and assign them.
SLURM = """
cd "$SLURM_FOLDER"
mkdir -p state spool
mount -t tmpfs private /run
node=$(hostname -s)
cat >slurm.conf <<CONF
ClusterName=test
SlurmctldHost=$node({address})
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$PWD/munge.socket
CryptoType=crypto/munge
StateSaveLocation=$PWD/state
SlurmdSpoolDir=$PWD/spool
SlurmctldPidFile=$PWD/slurmctld.pid
SlurmdPidFile=$PWD/slurmd.pid
SlurmctldLogFile=$PWD/slurmctld.log
SlurmdLogFile=$PWD/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
GresTypes=gpu
NodeName=$node NodeAddr={address} CPUs=1 RealMemory=1000 Gres=gpu:2
PartitionName=all Nodes=$node Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF=$PWD/slurm.conf
mknod board0 c 1 3
mknod board1 c 1 3
printf 'AutoDetect=off\\nName=gpu File=%s\\nName=gpu File=%s\\n' "$PWD/board0" "$PWD/board1" >gres.conf
(umask 077; dd if=/dev/urandom of=munge.key bs=64 count=1 status=none)
munged --force --key-file="$PWD/munge.key" --socket="$PWD/munge.socket" --pid-file="$PWD/munge.pid" \\
  --log-file="$PWD/munge.log" --seed-file="$PWD/munge.seed"
slurmctld -c
slurmd
until [[ $(sinfo --noheader --format=%t) == idle ]]; do sleep 0.2; done
cd {root}

submit() {{ sbatch --parsable --nodes=1 --gpus-per-node=2 --time=60 --output={folder}/log "$@"; }}
# The exit code of a job, once it has ended: sbatch --wait looks every 30 s only.
ended() {{
  until scontrol -o show job "$1" | grep -qE 'JobState=(COMPLETED|FAILED|CANCELLED|TIMEOUT)'; do sleep 0.2; done
  scontrol -o show job "$1" | sed -E 's/.* ExitCode=([0-9]+):.*/\\1/'
}}
"""


@pytest.fixture
def slurm(environment: dict[str, str], tmp_path: Path) -> str:
    """Script that starts Slurm on the private machine, and goes to this project's folder."""
    missing = [
        name
        for name in ("slurmctld", "slurmd", "munged", "sbatch")
        if shutil.which(name, path=environment["PATH"]) is None
    ]
    assert not missing, f"install Debian's slurmctld, slurmd, slurm-client and munge: no {', '.join(missing)}"
    folder = tmp_path / "slurm"
    folder.mkdir()
    environment["SLURM_FOLDER"] = str(folder)
    return SLURM.format(address=ADDRESS, root=ROOT, folder=tmp_path)


@pytest.mark.extra
def test_slurm_runs_the_script_warns_it_before_its_time_is_up_and_the_same_command_completes_the_sweep(
    environment: dict[str, str], slurm: str, grid: Path, tmp_path: Path
) -> None:
    slow = yaml.safe_load(grid.read_text()) | {"synthetic": {"run_seconds": 1.5}}
    grid.write_text(yaml.safe_dump(slow, sort_keys=False))
    output = tmp_path / "out"
    script = f"""
        job=$(submit deploy/slurm.sh {grid} {output})
        until compgen -G '{output}/*/*/result.json' >/dev/null; do sleep 0.1; done
        scancel --batch --signal=USR1 "$job"
        echo "first: $(ended "$job"), $(ls {output}/*/*/result.json | wc -l) done"
        echo "second: $(ended "$(submit deploy/slurm.sh {grid} {output})")"
    """
    done = run_privately(slurm + script, environment, timeout_s=150)
    log = (tmp_path / "log").read_text()
    first, second = done.stdout.splitlines()
    assert re.fullmatch(r"first: 130, [1-4] done", first), done.stdout + log
    assert second == "second: 1", log
    assert len(results(output)) == len(set(results(output))) == 5
    assert len(list(output.rglob("failure.json"))) == 1
    token = tmp_path / "home" / ".ray" / "auth_token"
    assert (len(token.read_text()), token.stat().st_mode & 0o777) == (64, 0o600)
