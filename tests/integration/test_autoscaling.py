"""A cluster that begins without a single GPU, and its own autoscaler: nodes come for the sweep and go after it."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy_files import ROOT
from private_machine import ADDRESS, run_privately, why_not

from .conftest import WriteSweep
from .local_cluster import DRIVER

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(180)]

EXPERIMENTS = 12
IDLE_MINUTES = 0.05

# Ray's provider for tests starts a node as a set of processes of this machine.
DESCRIPTION: dict[str, Any] = {
    "cluster_name": "growing",
    "max_workers": 2,
    "idle_timeout_minutes": IDLE_MINUTES,
    "upscaling_speed": 10,
    "provider": {"type": "fake_multinode", "gcs_address": f"{ADDRESS}:6379", "use_node_id_as_ip": True},
    "head_node_type": "ray.head.default",
    "available_node_types": {
        "ray.head.default": {"resources": {"CPU": 1}, "max_workers": 0, "node_config": {}},
        "gpus": {
            "resources": {"CPU": 2, "GPU": 2},
            "min_workers": 0,
            "max_workers": 2,
            "node_config": {},
        },
    },
    "docker": {},
    "auth": {},
    "file_mounts": {},
    "cluster_synced_files": [],
    "file_mounts_sync_continuously": False,
    "rsync_exclude": [],
    "rsync_filter": [],
    "initialization_commands": [],
    "setup_commands": [],
    "head_setup_commands": [],
    "worker_setup_commands": [],
    "head_start_ray_commands": [],
    "worker_start_ray_commands": [],
}

SCRIPT = """
cd {root}
export RAY_FAKE_CLUSTER=1 AUTOSCALER_UPDATE_INTERVAL_S=1
ray start --head --port=6379 --node-ip-address={address} --num-cpus=1 --include-dashboard=false \\
    --autoscaling-config={folder}/cluster.yaml --disable-usage-stats >/dev/null
python - <<PROGRAM
import subprocess, sys, time
from pathlib import Path
import ray
ray.init(address="{address}:6379", logging_level="ERROR", log_to_driver=False)
gpus = lambda: ray.cluster_resources().get("GPU", 0)
assert gpus() == 0
from ray.experimental.internal_kv import _internal_kv_get
begin_s = time.monotonic()
while b"active_nodes" not in (_internal_kv_get("__autoscaling_status") or b""):
    assert time.monotonic() - begin_s < 30, "there is no autoscaler"
    time.sleep(0.1)
from llem_sweep.execution.on_ray.growth import growth
before = growth()
driver = subprocess.run([sys.executable, "{driver}", "{address}:6379", "{grid}", "{folder}/out"])
end_s, most = time.monotonic(), gpus()
while gpus():
    assert time.monotonic() - end_s < 60, "the nodes stay"
    time.sleep(0.1)
print("kinds before:", *before)
print("ended with", driver.returncode, "on GPUs:", int(most), "gone after", time.monotonic() - end_s)
Path("~/ray_bootstrap_config.yaml").expanduser().write_bytes(Path("{folder}/cluster.yaml").read_bytes())
(kind,), grows = growth()
print("described:", kind.name, kind.gpus, grows)
PROGRAM
"""


def test_a_cluster_without_gpus_grows_for_the_sweep_and_shrinks_after_it(
    write_sweep: WriteSweep, tmp_path: Path
) -> None:
    if reason := why_not():
        pytest.skip(f"Ray's autoscaler for tests needs a machine of its own: {reason}")
    grid = write_sweep(
        baseline={"enabled": False},
        synthetic={"run_seconds": 0.5},
        sweep={"n": list(range(1, EXPERIMENTS + 1))},
    )
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(DESCRIPTION))
    home = tmp_path / "home"
    home.mkdir()
    environment = {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:/usr/sbin:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
    }
    script = SCRIPT.format(root=ROOT, address=ADDRESS, folder=tmp_path, driver=DRIVER, grid=grid)
    done = run_privately(script, environment, timeout_s=150)
    assert done.returncode == 0, done.stdout
    *_, before, ended, described = done.stdout.splitlines()
    print(ended)
    assert before == "kinds before: () True", "Ray tells nobody which kinds there are"
    assert described == "described: gpus 2 False"
    assert ended.startswith("ended with 0 on GPUs: 4 "), done.stdout
    (journal,) = (tmp_path / "out").rglob("journal.jsonl")
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    assert Counter(event["event"] for event in events)["completed"] == EXPERIMENTS
    assert sum(event["event"] == "node_joined" for event in events) == 2
