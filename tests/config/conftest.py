"""What the tests of the configuration share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llem_sweep.config.load import load_sweep
from llem_sweep.config.options import plugin_options
from llem_sweep.config.sweep import SweepConfig
from llem_sweep.errors import ConfigError, Problem

Load = Callable[..., SweepConfig]
Problems = Callable[..., list[Problem]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads a sweep from text, as ``grid.yaml`` in a folder of its own."""

    def load_text(text: str, *overrides: str) -> SweepConfig:
        file = tmp_path / "grid.yaml"
        file.write_text(text)
        return load_sweep(file, overrides)

    return load_text


@pytest.fixture
def problems(load: Load) -> Problems:
    """The problems of a sweep given as text, of which there must be some."""

    def problems_of(text: str, *overrides: str) -> list[Problem]:
        with pytest.raises(ConfigError) as caught:
            load(text, *overrides)
        return list(caught.value.problems)

    return problems_of


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An installed plug-in that registers options for the backend ``other``; yields the backend's name."""
    site = tmp_path / "site"
    metadata = site / "other_backend-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: other-backend\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[llem_sweep.backend_options]\nother = other_backend_options:OtherOptions\n"
    )
    (site / "other_backend_options.py").write_text(
        "from pydantic import Field\n"
        "from llem_sweep.config.base import BackendOptions\n\n"
        "class OtherOptions(BackendOptions):\n"
        "    width: int = Field(default=1, ge=1)\n"
        "    kernel: str | None = None\n"
    )
    monkeypatch.syspath_prepend(site)
    plugin_options.cache_clear()
    yield "other"
    plugin_options.cache_clear()
