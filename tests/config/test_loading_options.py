"""Options of loading, as sweep files give them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from llem_sweep.config.contents import digest
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.identity import canonical_config, config_hash, dump_config
from llem_sweep.config.sweep import SweepConfig
from llem_sweep.errors import ConfigError, Problem
from llem_sweep.plan.expand import plan_sweep

Load = Callable[..., SweepConfig]
Problems = Callable[..., list[Problem]]


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "adapters" / "one"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    return folder


@pytest.mark.parametrize(
    "options",
    [
        "load_in_4bit: true, bnb_4bit_quant_type: nf4, bnb_4bit_compute_dtype: bfloat16",
        "load_in_4bit: true, bnb_4bit_use_double_quant: true",
        "num_beams: 4, early_stopping: true, length_penalty: 2.0",
    ],
)
def test_options_that_act_beside_others_are_looked_at_with_these(load: Load, options: str) -> None:
    (planned,) = plan_sweep(load(f"model: acme/m\npytorch: {{{options}}}\n")).experiments
    assert all(getattr(planned.config.pytorch, each.split(":")[0].strip()) for each in options.split(","))


def test_a_contradiction_is_a_problem_at_its_line(problems: Problems) -> None:
    (problem,) = problems("model: acme/m\npytorch: {bnb_4bit_quant_type: nf4}\n")
    assert problem.line == 2
    assert "set load_in_4bit" in problem.message


@pytest.mark.parametrize("spelling", ["adapters/one", "./adapters/one", "./adapters/../adapters/one/"])
@pytest.mark.parametrize("form", ["lora: {adapter_path: %s}", "sweep: {lora.adapter_path: [%s]}"])
def test_a_local_adapter_is_relative_to_its_file_and_goes_by_its_content(
    load: Load, adapter: Path, spelling: str, form: str
) -> None:
    sweep = load(f"model: acme/m\n{form % spelling}\n")
    assert sweep.contents == {str(adapter): digest(adapter)}
    (planned,) = plan_sweep(sweep).experiments
    assert planned.config.lora is not None
    assert planned.config.lora.adapter_path == str(adapter)
    known = json.loads(canonical_config(planned.config, sweep.contents))["lora"]
    assert known == {"adapter_path": {"content": digest(adapter)}}


def test_equal_adapters_are_one_experiment_and_different_ones_are_two(load: Load, adapter: Path) -> None:
    copy = adapter.parent / "two"
    shutil.copytree(adapter, copy)
    text = "model: acme/m\nsweep: {lora.adapter_path: [adapters/one, adapters/two]}\n"
    assert len(plan_sweep(load(text)).experiments) == 1
    (copy / "adapter_config.json").write_text('{"r": 1}')
    assert len(plan_sweep(load(text)).experiments) == 2
    with pytest.raises(ConfigError, match="isn't known"):
        canonical_config(ExperimentConfig.model_validate({"model": "m", "lora": {"adapter_path": "./x"}}), {})


@pytest.mark.parametrize(
    ("lora", "said"),
    [
        ("{}", "give either adapter_id"),
        ("{merge_weights: true}", "give either adapter_id"),
        ("{adapter_id: acme/a, adapter_path: adapters/one}", "give either adapter_id"),
        ("{adapter_id: ./adapters/one}", "give a folder as adapter_path"),
        ("{adapter_path: adapters/one, revision: v1}", "revision chooses among those on the Hub"),
        ("{revision: 7, adapter_id: acme/a}", "valid string"),
        ("{adapter_path: adapters/none}", "there is no folder"),
        ("{adapter_path: adapters/one/adapter_config.json}", "isn't a folder"),
    ],
)
@pytest.mark.usefixtures("adapter")
def test_a_lora_section_names_one_adapter(problems: Problems, lora: str, said: str) -> None:
    found = problems(f"model: acme/m\nlora: {lora}\n")
    assert any(said in problem.message and problem.line == 2 for problem in found)


def test_an_adapter_of_the_hub_goes_by_its_name(load: Load) -> None:
    sweep = load("model: acme/m\nlora: {adapter_id: acme/a, merge_weights: true}\n")
    (planned,) = plan_sweep(sweep).experiments
    assert sweep.contents == {}
    assert dump_config(planned.config)["lora"] == {"adapter_id": "acme/a", "merge_weights": True}
    assert ExperimentConfig.model_validate(dump_config(planned.config)) == planned.config


def test_a_revision_of_an_adapter_is_another_experiment_and_can_be_swept(load: Load) -> None:
    text = "model: acme/m\nlora: {adapter_id: acme/a}\nsweep: {lora.revision: [v1, v2]}\n"
    one, other = plan_sweep(load(text)).experiments
    plain = ExperimentConfig.model_validate({"model": "acme/m", "lora": {"adapter_id": "acme/a"}})
    assert len({one.config_hash, other.config_hash, config_hash(plain, {})}) == 3


def test_adapters_arent_divided_over_processes(problems: Problems) -> None:
    options = "pytorch: {num_processes: 2, parallelism: tensor}"
    (problem,) = problems(f"model: acme/m\n{options}\nlora: {{adapter_id: acme/a}}\n")
    assert "can't be divided over processes" in problem.message
