"""A node that is cut off in the middle of a sweep, and comes back."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from deploy_files import ROOT
from llem_sweep import load_result
from private_machine import user, why_not
from two_machines import ONE, run_on_two

from .conftest import WriteSweep
from .local_cluster import DRIVER, LocalCluster, raylet_pid
from .processes import children

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(240)]

EXPERIMENTS, BEFORE = 48, 4
AWAY_S = 11.0

HEAD = """
cd {root}
source deploy/ray.env
ray start --head --port=6379 --include-dashboard=false --num-cpus=2 --num-gpus=2 >/dev/null
touch {folder}/started
until [[ -e {folder}/joined ]]; do sleep 0.1; done
python {driver} {one}:6379 {grid} {folder}/out &
until (( $(find {folder}/out -name result.json 2>/dev/null | wc -l) >= {before} )); do sleep 0.05; done
touch {folder}/cut
wait $!
"""

# A node that was given up ends when it is told so, and has to be started again.
OTHER = """
cd {root}
source deploy/ray.env
until [[ -e {folder}/started ]]; do sleep 0.1; done
RAY_AUTH_TOKEN=wrong-wrong-wrong ray status --address={one}:6379 && exit 9
ray start --address={one}:6379 --num-cpus=2 --num-gpus=2 >/dev/null
touch {folder}/joined
until [[ -e {folder}/cut ]]; do sleep 0.02; done
date +%s.%N >{folder}/away
ip link set eth0 down
sleep {away_s}
pgrep -f ray::GpuWorker >/dev/null && touch {folder}/at_work
ip link set eth0 up
ip route add default via 10.77.0.254
date +%s.%N >{folder}/back
while pgrep -x raylet >/dev/null; do sleep 0.1; done
ray stop --force >/dev/null 2>&1
ray start --address={one}:6379 --num-cpus=2 --num-gpus=2 >/dev/null
sleep 120
"""


class Cut(NamedTuple):
    """What happened."""

    output: Path
    away_s: float
    """Since the epoch: when the node was cut off."""
    back_s: float
    at_work: bool
    """Whether its workers were there all the time."""


@pytest.mark.parametrize("cable", [True, False], ids=["machines", "processes"])
def test_a_node_cut_off_and_back_later_leaves_every_experiment_exactly_once(
    cable: bool, write_sweep: WriteSweep, tmp_path: Path
) -> None:
    if cable and (reason := why_not()):
        pytest.skip(f"no two machines here; a node's processes are stopped instead of its cable: {reason}")
    grid = write_sweep(
        baseline={"enabled": False},
        synthetic={"run_seconds": 1.0},
        sweep={"n": list(range(1, EXPERIMENTS + 1))},
        execution={"cycle_order": "interleaved"},
    )
    cut = (_cut_between_machines if cable else _cut_between_processes)(grid, tmp_path)
    assert cut.at_work, "nobody on the cut-off node could have come back"
    found = Counter(load_result(path).experiment_id for path in cut.output.rglob("result.json"))
    assert len(found) == EXPERIMENTS
    assert max(found.values()) == 1
    failures = [json.loads(path.read_text()) for path in cut.output.rglob("failure.json")]
    assert {failure["kind"] for failure in failures} == {"node_lost"}
    assert not [failure for failure in failures if failure["final"]]
    _check_journal(cut)


def _check_journal(cut: Cut) -> None:
    (journal,) = cut.output.rglob("journal.jsonl")
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    (gone,) = [number for number, event in enumerate(events) if event["event"] == "node_left"]
    missed_s = _seconds(events[gone]) - cut.away_s
    print(f"node missed after {missed_s:.1f} s, back after {cut.back_s - cut.away_s:.1f} s")
    assert missed_s < 10.0
    assert _seconds(events[gone]) < cut.back_s, "the sweep took no notice before the node was back"
    assert _seconds(events[-1]) > cut.back_s, "the sweep was over before the node was back"
    node = events[gone]["node"]
    before = {event["worker"].split("/")[0] for event in events[:gone] if event["event"] == "dispatched"}
    assert len(before) == 2, "both worked"
    assert node in before
    back = next((n for n, e in enumerate(events) if n > gone and e["event"] == "node_joined"), len(events))
    told = [e for e in events[gone:back] if str(e.get("worker", "")).startswith(f"{node}/")]
    assert not told, "what was given up with its node is heard of no more"
    assert back < len(events), "the node was started again and not used"
    assert any(e["event"] == "completed" and _on(e, events[back]["node"]) for e in events[back:])


def _cut_between_machines(grid: Path, folder: Path) -> Cut:
    """Two machines, and the cable between them."""
    environment = user(folder / "home", token="0123456789abcdef" * 4)
    values = {"root": ROOT, "folder": folder, "one": ONE, "grid": grid, "driver": DRIVER}
    one = HEAD.format(**values, before=BEFORE)
    code, said, other = run_on_two(
        folder, one, OTHER.format(**values, away_s=AWAY_S), environment, timeout_s=150
    )
    assert code == 0, said + other
    assert "InvalidAuthToken" in other, "who has another token isn't let in"
    away_s, back_s = (float((folder / name).read_text()) for name in ("away", "back"))
    return Cut(folder / "out", away_s, back_s, (folder / "at_work").exists())


def _cut_between_processes(grid: Path, folder: Path) -> Cut:
    """Two nodes on this machine, of which one is stopped as a whole and goes on later."""
    cluster, output = LocalCluster(2, 2), folder / "out"
    try:
        driver = cluster.drive(grid, output)
        while len(list(output.rglob("result.json"))) < BEFORE:
            assert driver.poll() is None
            time.sleep(0.05)
        raylet = raylet_pid(cluster.nodes[1])
        workers = children(raylet)
        stopped = [raylet, *(worker.pid for worker in workers)]
        away_s = _signal(stopped, signal.SIGSTOP)
        time.sleep(AWAY_S)
        back_s = _signal(stopped, signal.SIGCONT)
        cluster.add(2)
        text, _ = driver.communicate(timeout=150)
        assert driver.returncode == 0, text
        at_work = any("GpuWorker" in worker.command for worker in workers)
        return Cut(output, away_s, back_s, at_work)
    finally:
        cluster.close()


def _signal(processes: list[int], number: signal.Signals) -> float:
    at_s = time.time()
    for process in processes:
        os.kill(process, number)
    return at_s


def _on(event: dict[str, Any], node: str) -> bool:
    return str(event["worker"]).startswith(f"{node}/")


def _seconds(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()
