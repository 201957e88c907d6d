from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from llem_sweep.config.contents import END_BYTES, LARGE_BYTES, changed_contents, digest
from llem_sweep.config.datasets import FileDataset
from llem_sweep.config.sweep import SweepConfig
from llem_sweep.errors import Problem
from llem_sweep.plan.expand import plan_sweep

Load = Callable[..., SweepConfig]
Problems = Callable[..., list[Problem]]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "m"
    (folder / "sub").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "sub" / "tokenizer.json").write_text("[]")
    return folder


@pytest.mark.parametrize(
    "text",
    [
        "model: ./m",
        "sweep: {model: [./m]}",
        "zip: {model: [./sub/../m/]}",
        "experiments: [{model: ./m}]",
        "include: [{model: ./m}]",
    ],
)
def test_local_models_become_absolute_wherever_they_are_named(load: Load, model: Path, text: str) -> None:
    sweep = load(text)
    assert sweep.contents == {str(model): digest(model)}
    named = [sweep.shared.get("model"), *sweep.sweep.get("model", ()), *sweep.zip.get("model", ())]
    named += [point["model"] for point in (*sweep.experiments, *sweep.include)]
    assert [name for name in named if name] == [str(model)]


@pytest.mark.parametrize(
    "text", ["dataset: {path: ./d.txt}", "dataset.path: ./d.txt", "sweep: {dataset.path: [./d.txt]}"]
)
def test_a_dataset_file_in_a_mapping_becomes_absolute(load: Load, tmp_path: Path, text: str) -> None:
    file = tmp_path / "d.txt"
    file.write_text("a prompt\n")
    sweep = load(f"model: org/m\n{text}\n")
    assert sweep.contents == {str(file): digest(file)}
    (experiment,) = plan_sweep(sweep).experiments
    assert experiment.config.dataset == FileDataset(path=str(file))


def test_a_local_assistant_becomes_absolute(load: Load, model: Path) -> None:
    sweep = load("model: org/m\npytorch: {assistant_model: ./m}\n")
    assert sweep.contents == {str(model): digest(model)}
    (experiment,) = plan_sweep(sweep).experiments
    assert experiment.config.pytorch.assistant_model == str(model)


def test_names_on_the_hub_stay_as_they_are(load: Load) -> None:
    sweep = load("model: org/model\ndataset: org/data\n")
    assert sweep.shared == {"model": "org/model", "dataset": "org/data"}
    assert sweep.contents == {}


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("model: ./none", 1, "there is no folder"),
        ("n: 1\nmodel: /nowhere/at/all", 2, "there is no folder"),
        ("sweep:\n  model:\n  - ./m\n  - ./none", 4, "there is no folder"),
        ("model: ./m/config.json", 1, "isn't a folder"),
        ("model: ./m\ndataset: ./none.txt", 2, "there is no file"),
        ("model: ./m\ndataset: ./m", 2, "isn't a file"),
        ("model: ./m\npytorch:\n  assistant_model: ./none", 3, "there is no folder"),
        ("model: ./m\ndataset:\n  path: ./none.txt", 3, "there is no file"),
        ("model: ./m\ndataset:\n  path: none.txt", 3, "path must start with"),
    ],
)
def test_a_local_path_that_is_not_there_is_a_problem_at_its_line(
    problems: Problems, model: Path, text: str, line: int, message: str
) -> None:
    (problem,) = problems(text)
    assert problem.line == line
    assert message in problem.message


def test_a_folders_digest_follows_names_and_contents_only(tmp_path: Path, model: Path) -> None:
    before = digest(model)
    copy = tmp_path / "copy"
    model.rename(copy)
    os.utime(copy / "config.json", (0, 0))
    (copy / ".cache").mkdir()
    (copy / ".cache" / "stamp").write_text("now")
    (copy / ".hidden").write_text("x")
    assert digest(copy) == before
    (copy / "sub" / "tokenizer.json").write_text("[1]")
    changed = digest(copy)
    assert changed != before
    (copy / "sub" / "tokenizer.json").rename(copy / "sub" / "other.json")
    assert digest(copy) not in (before, changed)


def test_links_count_as_what_they_point_to(tmp_path: Path, model: Path) -> None:
    linked = tmp_path / "linked"
    (linked / "sub").mkdir(parents=True)
    (linked / "config.json").symlink_to(model / "config.json")
    (linked / "sub" / "tokenizer.json").symlink_to(model / "sub" / "tokenizer.json")
    assert digest(linked) == digest(model)
    (linked / "sub" / "loop").symlink_to(linked)
    digest(linked)


def test_large_files_enter_by_size_and_both_ends(tmp_path: Path) -> None:
    file = tmp_path / "weights.bin"

    def sparse(at: int, byte: bytes, size: int = LARGE_BYTES + 2) -> str:
        with file.open("wb") as out:
            out.truncate(size)
            out.seek(at)
            out.write(byte)
        return digest(file)

    plain = sparse(0, b"\0")
    assert sparse(END_BYTES - 1, b"x") != plain
    assert sparse(LARGE_BYTES + 1, b"x") != plain
    assert sparse(0, b"\0", LARGE_BYTES + 3) != plain
    assert sparse(LARGE_BYTES // 2, b"x") == plain
    assert sparse(LARGE_BYTES // 2, b"x", LARGE_BYTES) != sparse(0, b"\0", LARGE_BYTES)


def test_changed_contents_are_named(model: Path, tmp_path: Path) -> None:
    contents = {str(model): digest(model), str(tmp_path / "gone"): "0" * 16}
    assert changed_contents(contents) == [f"{tmp_path / 'gone'} is gone"]
    (model / "config.json").write_text("{1}")
    assert changed_contents(contents)[0] == f"the content of {model} has changed"
