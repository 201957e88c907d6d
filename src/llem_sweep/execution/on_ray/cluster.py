"""Ray: started here or address, and what it offers."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray._private.services import find_gcs_addresses
from ray.exceptions import RayError

from llem_sweep.clock import SystemClock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.errors import ClusterError
from llem_sweep.execution.on_ray.fetch import describe_on_nodes
from llem_sweep.execution.on_ray.growth import growth
from llem_sweep.execution.on_ray.head import Head
from llem_sweep.execution.on_ray.nodes import RayNodes
from llem_sweep.execution.on_ray.pool import RayPool
from llem_sweep.execution.on_ray.sweep_metrics import SweepMetrics
from llem_sweep.execution.progress import SweepView
from llem_sweep.plan.types import ClusterShape, ModelFacts

CONNECT_LIMIT_S = 10.0
HEALTH_CHECKS = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
}
"""A lost node is noticed within seconds; by default it takes a minute."""


class RayCluster:
    """A Ray cluster joined by its address, or one started on this machine and stopped again.

    In a program that is connected to Ray already, that connection is used, and left as it was; an address that is
    another's is refused.
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
        elif address:
            _require_same(address, ray.get_runtime_context().gcs_address)
        try:
            head = Head(ray.get_runtime_context().gcs_address, SystemClock())
            self._nodes = RayNodes(head, self._simulated, message)
            self._nodes.wait()
            if not self._nodes.shapes:
                listed = "\n".join(f"  {why}" for why in self._nodes.refusals)
                raise ClusterError(f"no node of the cluster can be used:\n{listed}")
        except BaseException:
            self.close()
            raise
        if url := _dashboard_url():
            message(f"Ray dashboard: http://{url}")

    @property
    def shape(self) -> ClusterShape:
        """Every node that fits, with its boards, and what an autoscaler could add."""
        startable, grows = growth()
        return ClusterShape(self._nodes.shapes, simulated=self._simulated, startable=startable, grows=grows)

    def pool(self) -> RayPool:
        """A pool without workers; those of an earlier one are ended first."""
        if self._pool is not None:
            self._pool.close()
        self._pool = RayPool(self._nodes, self._sweep, simulated=self._simulated)
        return self._pool

    @property
    def watchers(self) -> Sequence[SweepView]:
        return (SweepMetrics(self._sweep, SystemClock(), simulated=self._simulated),)

    def describe(self, config: ExperimentConfig) -> Mapping[str, ModelFacts]:
        return describe_on_nodes(config, self._nodes.ids) if len(self._nodes.ids) > 1 else {}

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
            ray.init(address="local", num_gpus=simulate_gpus, _system_config=HEALTH_CHECKS, **options)
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


def _require_same(address: str, connected: str) -> None:
    """Raise ClusterError when ``address`` is a ``HOST:PORT`` with another port than ``connected`` has.

    One machine has many names and addresses; two clusters on it never have one port.
    """
    port = address.rpartition(":")[2]
    if "://" not in address and port.isdecimal() and port != connected.rpartition(":")[2]:
        raise ClusterError(
            f"this process is connected to the Ray cluster at {connected}, not to {address}:"
            " call ray.shutdown() first, or leave the address out"
        )


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
