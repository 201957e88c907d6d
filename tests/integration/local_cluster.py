"""Several Ray nodes on this machine, each with processes of its own, to be broken on purpose."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster
from ray.experimental import internal_kv

from llem_sweep.execution.on_ray.cluster import HEALTH_CHECKS

DRIVER = Path(__file__).with_name("driver_process.py")


class LocalCluster:
    """A head without GPUs and worker nodes with simulated ones."""

    def __init__(self, *gpus: int, **system: float) -> None:
        """One node for each of ``gpus``; ``system`` are settings of Ray's own."""
        # Ray's sockets live here, and a socket's path may have 107 characters at most.
        self.folder = tempfile.mkdtemp(prefix="llem", dir="/tmp")
        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "include_dashboard": False,
                "temp_dir": self.folder,
                "_system_config": HEALTH_CHECKS | system,
            },
        )
        self.nodes = [self.add(count) for count in gpus]
        self.drivers: list[subprocess.Popen[str]] = []
        self._headless = False

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def add(self, gpus: int, **options: Any) -> Any:
        """Start a node; returns Ray's handle on its processes."""
        return self._cluster.add_node(num_gpus=gpus, num_cpus=max(1, gpus), **options)

    @property
    def all_nodes(self) -> list[Any]:
        """Every node that wasn't taken out of ``nodes``, the head first."""
        return [self._cluster.head_node, *self.nodes]

    def kill_head(self) -> None:
        """End what knows the cluster; the head's raylet stays."""
        head: Any = self._cluster.head_node
        process = head.all_processes["gcs_server"][0].process
        process.kill()
        process.wait()
        self._headless = True

    def drive(self, *arguments: object, **environ: str) -> subprocess.Popen[str]:
        """Run a sweep on the cluster, in a process of its own; see :data:`DRIVER` for the arguments."""
        command = [sys.executable, str(DRIVER), self.address, *map(str, arguments)]
        driver = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | environ
        )
        self.drivers.append(driver)
        return driver

    def close(self) -> None:
        for driver in self.drivers:
            if driver.poll() is None:
                driver.kill()
                driver.communicate()
        if self._headless:
            # Nobody answers their farewells, which they would wait for.
            for node in self.all_nodes:
                kill_raylet(node)
            self._headless = False
        # What Ray's test cluster forgets is forgotten for the whole process, another connection included.
        kept: Any = internal_kv.global_gcs_client
        shutdown: Callable[[], None] = self._cluster.shutdown
        shutdown()
        if kept is not None:
            internal_kv._initialize_internal_kv(kept)
        shutil.rmtree(self.folder, ignore_errors=True)


def raylet_pid(node: Any) -> int:
    """Process id of a node's raylet."""
    return int(node.all_processes["raylet"][0].process.pid)


def kill_raylet(node: Any) -> None:
    """End a node as a power cut would: nothing is told to anybody."""
    raylet: subprocess.Popen[bytes] = node.all_processes["raylet"][0].process
    # By its handle: one that has ended already leaves its number to a stranger.
    raylet.kill()
    # Its workers end when their parent is gone, which it isn't before somebody has asked how it ended.
    raylet.wait()


def drain(cluster: LocalCluster, node: Any, within_s: float = 300.0) -> None:
    """Announce that a node will be taken away, as a cloud does before it does so."""
    from ray import _raylet
    from ray.core.generated import autoscaler_pb2

    raylet: Any = _raylet
    reasons: Any = autoscaler_pb2
    client = raylet.GcsClient(address=cluster.address)
    accepted, why = client.drain_node(
        node.node_id,
        reasons.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION"),
        "the cloud wants it back",
        int((time.time() + within_s) * 1000),
    )
    assert accepted, why
