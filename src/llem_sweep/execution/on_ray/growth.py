"""What a cluster's autoscaler could add."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import ray
import yaml
from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
from ray._private.state import state as gcs
from ray.autoscaler.v2.sdk import get_cluster_resource_state
from ray.experimental import internal_kv

from llem_sweep.errors import ClusterError
from llem_sweep.plan.types import NodeShape

LAUNCHED = Path("~/ray_bootstrap_config.yaml")
"""Where ``ray up`` leaves the description of the cluster, on its head."""
HEAD = "node:__internal_head__"
"""Resource of the head alone."""
LABEL = "ray.io/accelerator-type"
_BY_HAND = "node_"
"""How Ray calls the type of a node that nobody launched: this and its id."""


class Growth(NamedTuple):
    """What could be added."""

    startable: tuple[NodeShape, ...] = ()
    """Kinds of node, where they can be known."""
    grows: bool = False
    """Whether there may be others, of which nothing is known."""


def growth() -> Growth:
    """What the autoscaler of the cluster that this process is connected to could add; nothing without one.

    Ray tells its drivers nowhere what an autoscaler may add. Where the cluster's store or, on the head, the file
    of ``ray up`` describes the kinds, they are known; else all that can be seen is whether nodes have been
    launched as of some kind. Raises ClusterError when that file can't be read.
    """
    config = gcs.get_cluster_config()
    if config is not None and config.node_group_configs:
        return Growth(_groups(config.node_group_configs))
    if _on_head() and (file := LAUNCHED.expanduser()).is_file():
        return Growth(described(file))
    return Growth(grows=any(map(is_launched, _types())))


def described(file: Path) -> tuple[NodeShape, ...]:
    """The kinds of worker node in the description of a cluster. Raises ClusterError when it can't be read."""
    try:
        cluster = yaml.safe_load(file.read_text(encoding="utf-8"))
        kinds, head = cluster["available_node_types"], cluster.get("head_node_type")
        return tuple(
            _shape(name, kind.get("resources") or {}, kind.get("labels") or {})
            for name, kind in kinds.items()
            if kind.get("max_workers", 0 if name == head else 1)
        )
    except (
        OSError,
        UnicodeDecodeError,
        yaml.YAMLError,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
    ) as exc:
        raise ClusterError(f"{file} doesn't say which nodes the cluster may add: {exc!r}") from exc


def is_launched(kind: str) -> bool:
    """Whether a node of type ``kind`` was launched by something that knows kinds of node."""
    return bool(kind) and not kind.startswith(_BY_HAND)


def reported_types(status: bytes | None) -> frozenset[str]:
    """Types of node in the report that the older autoscaler leaves in the cluster's store."""
    report: Mapping[str, Any] = json.loads(status or b"{}").get("autoscaler_report") or {}
    there, coming = report.get("node_type_mapping") or {}, report.get("pending_launches") or {}
    return frozenset({*there.values(), *coming})


def _types() -> Iterable[str]:
    connected: Callable[[], Any] = internal_kv.internal_kv_get_gcs_client
    client = connected()
    for node in get_cluster_resource_state(client).node_states:
        yield node.ray_node_type_name
    yield from reported_types(internal_kv._internal_kv_get(DEBUG_AUTOSCALING_STATUS))


def _on_head() -> bool:
    here = ray.get_runtime_context().get_node_id()
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return any(HEAD in node["Resources"] for node in nodes if node["NodeID"] == here)


def _groups(groups: Iterable[Any]) -> tuple[NodeShape, ...]:
    return tuple(_shape(group.name, group.resources, {}) for group in groups if group.max_count != 0)


def _shape(name: str, resources: Mapping[str, float], labels: Mapping[str, str]) -> NodeShape:
    prefix = "accelerator_type:"
    by_resource = (each.removeprefix(prefix) for each in resources if each.startswith(prefix))
    return NodeShape(
        name,
        int(resources.get("GPU", 0)),
        float(resources.get("CPU", 0)),
        accelerator=labels.get(LABEL) or next(by_resource, None),
    )
