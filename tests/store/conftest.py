"""A sweep's folder to write into."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from factories import START, make_plan
from llem_sweep.clock import SimulatedClock
from llem_sweep.store.folder import SweepFolder
from llem_sweep.store.records import RunSettings


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(wall=START)


@pytest.fixture
def settings() -> RunSettings:
    return RunSettings(simulate_gpus=2, inline=False, address=None, tool_version="0.1.0")


@pytest.fixture
def folder(tmp_path: Path, settings: RunSettings, clock: SimulatedClock) -> Iterator[SweepFolder]:
    """The folder of a sweep of three experiments."""
    with SweepFolder.create(tmp_path / "out", make_plan(3), settings, "model: m\n", clock) as folder:
        yield folder
