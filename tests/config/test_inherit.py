from __future__ import annotations

from pathlib import Path

import pytest

from llem_sweep.config.load import load_sweep
from llem_sweep.errors import ConfigError, Problem


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder / "grid.yaml"


def problems_of(file: Path) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        load_sweep(file)
    return caught.value.problems


def test_fields_of_a_base_are_inherited_and_inline_ones_win_deep(tmp_path: Path) -> None:
    grid = write(
        tmp_path,
        base="model: x\nn: 5\ndecoder: {temperature: 0.5, top_k: 7}\n",
        grid="base: base.yaml\nn: 6\ndecoder.temperature: 0.6\nsweep: {precision: [fp16]}\n",
    )
    assert load_sweep(grid).shared == {"model": "x", "n": 6, "decoder": {"temperature": 0.6, "top_k": 7}}


def test_a_base_may_have_a_base_in_another_folder(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    write(tmp_path / "inner", middle="base: ../outer.yaml\nn: 2\ngpus: 2\n")
    grid = write(
        tmp_path, outer="model: x\nn: 1\nrandom_seed: 3\n", grid="base: inner/middle.yaml\ngpus: 4\n"
    )
    assert load_sweep(grid).shared == {"model": "x", "n": 2, "random_seed": 3, "gpus": 4}


@pytest.mark.parametrize(
    "loop", [{"grid": "base: grid.yaml\n"}, {"grid": "base: a.yaml\n", "a": "base: ./grid.yaml\n"}]
)
def test_bases_that_inherit_from_each_other_are_an_error(tmp_path: Path, loop: dict[str, str]) -> None:
    grid = write(tmp_path, **{name: f"model: x\n{text}" for name, text in loop.items()})
    (problem,) = problems_of(grid)
    assert "inherit from each other" in problem.message
    assert (problem.field, problem.line) == ("base", 2)


@pytest.mark.parametrize("base", ["none.yaml", "[a, b]", "3", "''"])
def test_a_base_must_be_one_file_that_is_there(tmp_path: Path, base: str) -> None:
    (problem,) = problems_of(write(tmp_path, grid=f"model: x\nbase: {base}\n"))
    assert (problem.field, problem.line) == ("base", 2)


def test_a_problem_in_a_base_names_the_base(tmp_path: Path) -> None:
    grid = write(tmp_path, base="model: x\n\nn: 0\nprecison: fp16\n", grid="base: base.yaml\ngpus: -1\n")
    found = [(Path(problem.file or "").name, problem.line, problem.field) for problem in problems_of(grid)]
    assert found == [("base.yaml", 3, "n"), ("base.yaml", 4, "precison"), ("grid.yaml", 2, "gpus")]


def test_what_a_base_has_beside_fields_is_left_behind_with_a_warning(tmp_path: Path) -> None:
    grid = write(
        tmp_path,
        base="model: x\nname: old\nsweep: {n: [1, 2]}\nexecution.n_cycles: 3\n",
        grid="base: base.yaml\n",
    )
    sweep = load_sweep(grid)
    assert (sweep.name, sweep.sweep, sweep.execution.n_cycles) == ("grid", {}, 1)
    (warning,) = sweep.warnings
    assert "base.yaml: sweep, execution of a base file aren't inherited" in warning


def test_local_paths_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "inner" / "m").mkdir(parents=True)
    (tmp_path / "inner" / "m" / "config.json").write_text("{}")
    (tmp_path / "p.txt").write_text("hello\n")
    write(tmp_path / "inner", base="model: ./m\n")
    grid = write(tmp_path, grid="base: inner/base.yaml\ndataset: ./p.txt\n")
    sweep = load_sweep(grid)
    assert sweep.shared == {"model": str(tmp_path / "inner" / "m"), "dataset": str(tmp_path / "p.txt")}
    assert set(sweep.contents) == set(sweep.shared.values())
