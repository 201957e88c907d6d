"""What a cluster says to a process that has just come: ADDRESS; one line of JSON."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import ray
from ray.util import list_named_actors


def main(address: str) -> int:
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    # Ray's own annotations are missing here.
    says: Any = ray
    alive = [node for node in says.nodes() if node["Alive"]]
    told = {
        "nodes": len(alive),
        "gpus": says.cluster_resources().get("GPU", 0.0),
        "free": says.available_resources().get("GPU", 0.0),
        "actors": [actor["name"] for actor in list_named_actors(all_namespaces=True)],
    }
    print(json.dumps(told), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
