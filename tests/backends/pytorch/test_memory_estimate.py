"""What admission expects of memory against what models take: bytes of tensors, and of tensors alive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, Cache, PreTrainedModel, QuantizedCache

from live_bytes import LiveBytes
from llem_sweep.backends.protocol import BatchTally
from llem_sweep.backends.pytorch import PyTorchBackend
from llem_sweep.backends.pytorch.activations import activations_of
from llem_sweep.backends.pytorch.generation import CACHE_CONFIGS
from llem_sweep.backends.pytorch.loading import DTYPES, from_config
from llem_sweep.backends.pytorch.memory import SeenCache
from llem_sweep.clock import SimulatedClock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.load import load_sweep
from llem_sweep.config.options import CacheType
from llem_sweep.plan.admission import admit
from llem_sweep.plan.expand import plan_sweep
from llem_sweep.plan.memory import MemoryEstimate, memory_estimate
from llem_sweep.plan.types import ClusterShape, NodeShape, Refusal
from tiny_models import SHIPPED, Load, MakeFolder, zeroed

DENSE = ("dense-0.1b", "dense-1b", "dense-8b")
WITHIN = 0.2
SLIDING: dict[str, dict[str, Any]] = {
    "mistral": {"architectures": ["MistralForCausalLM"]},
    "qwen2": {"architectures": ["Qwen2ForCausalLM"], "use_sliding_window": True, "max_window_layers": 1},
    "gemma3_text": {
        "architectures": ["Gemma3ForCausalLM"],
        "layer_types": ["full_attention", "sliding_attention"],
        "head_dim": 8,
        "query_pre_attn_scalar": 8,
    },
}


def point(name: str, rows: int, prompt: int, answer: int, **fields: Any) -> ExperimentConfig:
    known: dict[str, Any] = {
        "model": str(SHIPPED.parent / name),
        "weights": "random",
        "gpus": 0,
        "dataset": {"n": rows, "input_len": prompt, "output_len": answer},
        "pytorch": {"batch_size": rows},
    }
    return ExperimentConfig.model_validate(known | fields)


def estimate(config: ExperimentConfig) -> MemoryEstimate:
    found = memory_estimate(config, PyTorchBackend(SimulatedClock()).describe(config))
    assert found is not None
    return found


def outline(config: ExperimentConfig) -> PreTrainedModel:
    with torch.device("meta"):
        return from_config(
            AutoConfig.from_pretrained(config.model),
            dtype=DTYPES[config.precision],
            attn_implementation=config.pytorch.attn_implementation or "sdpa",
        )


def generate(
    model: PreTrainedModel, rows: int, prompt: int, answer: int, cache: Cache | None = None
) -> tuple[int, int]:
    """Bytes of the cache at the end of a greedy answer, and the most alive at any time, weights left out."""
    ids, seen = torch.zeros(rows, prompt, dtype=torch.long, device=model.device), SeenCache()
    with LiveBytes() as live, torch.inference_mode():
        for _ in range(answer):
            out = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache = out.past_key_values
            ids = out.logits[:, -1].to(copy=True, dtype=torch.float32).argmax(-1, keepdim=True)
            del out
    seen.see(cache)
    assert seen.bytes is not None
    return seen.bytes, live.peak


def weights_of(model: PreTrainedModel) -> int:
    return sum(each.nbytes for each in (*model.parameters(), *model.buffers()))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize(("rows", "prompt", "answer"), [(8, 512, 3), (32, 8, 4), (1, 2048, 2)])
@pytest.mark.parametrize("name", DENSE)
def test_weights_cache_and_all_that_is_alive_are_within_a_fifth_for_the_dense_shapes(
    name: str, rows: int, prompt: int, answer: int, attention: str
) -> None:
    options = {"batch_size": rows, "attn_implementation": attention}
    config = point(name, rows, prompt, answer, pytorch=options)
    expected, model = estimate(config), outline(config)
    cache, peak = generate(model, rows, prompt, answer)
    assert expected.weights == pytest.approx(weights_of(model), rel=WITHIN)
    assert expected.cache == pytest.approx(cache, rel=WITHIN)
    # What is alive besides the weights, on its own: nothing large hides the rest.
    assert expected.cache + expected.activations == pytest.approx(peak, rel=WITHIN)
    assert expected.total == pytest.approx(weights_of(model) + peak, rel=WITHIN)


def check_quantised(config: ExperimentConfig, prompt: int, answer: int, within: float = WITHIN) -> None:
    """Hold what is expected of ``config`` against what its model holds with the cache that it asks for."""
    expected, model = estimate(config), outline(config)
    assert config.pytorch.cache_dtype is not None
    told = CACHE_CONFIGS[config.pytorch.cache_dtype]
    made: Cache = QuantizedCache(config=model.config, **told)
    cache, peak = generate(model, config.pytorch.batch_size, prompt, answer, made)
    assert expected.cache == pytest.approx(cache, rel=within)
    assert expected.cache + expected.activations == pytest.approx(peak, rel=within)


@pytest.mark.parametrize(("rows", "prompt", "answer"), [(8, 512, 3), (32, 8, 4), (1, 2048, 2)])
@pytest.mark.parametrize("name", DENSE)
def test_they_are_with_a_cache_in_fp8(name: str, rows: int, prompt: int, answer: int) -> None:
    options = {"batch_size": rows, "cache_dtype": "fp8"}
    check_quantised(point(name, rows, prompt, answer, pytorch=options), prompt, answer)


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_a_layers_keys_and_values_brought_back_from_fp8_are_counted(precision: str) -> None:
    """Where the answer is long, they are the most that a pass holds."""
    options = {"batch_size": 8, "cache_dtype": "fp8"}
    config = point("tiny-llama", 8, 2, 60, precision=precision, pytorch=options)
    check_quantised(config, 2, 60, within=0.05)
    # 128 numbers in the keys of a layer and token: brought back, and as many values as two floats.
    assert estimate(config).activations >= 8 * 61 * 128 * (2 + 8)


@pytest.mark.extra
@pytest.mark.parametrize("kind", ["int4", "int2"])
def test_they_are_with_a_cache_of_integers_over_the_tokens_that_stay_as_they_are(kind: CacheType) -> None:
    options = {"batch_size": 4, "cache_dtype": kind}
    for answer in (100, 140):
        check_quantised(point("tiny-llama", 4, 16, answer, pytorch=options), 16, answer)


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_they_are_for_the_mixture_of_experts(precision: str) -> None:
    config = point("moe-0.4b", 4, 128, 2, precision=precision)
    expected, model = estimate(config), zeroed(outline(config))
    cache, peak = generate(model, 4, 128, 2)
    assert expected.weights == pytest.approx(weights_of(model), rel=WITHIN)
    assert expected.cache == pytest.approx(cache, rel=WITHIN)
    assert expected.cache + expected.activations == pytest.approx(peak, rel=WITHIN)


def test_they_are_what_an_experiment_measures(load: Load) -> None:
    """The shape of 0.1 B for real, by the memory that its result tells."""
    config = point("dense-0.1b", 4, 24, 6, precision="bf16")
    expected, model = estimate(config), load(config).model
    (held,) = model.memory()
    tally: BatchTally = model.prepare(config).run_batch(0, lambda phase: None)
    assert expected.weights == pytest.approx(held.model_bytes, rel=WITHIN)
    assert expected.cache == tally.cache_bytes


@pytest.mark.parametrize("cache", [None, "static"])
@pytest.mark.parametrize(("prompt", "answer"), [(40, 12), (6, 30), (6, 4)])
@pytest.mark.parametrize("kind", sorted(SLIDING))
def test_caches_with_windows_are_what_an_experiment_measures(
    shape_folder: Path,
    variant_of: MakeFolder,
    load: Load,
    kind: str,
    prompt: int,
    answer: int,
    cache: str | None,
) -> None:
    """Windows of 16 tokens, in all layers or in some, that are reached in the prompt, in the answer or never."""
    folder = variant_of(shape_folder, config={"model_type": kind, "sliding_window": 16} | SLIDING[kind])
    options = {"batch_size": 3, "cache_implementation": cache}
    config = point(str(folder), 3, prompt, answer, precision="fp32", pytorch=options)
    tally: BatchTally = load(config).model.prepare(config).run_batch(0, lambda phase: None)
    assert tally.cache_bytes
    assert estimate(config).cache == pytest.approx(tally.cache_bytes, rel=WITHIN)


@pytest.mark.parametrize(("prompt", "answer"), [(600, 3), (16, 80)])
def test_all_that_is_alive_with_a_window_is_within_a_fifth(
    shape_folder: Path, variant_of: MakeFolder, prompt: int, answer: int
) -> None:
    """After a long prompt every layer still holds all of it, whatever its window."""
    wide = {"hidden_size": 256, "num_attention_heads": 8, "num_key_value_heads": 8, "num_hidden_layers": 12}
    shape = {"model_type": "mistral", "sliding_window": 64, "vocab_size": 300}
    shape |= {"intermediate_size": 256, "max_position_embeddings": 1024}
    folder = variant_of(shape_folder, config=shape | wide)
    config = point(str(folder), 8, prompt, answer, precision="fp32")
    expected, (cache, peak) = estimate(config), generate(outline(config), 8, prompt, answer)
    assert expected.cache == pytest.approx(cache, rel=WITHIN)
    assert expected.cache + expected.activations == pytest.approx(peak, rel=WITHIN)


def test_the_shipped_sweep_over_sizes_leaves_out_what_a_board_of_16_gb_cant_hold() -> None:
    plan = plan_sweep(load_sweep(SHIPPED.parents[1] / "sizes.yaml"))
    backend = PyTorchBackend(SimulatedClock())
    cluster = ClusterShape((NodeShape("here", 1, 8.0, "Tesla T4", 15_800.0),))
    judged = admit(plan, cluster, backend.describe, allow_remote_code=False, backends=["pytorch"])
    assert {SHIPPED.parent / each.experiment.config.model for each in judged.refused} == {
        SHIPPED.parent / "dense-8b"
    }
    assert all(each.refusal is Refusal.TOO_LARGE for each in judged.refused)
    reasons = {each.experiment.config.pytorch.batch_size: each.reason for each in judged.refused}
    # 512 + 127 tokens of 131,072 bytes in each row.
    for rows, cache in ((1, "84"), (8, "670"), (32, "2,680")):
        assert f"(weights 16,061, cache {cache}, activations " in reasons[rows]
        assert "but 1 of the largest boards hold 15,800 MB" in reasons[rows]


@pytest.mark.parametrize("kind", ["mamba", "gpt2"])
def test_activations_of_a_model_that_doesnt_say_its_sizes_are_unknown(kind: str) -> None:
    with torch.device("meta"):
        unusual = from_config(AutoConfig.for_model(kind, num_hidden_layers=1), dtype=torch.float32)
    assert activations_of(unusual, written_out=True) is None


def test_grouped_queries_make_the_cache_as_small_as_it_is() -> None:
    config = point("dense-8b", 2, 100, 29)
    # 32 layers, 8 key-value heads of 128 for 32 of queries, keys and values of 2 bytes.
    assert estimate(config).cache == 2 * 128 * 32 * 8 * 128 * 2 * 2
