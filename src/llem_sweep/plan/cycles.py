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


def run_order(models: Sequence[str], execution: ExecutionConfig, design: str) -> Iterator[tuple[int, int]]:
    """Index of the point (from 0) and cycle (from 1) of every experiment, in order; ``models`` has that of each.

    sequential is A A B B and interleaved A B A B; shuffled permutes all points anew in each cycle, from
    ``shuffle_seed`` or else from ``design``, so that an unchanged sweep is planned the same every time. blocked
    does so with the points of one model after the other. longest_first depends on what runs where: its planned
    order is that of interleaved.
    """
    cycles = range(1, execution.n_cycles + 1)
    everything = list(range(len(models)))
    if execution.cycle_order == "sequential":
        yield from ((point, cycle) for point in everything for cycle in cycles)
        return
    permuted = execution.cycle_order in ("shuffled", "blocked")
    seed = design if execution.shuffle_seed is None else str(execution.shuffle_seed)
    for block in _by_model(models) if execution.cycle_order == "blocked" else [everything]:
        for cycle in cycles:
            order = list(block)
            if permuted:
                random.Random(f"{seed}/{cycle}").shuffle(order)
            yield from ((point, cycle) for point in order)


def _by_model(models: Sequence[str]) -> list[list[int]]:
    """Points of each model, models in order of their first point."""
    blocks: dict[str, list[int]] = {}
    for point, model in enumerate(models):
        blocks.setdefault(model, []).append(point)
    return list(blocks.values())
