"""In which order points and their repeats are run."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Sequence

from llem_sweep.config.sweep import ExecutionConfig


def design_hash(config_hashes: Sequence[str], execution: ExecutionConfig) -> str:
    """16 hex digits over the points in the order of the file, and the settings that order them."""
    design = [list(config_hashes), execution.n_cycles, execution.cycle_order, execution.shuffle_seed]
    return hashlib.sha256(json.dumps(design).encode()).hexdigest()[:16]


def run_order(points: int, execution: ExecutionConfig, design: str) -> Iterator[tuple[int, int]]:
    """Index of the point (from 0) and cycle (from 1) of every experiment, in order.

    sequential is A A B B and interleaved A B A B; shuffled permutes all points anew in each cycle, from
    ``shuffle_seed`` or else from ``design``, so that an unchanged sweep is planned the same every time.
    """
    cycles = range(1, execution.n_cycles + 1)
    if execution.cycle_order == "sequential":
        for point in range(points):
            for cycle in cycles:
                yield point, cycle
        return
    seed = design if execution.shuffle_seed is None else str(execution.shuffle_seed)
    for cycle in cycles:
        order = list(range(points))
        if execution.cycle_order == "shuffled":
            random.Random(f"{seed}/{cycle}").shuffle(order)
        for point in order:
            yield point, cycle
