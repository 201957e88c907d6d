"""Whether a running Ray offers as many boards as were asked for: ``count_gpus.py ADDRESS GPUS``.

Ends with 0, or with 3 and what is missing. A board that Ray didn't find, or a second Ray started by mistake, would
otherwise make a sweep on fewer boards than were paid for.
"""

import logging
import sys
from collections.abc import Callable
from typing import Any

import ray


def main(address: str, wanted: int) -> int:
    """Join the cluster at ``address`` and count; returns the exit code."""
    ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    list_nodes: Callable[[], list[dict[str, Any]]] = ray.nodes
    found = [
        (node["NodeManagerHostname"], int(node["Resources"].get("GPU", 0)))
        for node in list_nodes()
        if node["Alive"]
    ]
    ray.shutdown()
    if sum(gpus for _, gpus in found) == wanted:
        return 0
    listed = ", ".join(f"{gpus} on {host}" for host, gpus in sorted(found))
    print(f"{wanted} GPUs were asked for, and Ray at {address} has {listed}", file=sys.stderr)
    return 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
