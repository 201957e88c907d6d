"""What is worth saying about a plan that is valid nonetheless."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.identity import backend_sections


def plan_warnings(
    configs: Sequence[ExperimentConfig], skipped: int, unmatched: Sequence[int]
) -> Iterator[str]:
    """Warnings about a grid of which ``configs`` are left, ``skipped`` points aren't valid, and the entries
    ``unmatched`` (from 1) of ``exclude`` match nothing."""
    total = len(configs) + skipped
    if skipped * 2 > total:
        yield f"more than half of the points are not valid and left out ({skipped} of {total})"
    for entry in unmatched:
        yield f"entry {entry} of exclude matches no point"
    for section in sorted(backend_sections() - {config.backend for config in configs}):
        if any(section in config.model_fields_set for config in configs):
            yield f"{section} has no effect: no point runs on the backend {section}"
