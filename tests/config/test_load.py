from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llem_sweep.config.load import load_sweep
from llem_sweep.config.sweep import SweepConfig
from llem_sweep.errors import ConfigError, Problem

Load = Callable[..., SweepConfig]
Problems = Callable[..., list[Problem]]

EVERYTHING_WRONG = """\
model: 5
precison: fp16
decoder: {temperature: 3, top_kk: 1}
pytorch.batchsize: 4
n: 1
n: 2
execution:
  n_cycles: 0
  retries: 3
sweep:
  precision: []
  random_seed: [1, 2]
zip:
  random_seed: [1, 2]
  n: [1, 2, 3]
include:
  - pytorch: {batch: 2}
exclude:
  - gpus: 100
"""


def test_all_problems_of_a_file_come_at_once_with_line_field_and_nearest_name(problems: Problems) -> None:
    found = {(problem.line, problem.field): problem for problem in problems(EVERYTHING_WRONG)}
    assert set(found) == {
        (1, "model"),
        (2, "precison"),
        (3, "decoder.temperature"),
        (3, "decoder.top_kk"),
        (4, "pytorch.batchsize"),
        (6, None),
        (8, "execution.n_cycles"),
        (9, "execution.retries"),
        (11, "precision"),
        (14, "random_seed"),
        (13, "zip"),
        (17, "pytorch.batch"),
        (19, "gpus"),
    }
    assert found[2, "precison"].hint == "did you mean precision?"
    assert found[3, "decoder.top_kk"].hint == "did you mean decoder.top_k?"
    assert found[4, "pytorch.batchsize"].hint == "did you mean pytorch.batch_size?"
    assert all(problem.file and problem.file.endswith("grid.yaml") for problem in found.values())


def test_a_problem_reads_file_line_field_message() -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: can't be read"):
        load_sweep("none.yaml")


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("batch_size: 4", "did you mean pytorch.batch_size?"),
        ("temperature: 1", "did you mean decoder.temperature?"),
        ("n_cycles: 2", "did you mean execution.n_cycles?"),
        ("study_name: x", "did you mean name?"),
        ("swep: {n: [1]}", "did you mean sweep?"),
        ("decoder.preset.x: 1", "decoder.preset is a value of its own"),
        ("pytorch: {nonsense: 1}", "known: assistant_model, attn_implementation, batch_size"),
        ("sweep.n: [1]", ""),
    ],
)
def test_unknown_names_are_errors_with_a_hint(problems: Problems, line: str, hint: str) -> None:
    (problem,) = problems(f"model: x\n{line}\n")
    assert problem.line == 2
    assert "no such field" in problem.message
    assert problem.hint
    assert hint in problem.hint


@pytest.mark.parametrize(
    "text",
    [
        "sweep: {decoder: [{preset: creative, tempratur: 1}]}",
        "sweep: {decoder.tempratur: [1]}",
        "sweep: {decoder: {tempratur: [1]}}",
        "zip: {decoder.tempratur: [1]}",
        "experiments: [{decoder.tempratur: 1}]",
        "include: [{decoder: {tempratur: 1}}]",
        "exclude: [{decoder: {tempratur: 1}}]",
        "sweep: {dataset: [{tempratur: 1}]}",
        "lora: {tempratur: 1}",
        "execution: {tempratur: 1}",
    ],
)
def test_unknown_names_are_errors_wherever_a_field_is_named(problems: Problems, text: str) -> None:
    (problem,) = problems(f"model: x\n{text}\n")
    assert problem.line == 2
    assert problem.field
    assert problem.field.endswith("tempratur")


def test_dotted_and_nested_spellings_load_alike(load: Load) -> None:
    nested = load(
        "model: x\ndecoder: {temperature: 0.5, top_k: 3}\nexecution: {n_cycles: 2}\n"
        "sweep: {pytorch: {batch_size: [1, 2]}, warmup: {n_warmup: 3}}\n"
        "experiments: [{baseline: {enabled: false}}]\nexclude: [{dataset: {n: 4}}]\n"
    )
    dotted = load(
        "model: x\ndecoder.temperature: 0.5\ndecoder: {top_k: 3}\nexecution.n_cycles: 2\n"
        "sweep: {pytorch.batch_size: [1, 2], warmup.n_warmup: [3]}\n"
        "experiments: [{baseline.enabled: false}]\nexclude: [{dataset.n: 4}]\n"
    )
    assert nested.model_copy(update={"source": ""}) == dotted.model_copy(update={"source": ""})
    assert nested.shared["decoder"] == {"temperature": 0.5, "top_k": 3}
    assert nested.sweep == {"pytorch.batch_size": (1, 2), "warmup.n_warmup": (3,)}


@pytest.mark.parametrize(
    "text",
    [
        "decoder: {top_k: 1}\ndecoder.top_k: 2",
        "decoder.top_k: 1\ndecoder: {top_k: 2}",
        "dataset: builtin\ndataset.n: 3",
        "sweep:\n  decoder: {top_k: [1]}\n  decoder.top_k: [2]",
    ],
)
def test_one_field_spelled_twice_is_an_error(problems: Problems, text: str) -> None:
    (problem,) = problems(f"model: x\n{text}\n")
    assert "given twice" in problem.message


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("sweep: {}", "sweep"),
        ("sweep:", "sweep"),
        ("zip: {}", "zip"),
        ("experiments: []", "experiments"),
        ("include:", "include"),
        ("sweep: {n: []}", "n"),
        ("zip: {n: []}", "n"),
        ("sweep: {decoder: {}}", "decoder"),
    ],
)
def test_empty_sweeps_are_errors(problems: Problems, text: str, field: str) -> None:
    (problem,) = problems(f"model: x\n{text}\n")
    assert (problem.line, problem.field) == (2, field)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sweep: [1]", "must be a mapping"),
        ("experiments: {n: 1}", "must be a list"),
        ("include: [3]", "must be a mapping"),
        ("exclude: [{}]", "every point"),
        ("execution: 3", "must be a mapping"),
        ("decoder: 3", "should be a mapping"),
        ("name: [a]", "must be text"),
        ("n: .inf", "integer"),
        ("decoder.temperature: .nan", "finite"),
        ("decoder.length: 3", "no such field"),
        ("n: 4\ndataset: {n: 3}", "n is 4 but dataset.n is 3"),
        ("decoder: {temperature: 0, do_sample: true}", "needs a temperature above 0"),
        ("dataset: {name: x, n: 3}", "no such field"),
        ("dataset: 3", "name, a path, or a mapping"),
        ("n: true", "integer"),
        ("random_seed: 18446744073709551616", "less than or equal"),
    ],
)
def test_bad_shared_values_are_errors(problems: Problems, text: str, message: str) -> None:
    (problem,) = problems(f"model: x\n{text}\n")
    assert re.search(message, problem.message)
    assert problem.line in (2, 3)


def test_a_missing_model_is_an_error(problems: Problems) -> None:
    (problem,) = problems("n: 3\n")
    assert problem.field == "model"


@pytest.mark.parametrize(
    "text",
    ["sweep: {model: [x, y]}", "zip: {model: [x, y]}", "experiments: [{model: x}]", "include: [{model: x}]"],
)
def test_a_model_may_be_varied_instead_of_shared(load: Load, text: str) -> None:
    assert "model" not in load(text).shared


def test_a_bad_value_in_a_dimension_is_left_to_the_plan(load: Load) -> None:
    assert load("model: x\nsweep: {precision: [fp16, fp6]}\n").sweep == {"precision": ("fp16", "fp6")}


def test_a_combination_that_a_dimension_settles_is_left_to_the_plan(load: Load) -> None:
    load("model: x\ndecoder.do_sample: true\ndecoder.temperature: 0\nsweep: {decoder.temperature: [0.5]}\n")


def test_a_grid_beyond_the_limit_is_refused_before_it_is_expanded(problems: Problems) -> None:
    values = list(range(2_000))
    (problem,) = problems(
        f"model: x\nsweep:\n  random_seed: {values}\n  n: {values[1:]}\n  max_input_tokens: {values}\n"
    )
    assert problem.line == 2
    assert str(2_000 * 1_999 * 2_000) in problem.message
    assert problem.hint
    assert "100000" in problem.hint


def test_cycles_count_towards_the_limit(problems: Problems, load: Load) -> None:
    text = "model: x\nexecution: {max_experiments: 6, n_cycles: %d}\nsweep: {n: [1, 2, 3]}\n"
    load(text % 2)
    assert "9 experiments" in problems(text % 3)[0].message


def test_name_defaults_to_the_files_and_source_is_the_text_as_given(load: Load) -> None:
    text = "# a comment\nmodel: x\n"
    sweep = load(text)
    assert (sweep.name, sweep.source) == ("grid", text)


def test_names_are_never_refused(load: Load) -> None:
    assert load("model: x\nname: ../../etc\n").name == "../../etc"
    assert load("model: x\nname: 2024\n").name == "2024"


def test_a_yaml_null_energy_backend_is_valid(load: Load) -> None:
    assert load("model: x\nenergy.backend: null\n").shared == {"model": "x", "energy": {"backend": None}}


def test_plugin_sections_are_known_and_their_typos_are_not(
    load: Load, problems: Problems, plugin: str
) -> None:
    assert load("model: x\nother.width: 2\n").shared["other"] == {"width": 2}
    assert load("model: x\nsweep: {other: {width: [1, 2]}}\n").sweep == {"other.width": (1, 2)}
    (typo,) = problems("model: x\nother: {widht: 2}\n")
    assert (typo.field, typo.hint) == ("other.widht", "did you mean other.width?")
    (bad,) = problems("model: x\nother.width: 0\n")
    assert (bad.field, bad.line) == ("other.width", 2)
    assert "greater than or equal to 1" in bad.message


def test_without_the_plugin_its_section_is_unknown(problems: Problems) -> None:
    (problem,) = problems("model: x\nother: {width: 2}\n")
    assert problem.field == "other"


@pytest.mark.parametrize(
    ("text", "field", "substitute"),
    [
        ("version: '2.0'", "version", "nothing"),
        ("runners: {pytorch: docker}", "runners", "workers"),
        ("runners.pytorch: docker", "runners", "workers"),
        ("output_dir: out", "output_dir", "--output"),
        ("execution: {skip_preflight: true}", "execution.skip_preflight", "before the sweep starts"),
        ("execution.skip_preflight: true", "execution.skip_preflight", "before the sweep starts"),
        ("energy: {backend: zeus}", "energy.backend", "auto"),
        ("sweep: {energy.backend: [codecarbon]}", "energy.backend", "auto"),
        ("dataset: aienergyscore", "dataset", "AIEnergyScore/text_generation"),
        ("include: [{dataset: aienergyscore}]", "dataset", "AIEnergyScore/text_generation"),
    ],
)
def test_fields_of_older_files_are_accepted_with_a_warning(
    load: Load, text: str, field: str, substitute: str
) -> None:
    (warning,) = load(f"model: x\n{text}\n").warnings
    assert f"grid.yaml:2: {field}: " in warning
    assert substitute in warning


def test_older_values_are_replaced(load: Load) -> None:
    sweep = load("model: x\nenergy.backend: zeus\nsweep: {dataset: [builtin, aienergyscore]}\n")
    assert sweep.shared["energy"] == {"backend": "auto"}
    assert sweep.sweep["dataset"] == ("builtin", {"name": "AIEnergyScore/text_generation"})


def test_an_older_study_file_loads_whole(load: Load) -> None:
    text = """\
version: "2.0"
model: org/model
backend: pytorch
n: 50
dataset: {n: 50, input_len: 128, output_len: 64}
precision: bf16
decoder: {preset: deterministic}
warmup: {n_warmup: 3, convergence_detection: true, cv_threshold: 5e-2}
baseline: {enabled: true, duration_seconds: 30}
energy: {backend: zeus}
sweep:
  pytorch.batch_size: [1, 8]
  pytorch.attn_implementation: [sdpa, flash_attention_2]
  decoder.temperature: 0.0
experiments:
  - {precision: fp16, pytorch: {batch_size: 4, num_beams: 2}}
execution: {n_cycles: 3, cycle_order: interleaved, experiment_gap_seconds: 5, cycle_gap_seconds: 10}
runners: {pytorch: local}
output_dir: results
"""
    sweep = load(text)
    expected: dict[str, Any] = {
        "pytorch.batch_size": (1, 8),
        "pytorch.attn_implementation": ("sdpa", "flash_attention_2"),
        "decoder.temperature": (0.0,),
    }
    assert sweep.sweep == expected
    assert sweep.shared["warmup"]["cv_threshold"] == 0.05
    assert len(sweep.warnings) == 4


def test_paths_are_taken_as_text_too(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("model: x\n")
    assert load_sweep(str(file)) == load_sweep(file)


def test_a_file_whose_name_is_no_text_loads(tmp_path: Path) -> None:
    file = tmp_path / "gr\udcffid.yaml"
    file.write_text("model: m\nversion: 2\n")
    sweep = load_sweep(file)
    assert sweep.name == "gr?id"
    assert "gr\\udcffid.yaml:2: version" in sweep.warnings[0]
