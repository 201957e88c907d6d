"""Which nodes have boards that can't multiply in fp8."""

from __future__ import annotations

import re

from llem_sweep.plan.types import NodeShape

_GENERATIONS = {"kepler", "maxwell", "pascal", "volta", "turing", "ampere", "ga100"}
"""NVML's generations before Ada and Hopper, whose compute capability is below 8.9."""
_KINDS = {"K80", "P4", "P100", "V100", "T4", "A10G", "A10", "A30", "A40", "A100"}
"""The same by Ray's names, which are all that is known of a node that isn't there yet."""


def lacks_fp8(node: NodeShape) -> bool:
    """Whether a board of ``node`` is known to have no products in fp8."""
    if node.generations:
        return not node.generations.isdisjoint(_GENERATIONS)
    kind = re.match(r"[A-Z0-9]+", (node.accelerator or "").upper())
    return kind is not None and kind.group() in _KINDS
