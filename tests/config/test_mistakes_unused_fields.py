"""A field that is accepted must do something: each is read somewhere."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

import llem_sweep
from llem_sweep.config.datasets import FileDataset, HubDataset, SyntheticDataset
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.lora import LoraConfig
from llem_sweep.config.sweep import ExecutionConfig, SweepConfig

SOURCES = Path(llem_sweep.__file__).parent


def fields(model: type[BaseModel]) -> Iterator[str]:
    """Names of the fields of ``model`` and of its sections."""
    for name, field in model.model_fields.items():
        if isinstance(field.default, BaseModel):
            yield from fields(type(field.default))
        else:
            yield name


@pytest.fixture(scope="module")
def read() -> set[str]:
    """Names of all attributes that the package reads."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES.rglob("*.py")]
    nodes = (node for tree in trees for node in ast.walk(tree))
    return {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}


@pytest.mark.parametrize(
    "model",
    [ExperimentConfig, ExecutionConfig, SweepConfig, SyntheticDataset, HubDataset, FileDataset, LoraConfig],
    ids=lambda m: m.__name__,
)
def test_every_field_that_is_accepted_is_read(model: type[BaseModel], read: set[str]) -> None:
    assert [name for name in fields(model) if name not in read] == []
