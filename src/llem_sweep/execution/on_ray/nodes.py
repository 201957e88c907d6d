"""The nodes of a Ray cluster: which fit, who joins, who is about to leave, who has left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import ray
from ray._private.state import state as gcs
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from llem_sweep.errors import ClusterError
from llem_sweep.execution.on_ray.actor import MUST_MATCH, NodeReport, report_node, versions
from llem_sweep.execution.on_ray.head import HEAD_LIMIT_S, Head
from llem_sweep.execution.pool import Draining, Joined, Left
from llem_sweep.plan.types import NodeShape

PROBE_LIMIT_S = 120.0
"""How long a node may take to answer; the first process on a cold node imports this package."""
LOOK_EVERY_S = 1.0
ACCELERATOR = "ray.io/accelerator-type"

Table = Mapping[str, Mapping[str, Any]]
"""What Ray says of each node, by its id."""


class _Probe(NamedTuple):
    answer: ray.ObjectRef[NodeReport]
    since_s: float


class RayNodes:
    """Every node whose versions are ours; the others are refused by name, once."""

    def __init__(self, head: Head, simulated: bool, message: Callable[[str], None]) -> None:
        self._head = head
        self._simulated = simulated
        self._message = message
        self._probe = ray.remote(num_cpus=0, max_retries=1)(report_node)
        self._probes: dict[str, _Probe] = {}
        self._refused: dict[str, str] = {}
        self.ids: dict[str, str] = {}
        """Ray's id of each node that is there and fits, by its name."""
        self._shapes: dict[str, NodeShape] = {}
        self._draining: set[str] = set()
        self._looked_s = float("-inf")

    @property
    def shapes(self) -> tuple[NodeShape, ...]:
        """The nodes that are there and fit."""
        return tuple(self._shapes.values())

    @property
    def refusals(self) -> tuple[str, ...]:
        """Nodes that don't fit, and why."""
        return tuple(self._refused.values())

    def wait(self) -> None:
        """Find the nodes that are there now, waiting for each to answer."""
        while True:
            list(self._changes())
            if not self._probes:
                return
            ray.wait([probe.answer for probe in self._probes.values()], timeout=LOOK_EVERY_S)

    def look(self) -> list[Joined | Draining | Left]:
        """What has changed since the last call; looks every LOOK_EVERY_S and never waits for a node.

        Raises ClusterError when the head has been away for too long.
        """
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_EVERY_S:
            return []
        self._looked_s = now_s
        away_s = self._head.away_s()
        if away_s is not None and away_s >= HEAD_LIMIT_S:
            raise ClusterError(f"the head of the Ray cluster hasn't been reachable for {away_s:.0f} s")
        if away_s is not None:
            return []
        return list(self._changes())

    def stays(self, node_id: str) -> bool:
        """Whether a node is there at this moment and isn't about to leave. Asks the head, and waits for it."""
        list_nodes: Callable[[], list[dict[str, Any]]] = ray.nodes
        alive = {node["NodeID"] for node in list_nodes() if node["Alive"]}
        return node_id in alive - gcs.get_draining_nodes().keys()

    def _changes(self) -> Iterator[Joined | Draining | Left]:
        list_nodes: Callable[[], list[dict[str, Any]]] = ray.nodes
        table = {node["NodeID"]: node for node in list_nodes()}
        alive = {node_id: node for node_id, node in table.items() if node["Alive"]}
        yield from self._leavers(table, alive)
        for node_id in alive.keys() - self.ids.values() - self._refused.keys() - self._probes.keys():
            here = NodeAffinitySchedulingStrategy(node_id, soft=False)
            self._probes[node_id] = _Probe(
                self._probe.options(scheduling_strategy=here).remote(), time.monotonic()
            )
        yield from self._joiners(alive)
        yield from self._drainers()

    def _leavers(self, table: Table, alive: Table) -> Iterator[Left]:
        for node_id in self._probes.keys() - alive.keys():
            del self._probes[node_id]
        for name, node_id in list(self.ids.items()):
            if node_id not in alive:
                del self.ids[name], self._shapes[name]
                self._draining.discard(node_id)
                yield Left(name, table.get(node_id, {}).get("DeathReasonMessage") or "it is no longer there")

    def _joiners(self, alive: Table) -> Iterator[Joined]:
        answered, _ = (
            ray.wait(
                [probe.answer for probe in self._probes.values()], num_returns=len(self._probes), timeout=0
            )
            if self._probes
            else ([], [])
        )
        for node_id, probe in list(self._probes.items()):
            host = alive[node_id]["NodeManagerHostname"]
            if probe.answer in answered:
                del self._probes[node_id]
                if (shape := self._judge(node_id, alive, probe.answer)) is not None:
                    yield Joined(shape)
            elif time.monotonic() - probe.since_s > PROBE_LIMIT_S:
                del self._probes[node_id]
                self._refuse(node_id, f"{host}: does not answer")

    def _judge(self, node_id: str, alive: Table, answer: ray.ObjectRef[NodeReport]) -> NodeShape | None:
        """The node's shape when it fits."""
        name = self._name(node_id, alive)
        try:
            report = ray.get(answer)
        except RayError as error:
            self._refuse(node_id, f"{name}: does not answer ({type(error).__name__})")
            return None
        if why := mismatch(report):
            self._refuse(node_id, f"{name}: {why}")
            return None
        shape = node_shape(name, alive[node_id], report, self._simulated)
        self.ids[name], self._shapes[name] = node_id, shape
        return shape

    def _refuse(self, node_id: str, why: str) -> None:
        self._refused[node_id] = why
        self._message(f"node refused: {why}")

    def _name(self, node_id: str, alive: Table) -> str:
        """The host's name, told apart by the node's id where the host runs several nodes."""
        hosts = Counter(node["NodeManagerHostname"] for node in alive.values())
        host = str(alive[node_id]["NodeManagerHostname"])
        if hosts[host] == 1 and host not in self.ids:
            return host
        # Random ids differ early on; those that a provider of nodes gives out may differ at their end alone.
        names = (f"{host}-{node_id[:length]}" for length in range(6, len(node_id)))
        return next((name for name in names if name not in self.ids), f"{host}-{node_id}")

    def _drainers(self) -> Iterator[Draining]:
        names = {node_id: name for name, node_id in self.ids.items()}
        for node_id, deadline_ms in gcs.get_draining_nodes().items():
            if node_id in names and node_id not in self._draining:
                self._draining.add(node_id)
                left_s = deadline_ms / 1000 - time.time()
                when = f"it is drained, within {left_s:.0f} s" if deadline_ms else "it is drained"
                yield Draining(names[node_id], when)


def mismatch(report: NodeReport) -> str | None:
    """Which versions of a node differ from ours; None when it fits."""
    ours = versions()
    differing = [
        f"{name} {report.versions.get(name)} there, {ours[name]} here"
        for name in MUST_MATCH
        if report.versions.get(name) != ours[name]
    ]
    return "; ".join(differing) + " (install the same versions on every node)" if differing else None


def node_shape(name: str, node: Mapping[str, Any], report: NodeReport, simulated: bool) -> NodeShape:
    """A node as admission sees it."""
    resources = node["Resources"]
    gpus, cpus = int(resources.get("GPU", 0)), float(resources.get("CPU", 1))
    accelerator = node.get("Labels", {}).get(ACCELERATOR)
    if simulated:
        return NodeShape(name, gpus, cpus, "Simulated GPU", accelerator=accelerator)
    first = report.boards[0] if report.boards else None
    board, driver = (first.name, first.driver_version) if first else (None, None)
    generations = frozenset(info.generation for info in report.boards if info.generation)
    memory_mb = min((info.memory_total_mb for info in report.boards if info.memory_total_mb), default=None)
    return NodeShape(name, gpus, cpus, board, memory_mb, accelerator, driver=driver, generations=generations)
