"""Stored sweeps compared: what a side may be, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from factories import make_board, make_config, make_environment, make_result
from llem_sweep import compare
from llem_sweep.errors import ConfigError, StoreError
from llem_sweep.store.write import save_result


def stored(top: Path, key: str, precision: str, energy: float, cycle: int = 1, **fields: Any) -> Path:
    """The folder of a result of a configuration with ``precision``."""
    return save_result(
        make_result(
            config=make_config(precision=precision),
            measurement_config_hash=key,
            cycle=cycle,
            avg_energy_per_token_j=energy,
            avg_energy_per_token_uncertainty_j=0.03,
            **fields,
        ),
        top,
    )


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """A sweep of two configurations, two cycles each."""
    for cycle in (1, 2):
        stored(tmp_path / "one", "a", "bf16", 5.0, cycle)
        stored(tmp_path / "one", "b", "fp16", 4.0, cycle)
    (tmp_path / "one" / "plan.json").write_text("{}")
    return tmp_path / "one"


def experiment(sweep: Path, precision: str) -> Path:
    return next(
        file.parent for file in sorted(sweep.glob("*/result.json")) if f'"{precision}"' in file.read_text()
    )


def test_two_sweeps_are_compared_configuration_by_configuration(sweep: Path, tmp_path: Path) -> None:
    for cycle in (1, 2):
        stored(tmp_path / "two", "a", "bf16", 5.5, cycle)
        stored(tmp_path / "two", "c", "fp32", 9.0, cycle)
    found = compare(sweep, str(tmp_path / "two"))
    [pair] = found.pairs
    assert pair.label == "precision=bf16"
    assert pair.energy_per_token_j.change == pytest.approx((0.5, 0.03 * 2**0.5))
    assert (len(pair.a.rows), len(pair.b.rows)) == (2, 2)
    assert (found.only_a, found.only_b) == (("precision=fp16",), ("precision=fp32",))


def test_two_experiments_of_a_sweep_stand_for_their_configurations(sweep: Path) -> None:
    found = compare(experiment(sweep, "bf16"), experiment(sweep, "fp16"))
    assert found.by_design == {"precision": ("bf16", "fp16")}
    [pair] = found.pairs
    assert (len(pair.a.rows), len(pair.b.rows)) == (2, 2)
    assert pair.energy_per_token_j.change is not None
    assert pair.energy_per_token_j.change.value == pytest.approx(-1.0)


def test_an_experiment_outside_a_sweep_stands_for_itself(sweep: Path, tmp_path: Path) -> None:
    (sweep / "plan.json").unlink()
    [pair] = compare(experiment(sweep, "bf16"), experiment(sweep, "fp16")).pairs
    assert (len(pair.a.rows), len(pair.b.rows)) == (1, 1)


def test_a_configuration_is_compared_with_its_counterpart_in_its_own_sweep(sweep: Path) -> None:
    [pair] = compare(experiment(sweep, "bf16"), sweep).pairs
    assert pair.a.config_hash == pair.b.config_hash == "a"
    assert pair.energy_per_token_j.shown is False


def test_other_boards_are_refused_with_the_way_out(sweep: Path, tmp_path: Path) -> None:
    boards = make_environment(boards=[make_board(name="A100"), make_board(name="A100", index=1)])
    stored(tmp_path / "two", "a", "bf16", 5.5, environment_snapshot=boards)
    with pytest.raises(ConfigError, match="boards: A on 2 × NVIDIA H100 80GB HBM3, B on 2 × A100") as caught:
        compare(sweep, tmp_path / "two")
    caught.match("--across boards")
    [pair] = compare(sweep, tmp_path / "two", across=["boards"]).pairs
    assert list(pair.crossings) == ["boards"]


def test_nothing_in_common_is_an_error_that_names_both_sides(sweep: Path, tmp_path: Path) -> None:
    stored(tmp_path / "two", "c", "fp32", 5.5)
    stored(tmp_path / "two", "d", "fp8", 5.5)
    with pytest.raises(
        ConfigError, match=r"only in A: precision=bf16; precision=fp16\nonly in B: precision=f"
    ):
        compare(sweep, tmp_path / "two")


def test_what_cannot_be_crossed_and_what_is_empty_are_refused(sweep: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="--across models: no such thing; there are boards, measured_on, methods"
    ):
        compare(sweep, sweep, across=["models"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match=r"no result in .*empty"):
        compare(sweep, tmp_path / "empty")
    with pytest.raises(StoreError, match="no folder at"):
        compare(sweep, tmp_path / "nowhere")
