"""Mistakes of earlier tools in running a model: other prompts than the dataset's, devices not waited for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoTokenizer

from llem_sweep.backends.datasets import load_prompts
from llem_sweep.backends.pytorch import PyTorchBackend
from llem_sweep.backends.pytorch.loading import from_config
from llem_sweep.clock import SimulatedClock
from tiny_models import Load, MakeConfig, MakeFolder


def test_what_is_computed_on_is_the_datasets_own_prompts(
    load: Load, small: MakeConfig, saved_folder: Path, tmp_path: Path
) -> None:
    prompts = [f"prompt number {number}, unlike the others" for number in range(7)]
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
    config = small(dataset=str(file), n=7, pytorch={"batch_size": 3})
    tokenizer = AutoTokenizer.from_pretrained(str(saved_folder))
    computed_on = [
        tokenizer.decode(row[mask.bool()], skip_special_tokens=True)
        for call in load(config).run(config)
        for row, mask in zip(call.input_ids, call.attention_mask, strict=True)
    ]
    assert computed_on == prompts


def test_the_built_in_prompts_are_computed_on_too(load: Load, small: MakeConfig) -> None:
    config = small(n=6, max_input_tokens=40)
    rows = [call.input_ids[0].tolist() for call in load(config).run(config)]
    assert len({tuple(row) for row in rows}) == len(set(load_prompts(config))) == 6


def test_every_device_in_use_is_waited_for(
    load: Load, small: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(small()).model
    devices = [torch.device("cuda", index) for index in range(3)]
    waited: list[object] = []
    monkeypatch.setattr(model, "_devices", devices)
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    model.synchronize()
    assert waited == devices


def test_every_expert_of_a_mixture_is_counted(
    small: MakeConfig, shape_folder: Path, variant_of: MakeFolder
) -> None:
    shape = {"model_type": "mixtral", "architectures": ["MixtralForCausalLM"], "num_experts_per_tok": 2}
    counts = {}
    for experts in (4, 8):
        folder = variant_of(shape_folder, config=shape | {"num_local_experts": experts})
        facts = PyTorchBackend(SimulatedClock()).describe(small(model=str(folder)))
        assert facts.parameters == from_config(AutoConfig.from_pretrained(str(folder))).num_parameters()
        assert facts.parameters is not None
        counts[experts] = facts.parameters
    # An expert's three matrices and its row of the router, in each of two layers.
    assert counts[8] - counts[4] == 4 * 2 * (3 * 32 * 64 + 32)
