"""The end of a worker's log, wherever the worker ran."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from ray.exceptions import RayError
from ray.util.state import get_log
from ray.util.state.exception import RayStateApiException

from llem_sweep.execution.logs import log_tail
from llem_sweep.redaction import redact

TAIL_LINES = 100
LIMIT_S = 5

Fetch = Callable[[str, str], Iterable[str]]
"""Node id and file name to the end of that file."""


def fetch_from_node(node_id: str, name: str) -> Iterable[str]:
    """The end of a log file of a node, through the cluster's dashboard."""
    return get_log(node_id=node_id, filename=name, tail=TAIL_LINES, timeout=LIMIT_S)


def worker_log_tail(paths: tuple[str, ...], node_id: str, fetch: Fetch = fetch_from_node) -> str:
    """The end of a worker's log files, read here or, where they are another node's, from there.

    A log that can't be had, because its node is gone or the cluster has no dashboard, is said to be so: the
    failure it would explain matters more.
    """
    here = tuple(path for path in paths if Path(path).is_file())
    parts = [log_tail(here)] if here else []
    for path in paths:
        if path in here:
            continue
        try:
            text = "".join(fetch(node_id, Path(path).name)).strip()
        except (OSError, RayError, RayStateApiException) as error:
            text = f"(not to be had from its node: {error})"
        if text:
            parts.append(f"==> {Path(path).name} <==\n{text}")
    return redact("\n".join(parts))
