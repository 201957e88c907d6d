"""Two machines, started by hand as docs/clusters.md says, and one of them lost."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from deploy_files import ROOT
from private_machine import why_not
from two_machines import ONE, run_on_two

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(240)]

HEAD = """
cd {root}
source deploy/ray.env
ray start --head --port=6379 --dashboard-host=127.0.0.1 --num-cpus=2 >/dev/null
touch {folder}/started
python - <<PROGRAM
import subprocess, sys, time
import ray
ray.init(address="auto", logging_level="ERROR", log_to_driver=False)
alive = lambda: sum(node["Alive"] for node in ray.nodes())
while alive() < 2:
    time.sleep(0.1)
command = "llem-sweep {folder}/grid.yaml --output {folder}/out --address auto"
code = subprocess.run(command.split()).returncode
open("{folder}/cut", "w").close()
begin_s = time.monotonic()
while alive() == 2:
    time.sleep(0.1)
print("ended with", code, "and the loss was noticed after", time.monotonic() - begin_s)
PROGRAM
"""

OTHER = """
cd {root}
source deploy/ray.env
until [[ -e {folder}/started ]]; do sleep 0.1; done
RAY_AUTH_TOKEN=wrong-wrong-wrong ray status --address={one}:6379 && exit 9
ray start --address={one}:6379 --num-cpus=2 >/dev/null
until [[ -e {folder}/cut ]]; do sleep 0.02; done
ip link set eth0 down
sleep 60
"""


def test_both_work_only_with_the_token_and_a_lost_one_is_noticed_within_ten_seconds(tmp_path: Path) -> None:
    if reason := why_not():
        pytest.skip(f"two machines on one need namespaces: {reason}")
    grid = {
        "model": "acme/made-up-7b",
        "backend": "synthetic",
        "gpus": 0,
        "n": 8,
        "baseline": {"enabled": False},
        "warmup": {"enabled": False},
        "synthetic": {"run_seconds": 0.5},
        "sweep": {"n": list(range(1, 13))},
    }
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid, sort_keys=False))
    token = tmp_path / "home" / ".ray" / "auth_token"
    token.parent.mkdir(parents=True)
    token.write_text("0123456789abcdef" * 4)
    token.chmod(0o600)
    environment = {
        "HOME": str(tmp_path / "home"),
        "PATH": f"{Path(sys.executable).parent}:/usr/sbin:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
    }
    code, one, two = run_on_two(
        tmp_path,
        HEAD.format(root=ROOT, folder=tmp_path),
        OTHER.format(root=ROOT, folder=tmp_path, one=ONE),
        environment,
        timeout_s=150,
    )
    assert code == 0, one + two
    assert "InvalidAuthToken" in two
    ended = one.splitlines()[-1].split()
    assert ended[:3] == ["ended", "with", "0"], one
    assert float(ended[-1]) < 10.0
    (journal,) = (tmp_path / "out").rglob("journal.jsonl")
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    workers = Counter(event["worker"] for event in events if event["event"] == "dispatched")
    assert set(workers) == {"one/worker0", "two/worker0"}
    assert workers.total() == 12
