from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from llem_sweep.config.load import load_sweep
from llem_sweep.config.nodes import Place
from llem_sweep.config.schema import sweep_json_schema
from llem_sweep.config.yaml_source import parse_yaml
from llem_sweep.plan.expand import plan_sweep

SWEEPS = Path(__file__).parents[2] / "sweeps"
FILES = sorted(SWEEPS.glob("*.yaml"))


def test_the_shipped_sweeps_are_those_described() -> None:
    names = ["board", "models", "multi-gpu", "precision-batch", "quickstart", "sizes"]
    assert [file.stem for file in FILES] == names


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_shipped_sweeps_plan_whole_and_without_warnings(file: Path) -> None:
    plan = plan_sweep(load_sweep(file))
    assert plan.experiments
    assert not plan.skipped
    assert not plan.warnings
    assert plan.merged == 0


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_shipped_sweeps_point_editors_at_a_schema_they_meet(file: Path) -> None:
    text = file.read_text()
    assert text.startswith("# yaml-language-server: $schema=./schema.json\n")
    node = parse_yaml(text, Place(file.name, 1, SWEEPS), [])
    assert node is not None
    jsonschema.validate(node.plain(), sweep_json_schema(), jsonschema.Draft202012Validator)


def test_the_shipped_schema_is_what_the_program_prints() -> None:
    shipped = (SWEEPS / "schema.json").read_text()
    assert shipped == json.dumps(sweep_json_schema(), indent=2) + "\n", (
        "run: llem-sweep schema > sweeps/schema.json"
    )


def test_the_quickstart_has_at_least_four_experiments_of_one_small_local_model() -> None:
    plan = plan_sweep(load_sweep(SWEEPS / "quickstart.yaml"))
    assert len(plan.experiments) >= 4
    assert {experiment.config.backend for experiment in plan.experiments} == {"pytorch"}
    assert list(plan.contents) == [str(SWEEPS / "models" / "tiny-llama")]


def test_the_multi_gpu_sweep_asks_for_two_gpus() -> None:
    plan = plan_sweep(load_sweep(SWEEPS / "multi-gpu.yaml"))
    assert 2 in {experiment.config.gpus for experiment in plan.experiments}


def test_the_sweep_over_sizes_uses_every_shape_of_realistic_size() -> None:
    plan = plan_sweep(load_sweep(SWEEPS / "sizes.yaml"))
    names = {Path(experiment.config.model).name for experiment in plan.experiments}
    assert names == {"dense-0.1b", "dense-1b", "dense-8b", "moe-0.4b"}
    assert {experiment.config.weights for experiment in plan.experiments} == {"random"}
