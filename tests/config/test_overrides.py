from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llem_sweep.config.sweep import SweepConfig
from llem_sweep.errors import Problem

Load = Callable[..., SweepConfig]
Problems = Callable[..., list[Problem]]


def test_values_are_read_as_yaml_and_the_later_wins(load: Load) -> None:
    sweep = load("model: x\nn: 5\n", "n=7", "n=8", "decoder.temperature=5e-1", "pytorch={batch_size: 2}")
    assert sweep.shared == {
        "model": "x",
        "n": 8,
        "decoder": {"temperature": 0.5},
        "pytorch": {"batch_size": 2},
    }


def test_name_and_execution_can_be_overridden(load: Load) -> None:
    sweep = load("model: x\nexecution: {n_cycles: 2, max_retries: 1}\n", "name=other", "execution.n_cycles=5")
    assert sweep.name == "other"
    assert (sweep.execution.n_cycles, sweep.execution.max_retries) == (5, 1)


def test_a_value_may_hold_an_equals_sign(load: Load) -> None:
    assert load("model: x\n", "model=a=b").shared["model"] == "a=b"


@pytest.mark.parametrize(
    ("text", "override", "sweep", "zipped"),
    [
        ("sweep: {n: [1, 2], gpus: [1, 2]}", "n=3", {"n": (3,), "gpus": (1, 2)}, {}),
        ("sweep: {n: [1, 2], gpus: [1, 2]}", "n=[3, 4, 5]", {"n": (3, 4, 5), "gpus": (1, 2)}, {}),
        ("sweep: {gpus: [1, 2]}", "n=[3, 4]", {"gpus": (1, 2), "n": (3, 4)}, {}),
        ("n: 2", "n=[3, 4]", {"n": (3, 4)}, {}),
        ("zip: {n: [1, 2], gpus: [1, 2]}", "n=3", {}, {"gpus": (1, 2)}),
        ("zip: {n: [1, 2], gpus: [1, 2]}", "n=[3, 4]", {}, {"n": (3, 4), "gpus": (1, 2)}),
        ("zip: {n: [1, 2]}", "n=3", {"n": (3,)}, {}),
        (
            "sweep: {decoder: [{top_k: 1, top_p: 0.5}, {top_k: 2}]}",
            "decoder.top_k=9",
            {"decoder": ({"top_p": 0.5}, {})},
            {},
        ),
        ("sweep: {dataset.n: [1, 2], gpus: [1]}", "dataset=builtin", {"gpus": (1,)}, {}),
    ],
)
def test_an_override_replaces_the_dimension(
    load: Load, text: str, override: str, sweep: dict[str, Any], zipped: dict[str, Any]
) -> None:
    loaded = load(f"model: x\n{text}\n", override)
    assert (loaded.sweep, loaded.zip) == (sweep, zipped)


def test_an_override_wins_over_explicit_points(load: Load) -> None:
    text = "model: x\nexperiments: [{n: 4, gpus: 2}]\ninclude: [{decoder: {top_k: 3, top_p: 0.5}}]\n"
    sweep = load(text, "n=1", "decoder.top_k=7")
    assert sweep.shared == {"model": "x", "n": 1, "decoder": {"top_k": 7}}
    assert sweep.experiments == ({"gpus": 2},)
    assert sweep.include == ({"decoder": {"top_p": 0.5}},)


def test_an_overridden_value_is_not_checked_in_the_file(load: Load) -> None:
    assert load("model: ./missing\nn: 0\n", "model=x", "n=1").shared == {"model": "x", "n": 1}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("n", "key=value"),
        ("=3", "key=value"),
        ("precison=fp16", "did you mean precision?"),
        ("execution.n_cycle=2", "did you mean execution.n_cycles?"),
        ("execution=2", "set one of its fields"),
        ("decoder={}", "set one of its fields"),
        ("n=[1", "isn't valid YAML"),
        ("n=!!int 3", "tags"),
        ("n=0", "greater than or equal to 1"),
        ("n=[]", "has no values"),
        ("sweep.n=[1]", "no such field"),
        ("base=other.yaml", "no such field"),
        ("model=./missing", "there is no folder"),
    ],
)
def test_problems_of_an_override_name_it(problems: Problems, override: str, message: str) -> None:
    (problem,) = problems("model: x\n", override)
    assert message in str(problem)
    assert str(problem).startswith(f"--set {override}: ")


def test_overrides_are_kept_in_the_source(load: Load) -> None:
    assert load("model: x\n", "n=3", "name=y").source == "model: x\n\n# --set n=3\n# --set name=y\n"


def test_paths_on_the_command_line_are_relative_to_the_working_directory(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere" / "m").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load("model: x\n", "model=./m").shared["model"] == str(tmp_path / "elsewhere" / "m")
