"""Where a sweep runs: in this process, or on Ray. The only place that decides it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from llem_sweep.clock import Clock
from llem_sweep.execution.inline import InlineCluster
from llem_sweep.execution.pool import Cluster


def wanted_address(address: str | None) -> str | None:
    """The cluster to join: the one given, else that of RAY_ADDRESS; None to start one."""
    return address or os.environ.get("RAY_ADDRESS") or None


@contextmanager
def open_cluster(
    sweep: str,
    clock: Clock,
    *,
    inline: bool = False,
    address: str | None = None,
    simulate_gpus: int | None = None,
    message: Callable[[str], None] = lambda text: None,
) -> Iterator[Cluster]:
    """A cluster to run ``sweep`` on, closed again at the end.

    Raises ClusterError when Ray can't be started or reached, or when none of its nodes fits.
    """
    cluster: Cluster
    if inline:
        cluster = InlineCluster(simulate_gpus, clock)
    else:
        # Ray takes a second to import, and not every run needs it.
        from llem_sweep.execution.on_ray.cluster import RayCluster

        cluster = RayCluster(
            sweep, address=wanted_address(address), simulate_gpus=simulate_gpus, message=message
        )
    try:
        yield cluster
    finally:
        cluster.close()
