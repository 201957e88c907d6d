"""Ray: started here or address, and what it offers."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import ray
from ray._private.services import find_gcs_addresses
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from llem_sweep.errors import ClusterError
from llem_sweep.execution.ray_actor import MUST_MATCH, NodeReport, report_node, versions
from llem_sweep.execution.ray_pool import RayPool, Seat
from llem_sweep.execution.worker import WorkerSpec
from llem_sweep.plan.types import ClusterShape, NodeShape

PROBE_LIMIT_S = 120.0
"""How long a node may take to answer; the first process on a cold node imports this package."""

CONNECT_LIMIT_S = 10.0


class Node(NamedTuple):
    """A node that fits."""

    node_id: str
    shape: NodeShape


class RayCluster:
    """A Ray cluster address by its address, or one started on this machine and stopped again.

    In a program that is connected to Ray already, that connection is used, and left as it was.
    """

    def __init__(
        self, sweep: str, *, address: str | None, simulate_gpus: int | None, message: Callable[[str], None]
    ) -> None:
        self._sweep = sweep
        self._simulated = simulate_gpus is not None
        self._pool: RayPool | None = None
        self._owns_connection = not ray.is_initialized()
        if self._owns_connection:
            _connect(address, simulate_gpus, message)
        try:
            self._nodes = _fitting_nodes(self._simulated, message)
        except BaseException:
            self.close()
            raise
        if url := _dashboard_url():
            message(f"Ray dashboard: http://{url}")

    @property
    def shape(self) -> ClusterShape:
        """Every node that fits, with its boards."""
        return ClusterShape(tuple(node.shape for node in self._nodes), simulated=self._simulated)

    def pool(self, gpus: int, baseline_s: float, cpu_workers: int) -> RayPool:
        """Workers of ``gpus`` boards each on every node; the workers of an earlier pool are ended first."""
        if self._pool is not None:
            self._pool.close()
        seats = [
            seat
            for node in self._nodes
            for seat in node_seats(node, gpus, baseline_s, cpu_workers, self._simulated)
        ]
        self._pool = RayPool(seats, self._sweep, simulated=self._simulated)
        return self._pool

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        if self._owns_connection:
            ray.shutdown()


def _connect(address: str | None, simulate_gpus: int | None, message: Callable[[str], None]) -> None:
    if address and simulate_gpus is not None:
        raise ClusterError(
            "--simulate-gpus starts a Ray of its own; leave out --address and unset RAY_ADDRESS, or the flag"
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address:
            message(f"joining the Ray cluster at {address}")
            _require_listener(address)
            ray.init(address=address, **options)
            return
        if others := _running_clusters():
            message(
                f"a Ray cluster is running at {', '.join(others)}; this sweep starts its own."
                f" Should that one be meant to be joined: --address {others[0]}"
            )
        message("starting Ray on this machine")
        with _without_visible_devices(simulate_gpus is not None):
            ray.init(address="local", num_gpus=simulate_gpus, **options)
    except (ConnectionError, OSError, RuntimeError, ValueError, RayError) as error:
        where = f"at {address}" if address else "on this machine"
        hint = (
            "check the address and RAY_AUTH_MODE"
            if address
            else "see the log folder named above, or use --inline"
        )
        raise ClusterError(f"no Ray cluster {where}: {error} ({hint})") from error


def _require_listener(address: str) -> None:
    """Raise OSError when nothing listens at ``HOST:PORT``: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "://" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_LIMIT_S).close()


def _running_clusters() -> list[str]:
    find: Callable[[], set[str]] = find_gcs_addresses
    return sorted(find())


@contextmanager
def _without_visible_devices(hidden: bool) -> Iterator[None]:
    """Ray refuses more GPUs than CUDA_VISIBLE_DEVICES names, which says nothing about simulated ones."""
    kept = os.environ.pop("CUDA_VISIBLE_DEVICES", None) if hidden else None
    try:
        yield
    finally:
        if kept is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = kept


def _dashboard_url() -> str | None:
    from ray._private.worker import global_worker

    node = global_worker.node
    return node.address_info.get("webui_url") if node is not None else None


def _fitting_nodes(simulated: bool, message: Callable[[str], None]) -> tuple[Node, ...]:
    """Every living node whose versions are ours; the others are refused by name."""
    list_nodes: Callable[[], list[dict[str, Any]]] = ray.nodes
    alive = {node["NodeID"]: node for node in list_nodes() if node["Alive"]}
    probe = ray.remote(num_cpus=0, max_retries=1)(report_node)
    asked = {
        node_id: probe.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False)
        ).remote()
        for node_id in alive
    }
    names = node_names(alive)
    fitting, refused = [], []
    for node_id, pending in asked.items():
        try:
            report: NodeReport = ray.get(pending, timeout=PROBE_LIMIT_S)
        except RayError as error:
            refused.append(f"{names[node_id]}: does not answer ({type(error).__name__})")
            continue
        if why := mismatch(report):
            refused.append(f"{names[node_id]}: {why}")
            continue
        shape = _shape(names[node_id], alive[node_id]["Resources"], report, simulated)
        fitting.append(Node(node_id, shape))
    for reason in refused:
        message(f"node refused: {reason}")
    if not fitting:
        raise ClusterError("no node of the cluster can be used:\n" + "\n".join(f"  {why}" for why in refused))
    return tuple(fitting)


def mismatch(report: NodeReport) -> str | None:
    """Which versions of a node differ from ours; None when it fits."""
    ours = versions()
    differing = [
        f"{name} {report.versions.get(name)} there, {ours[name]} here"
        for name in MUST_MATCH
        if report.versions.get(name) != ours[name]
    ]
    return "; ".join(differing) + " (install the same versions on every node)" if differing else None


def node_names(alive: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Host names, told apart by the node's id where a host runs several nodes."""
    hosts = Counter(node["NodeManagerHostname"] for node in alive.values())
    return {
        node_id: host if hosts[host] == 1 else f"{host}-{node_id[:6]}"
        for node_id, node in alive.items()
        for host in [node["NodeManagerHostname"]]
    }


def _shape(name: str, resources: Mapping[str, float], report: NodeReport, simulated: bool) -> NodeShape:
    gpus, cpus = int(resources.get("GPU", 0)), float(resources.get("CPU", 1))
    if simulated:
        return NodeShape(name, gpus, cpus, "Simulated GPU")
    first = report.boards[0] if report.boards else None
    board, driver = (first.name, first.driver_version) if first else (None, None)
    memory_mb = min((info.memory_total_mb for info in report.boards if info.memory_total_mb), default=None)
    return NodeShape(name, gpus, cpus, board, memory_mb, driver=driver)


def node_seats(node: Node, gpus: int, baseline_s: float, cpu_workers: int, simulated: bool) -> Iterator[Seat]:
    """A node's CPUs are shared evenly: an actor without CPUs would compute on one thread."""
    count = node.shape.gpus // gpus if gpus else cpu_workers
    share = node.shape.cpus * gpus / node.shape.gpus if gpus else node.shape.cpus / cpu_workers
    cpus = float(int(share)) if share >= 1 else int(share * 100) / 100
    for number in range(count):
        spec = WorkerSpec(
            name=f"{node.shape.name}/worker{number}",
            node=node.shape.name,
            gpus=gpus,
            simulated=() if simulated else None,
            baseline_s=baseline_s,
        )
        yield Seat(spec, node.node_id, cpus)
