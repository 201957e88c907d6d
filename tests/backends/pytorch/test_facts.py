from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig

from llem_sweep.backends.pytorch import PyTorchBackend, caches
from llem_sweep.backends.pytorch.caches import cache_layers
from llem_sweep.clock import SimulatedClock
from llem_sweep.plan.types import CacheLayers, ModelFacts
from tiny_models import Load, MakeConfig, MakeFolder


@pytest.fixture
def backend() -> PyTorchBackend:
    return PyTorchBackend(SimulatedClock())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_parameters_and_bytes_are_those_of_the_loaded_model(
    backend: PyTorchBackend, load: Load, small: MakeConfig, precision: str
) -> None:
    model = load(small(precision=precision)).model._open().model
    facts = backend.describe(small(precision=precision))
    assert facts.parameters == model.num_parameters()
    assert facts.weight_bytes == sum(parameter.nbytes for parameter in model.parameters())


def test_cache_bytes_are_those_that_a_token_takes(
    backend: PyTorchBackend, load: Load, small: MakeConfig
) -> None:
    model = load(small()).model._open().model
    with torch.inference_mode():
        cache = model(input_ids=torch.tensor([[1, 5, 6]]), use_cache=True).past_key_values
    taken = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert backend.describe(small()).cache == (CacheLayers(taken // 3),)


@pytest.mark.parametrize("kind", ["mamba", "jamba", "deepseek_v3", "blt", "blenderbot"])
def test_a_cache_of_another_kind_is_unknown(kind: str) -> None:
    assert cache_layers(AutoConfig.for_model(kind), torch.bfloat16) is None


def test_a_cache_that_doesnt_follow_from_the_configuration_is_no_reason_to_refuse_a_model(
    backend: PyTorchBackend, small: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*, config: object) -> None:
        raise AttributeError("no number of layers")

    monkeypatch.setattr(caches, "DynamicCache", refuse)
    facts = backend.describe(small())
    assert (facts.problem, facts.cache, facts.fixed_cache) == (None, None, "its cache is of its own kind")


def test_layers_are_told_apart_by_how_far_they_look_back() -> None:
    """Half of the layers of one, all of another; of a third those that have a cache of their own; of a fourth by
    the sizes of their heads, too."""

    def layers(kind: str, **fields: Any) -> set[tuple[int, int | None]]:
        found = cache_layers(AutoConfig.for_model(kind, **fields), torch.bfloat16)
        assert found is not None
        return {(each.token_bytes, each.window) for each in found}

    of_gemma = 2 * 4 * 256 * 2
    assert layers("gemma2") == {(13 * of_gemma, None), (13 * of_gemma, 4096)}
    assert layers("mistral", sliding_window=16) == {(32 * 2 * 8 * 128 * 2, 16)}
    assert layers("mistral", sliding_window=None) == {(32 * 2 * 8 * 128 * 2, None)}
    of_gemma3n = 2 * 2 * 256 * 2
    assert layers("gemma3n_text") == {(4 * of_gemma3n, None), (16 * of_gemma3n, 512)}
    assert layers("gemma4_text") == {(5 * 2 * 4 * 512 * 2, None), (25 * 2 * 4 * 256 * 2, 512)}


def test_the_size_of_a_quantised_checkpoint_is_unknown(
    backend: PyTorchBackend, small: MakeConfig, saved_folder: Path, variant_of: MakeFolder
) -> None:
    folder = variant_of(saved_folder, config={"quantization_config": {"quant_method": "gptq", "bits": 4}})
    assert backend.describe(small(model=str(folder))).weight_bytes is None
    assert backend.describe(small(model=str(folder), weights="random")).weight_bytes is not None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model_type": "unheard-of"}, "doesn't know the architecture 'unheard-of'"),
        (
            {"model_type": "homemade", "auto_map": {"AutoConfig": "code.Config"}},
            "needs code .* set pytorch.trust_remote_code and give --allow-remote-code",
        ),
        ({"num_attention_heads": "many"}, "makes no causal language model"),
        ({"model_type": "vit"}, "makes no causal language model"),
    ],
)
def test_a_model_that_cant_be_used_says_why(
    backend: PyTorchBackend,
    small: MakeConfig,
    shape_folder: Path,
    variant_of: MakeFolder,
    fields: dict[str, Any],
    said: str,
) -> None:
    folder = variant_of(shape_folder, config=fields)
    problem = backend.describe(small(model=str(folder))).problem
    assert problem is not None
    assert re.search(said, problem)


def test_describing_never_runs_a_models_code(
    backend: PyTorchBackend, small: MakeConfig, shape_folder: Path, variant_of: MakeFolder
) -> None:
    folder = variant_of(shape_folder, config={"auto_map": {"AutoConfig": "code.Config"}})
    (folder / "code.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\n")
    trusting = small(model=str(folder), weights="random", pytorch={"trust_remote_code": True})
    assert backend.describe(trusting) == ModelFacts()
    assert not (folder / "ran").exists()


def test_a_folder_that_isnt_there_is_a_problem(
    backend: PyTorchBackend, small: MakeConfig, tmp_path: Path
) -> None:
    assert "no such folder" in (backend.describe(small(model=str(tmp_path / "none"))).problem or "")
    assert "no config.json" in (backend.describe(small(model=str(tmp_path))).problem or "")


def test_a_folder_without_weights_is_found_before_anything_is_loaded(
    shape_folder: Path, small: MakeConfig
) -> None:
    backend = PyTorchBackend(SimulatedClock())
    bare = backend.describe(small(model=str(shape_folder)))
    assert bare.problem is not None
    assert "weights: random" in bare.problem
    assert backend.describe(small(model=str(shape_folder), weights="random")).problem is None
