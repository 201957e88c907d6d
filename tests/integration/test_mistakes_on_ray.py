"""Mistakes of earlier tools between processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llem_sweep import SweepConfig, load_result, run_sweep

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("ray_address")]


def test_large_results_come_back_whole(make_sweep: Callable[..., SweepConfig], tmp_path: Path) -> None:
    """Of some megabytes, far beyond what a pipe or an inlined object of Ray holds."""
    name = "acme/" + "m" * 1_000_000
    sweep = make_sweep(
        model=name, energy={"backend": "null"}, warmup={"enabled": False}, sweep={"n": [1, 2, 3]}
    )
    result = run_sweep(sweep, output=tmp_path, simulate_gpus=4)
    assert (result.completed, result.failed) == (3, 0)
    stored = [load_result(path) for path in result.folder.rglob("result.json")]
    assert sorted(one.requests for one in stored) == [1, 2, 3]
    assert {one.model for one in stored} == {name}
    assert {one.effective_config.config["model"] for one in stored} == {name}
