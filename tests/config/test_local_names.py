"""A path has to look like one."""

from __future__ import annotations

from pathlib import Path

import pytest

from llem_sweep.config.load import load_sweep
from llem_sweep.errors import ConfigError


@pytest.mark.parametrize("field", ["model", "dataset"])
def test_a_path_written_without_its_dot_is_refused(field: str, tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "thing").mkdir()
    grid = tmp_path / "grid.yaml"
    grid.write_text(
        f"model: acme/m\n{field}: local/thing\n" if field == "dataset" else "model: local/thing\n"
    )
    with pytest.raises(ConfigError, match=r"write \./local/thing"):
        load_sweep(grid)


def test_a_name_on_the_hub_stays_one(tmp_path: Path) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text("model: acme/m\n")
    assert load_sweep(grid).shared["model"] == "acme/m"


def test_a_name_longer_than_any_path_is_no_path(tmp_path: Path) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text(f"model: acme/{'m' * 5000}\n")
    assert load_sweep(grid).contents == {}
