from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from llem_sweep.config.nodes import Place
from llem_sweep.config.schema import sweep_json_schema
from llem_sweep.config.sweep import SweepConfig
from llem_sweep.config.yaml_source import parse_yaml
from llem_sweep.errors import ConfigError

Load = Callable[..., SweepConfig]


def read(text: str) -> Any:
    node = parse_yaml(text, Place("grid.yaml", 1, Path()), [])
    assert node is not None
    return node.plain()


def accepts(text: str) -> bool:
    return jsonschema.Draft202012Validator(sweep_json_schema()).is_valid(read(text))


def test_the_schema_is_a_valid_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(sweep_json_schema())


VALID = [
    "model: x",
    "sweep: {model: [x, y], pytorch.batch_size: [1, 2]}",
    "model: x\nsweep: {pytorch: {batch_size: [1, 2]}, precision: fp16}",
    "model: x\nsweep: {decoder: [{preset: creative}, {temperature: 0}]}",
    "model: x\nzip: {n: [1, 2], gpus: [1, 2]}",
    "model: x\nexclude: [{precision: [fp16, fp32], pytorch.batch_size: 1}]",
    "model: x\ninclude: [{decoder.top_k: 3}]\nexperiments: [{dataset: {n: 2}}]",
    "model: x\nenergy.backend: null\nenergy: {}",
    "model: x\ndataset: {input_len: 3}",
    "model: x\nsweep: {dataset.input_len: [3, 4], dataset: {output_len: [5]}}",
    "model: x\nexecution.n_cycles: 3\nexecution: {cycle_order: shuffled}",
    "model: x\nversion: '2'\nrunners: {}\noutput_dir: x\nexecution.skip_preflight: true",
    "base: other.yaml\nname: a\nmodel: x",
]
INVALID = [
    "precison: fp16",
    "pytorch.batchsize: 2",
    "pytorch: {batchsize: 2}",
    "sweep: {pytorch.batchsize: [2]}",
    "sweep: {pytorch: {batchsize: [2]}}",
    "sweep: {decoder: [{presett: creative}]}",
    "sweep: {n: []}",
    "sweep: {}",
    "experiments: []",
    "include: [{batch_size: 3}]",
    "exclude: [{}]",
    "execution: {n_cycle: 2}",
    "execution.n_cycles: 0",
    "n: 0",
    "decoder: {temperature: 3}",
    "precision: fp6",
]


@pytest.mark.parametrize("text", VALID)
def test_the_schema_accepts_what_loads(load: Load, text: str, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("n: 3\n")
    load(text)
    assert accepts(text)


@pytest.mark.parametrize("text", INVALID)
def test_the_schema_refuses_what_does_not_load(load: Load, text: str) -> None:
    with pytest.raises(ConfigError):
        load(f"model: x\n{text}\n")
    assert not accepts(f"model: x\n{text}\n")


def test_fields_are_described() -> None:
    schema = sweep_json_schema()
    fields = schema["$defs"]["Point"]["properties"]
    assert "Requests of the workload" in fields["n"]["description"]
    assert set(schema["properties"]) > set(fields)
    assert "required" not in schema


def test_plugin_sections_are_in_the_schema(plugin: str) -> None:
    assert accepts(f"model: x\n{plugin}.width: 2\nsweep: {{{plugin}: {{width: [1]}}}}")
    assert not accepts(f"model: x\n{plugin}: {{widht: 2}}")
