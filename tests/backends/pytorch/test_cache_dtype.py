"""Keys and values kept in another type than they are computed in."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch.testing._internal.two_tensor import TwoTensor
from transformers import Cache, QuantizedCache, cache_utils

from llem_sweep.backends.protocol import BatchTally
from llem_sweep.backends.pytorch import PyTorchBackend, support
from llem_sweep.backends.pytorch.memory import SeenCache
from llem_sweep.backends.pytorch.support import unsupported_generation
from llem_sweep.clock import SimulatedClock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.errors import BackendError
from llem_sweep.harness.utilisation import bytes_read
from llem_sweep.plan.flops import Passes
from tiny_models import Load, MakeConfig, MakeFolder, Watched, caches_of

PER_TOKEN = 2 * 2 * 2 * 8
"""Numbers in the cache: two layers, keys and values, two heads of size 8."""
SCALES = 2 * 2 * 4
"""Bytes of them: of each layer one for the keys and one for the values."""
RAGGED = {"n": 6, "max_output_tokens": 12}


def tallies(watched: Watched, config: ExperimentConfig) -> list[BatchTally]:
    workload = watched.model.prepare(config)
    return [workload.run_batch(index, lambda phase: None) for index in range(workload.batches)]


def quantised(cache: Cache) -> list[torch.Tensor]:
    return [
        tensor
        for layer in cast(Any, cache).layers
        for tensor, _ in (layer._quantized_keys, layer._quantized_values)
    ]


@pytest.mark.parametrize(("precision", "part"), [("fp32", 4), ("bf16", 2)])
def test_the_cache_is_in_fp8_and_takes_that_part_of_the_bytes(
    load: Load, small: MakeConfig, precision: str, part: int
) -> None:
    fields: dict[str, Any] = {
        "n": 3,
        "precision": precision,
        "decoder": {"temperature": 0, "min_new_tokens": 8},
    }
    plain = small(**fields, pytorch={"batch_size": 3})
    fp8 = small(**fields, pytorch={"batch_size": 3, "cache_dtype": "fp8"})
    watched = load(plain)
    (whole,) = tallies(watched, plain)
    with caches_of(watched) as caches:
        (tally,) = tallies(watched, fp8)
    assert all(isinstance(cache, QuantizedCache) for cache in caches)
    kept = quantised(caches[-1])
    assert len(kept) == 4
    assert {tensor.dtype for tensor in kept} == {torch.float8_e4m3fn}
    width = watched.calls[-1].input_ids.shape[1]
    # The last token is never fed.
    assert tally.cache_bytes == 3 * (width + 7) * PER_TOKEN + SCALES
    assert whole.cache_bytes == part * (tally.cache_bytes - SCALES)
    told = watched.calls[-1].told
    assert (told.cache_implementation, told.cache_config) == ("quantized", {"backend": "fp8"})
    assert watched.model.effective(fp8)["generate"]["cache_config"] == {"backend": "fp8"}


def test_keys_are_those_of_the_model_rounded(load: Load, small: MakeConfig) -> None:
    """The scale covers the whole prompt: neither do values overflow, nor are they lost in it."""
    plain, fp8 = (
        small(n=1, max_output_tokens=2),
        small(n=1, max_output_tokens=2, pytorch={"cache_dtype": "fp8"}),
    )
    watched = load(plain)
    with caches_of(watched) as exact:
        watched.run(plain)
    with caches_of(watched) as rounded:
        watched.run(fp8)
    keys, scale = cast(Any, rounded[-1]).layers[0]._quantized_keys
    wanted = cast(Any, exact[-1]).layers[0].keys
    error = (keys.float() * scale - wanted).std() / wanted.std()
    assert 0.001 < error < 0.1


def test_keys_beyond_those_of_the_prompts_are_cut_off_and_nothing_else() -> None:
    assert support._saturates()
    layer = cast(Any, cache_utils).Fp8QuantizedLayer()
    layer.update(torch.ones(1, 1, 2, 4), torch.ones(1, 1, 2, 4))
    keys, values = layer.update(torch.full((1, 1, 1, 4), 9.0), torch.full((1, 1, 1, 4), -9.0))
    assert keys.flatten(0, 2).mean(1).tolist() == pytest.approx([1, 1, 1], rel=1e-3)
    assert values.flatten(0, 2).mean(1).tolist() == pytest.approx([1, 1, -1], rel=1e-3)


@pytest.mark.parametrize("beams", [1, 3])
def test_tokens_and_passes_are_counted_as_with_any_cache(
    load: Load, small: MakeConfig, saved_folder: Path, variant_of: MakeFolder, beams: int
) -> None:
    """Ragged prompts, and answers that end early: each up to its first end of sequence."""
    options = {"batch_size": 3, "num_beams": beams, "cache_dtype": "fp8"}
    first = load(small(**RAGGED)).run(small(**RAGGED, pytorch=options))
    eos = first[0].answers[0][4]
    folder = str(variant_of(saved_folder, generation_config={"eos_token_id": eos}))
    config = small(model=folder, **RAGGED, pytorch=options)
    watched = load(config)
    with caches_of(watched) as passes:
        found = tallies(watched, config)
    answers = [answer for call in watched.calls for answer in call.answers]
    lengths = [answer.index(eos) + 1 if eos in answer else len(answer) for answer in answers]
    assert len(set(lengths)) > 1
    assert [length.output for tally in found for length in tally.lengths] == lengths
    assert sum(tally.output_tokens for tally in found) == sum(lengths)
    if beams == 1:
        made = [cast(Passes, tally.passes).steps + 1 for tally in found]
        assert sum(made) == len(passes)
    else:
        assert {tally.passes for tally in found} == {None}


def test_steps_are_read_at_a_byte_for_each_number(load: Load, small: MakeConfig) -> None:
    plain, fp8 = small(n=2), small(n=2, pytorch={"cache_dtype": "fp8"})
    watched = load(plain)
    found = {}
    for config in (plain, fp8, plain):
        ran = tallies(watched, config)
        operands = watched.model.operands
        read = bytes_read(watched.model.architecture, operands, ran)
        assert read is not None
        assert operands.weight_bytes is not None
        passes = sum(cast(Passes, tally.passes).steps + 1 for tally in ran)
        found[config.pytorch.cache_dtype, operands.cache_value_bytes] = read - passes * operands.weight_bytes
    assert found[None, 4.0] == 4 * found["fp8", 1.0] > 0
    assert len(found) == 2


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"use_cache": False}, "cache_dtype: fp8 without a cache: remove use_cache: false"),
        ({"cache_implementation": "static"}, "leave cache_implementation: static out"),
        ({"cache_implementation": "offloaded"}, "leave cache_implementation: offloaded out"),
        ({"cache_implementation": "quantized"}, "leave cache_implementation: quantized out"),
        ({"torch_compile": True}, "torch_compile takes a static cache"),
        ({"batching": "continuous"}, "batching: continuous needs no cache_dtype"),
        ({"prompt_lookup_num_tokens": 2}, "prompt_lookup_num_tokens needs a cache that can be shortened"),
        ({"assistant_model": "m"}, "assistant_model needs a cache that can be shortened"),
    ],
)
def test_what_the_cache_cant_be_combined_with_is_refused(
    small: MakeConfig, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        small(pytorch={"cache_dtype": "fp8", **options})


def test_what_the_installation_lacks_for_it_is_refused(
    small: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def problems(kind: str, **fields: Any) -> list[str]:
        return list(unsupported_generation(small(pytorch={"cache_dtype": kind}, **fields)))

    assert problems("fp8") == []
    told = {"cache_config": {"backend": "hqq"}}
    assert problems("fp8", passthrough_kwargs=told) == [
        "passthrough_kwargs.cache_config: set by pytorch.cache_dtype: fp8"
    ]
    monkeypatch.setattr(support, "_QUANTISED_CACHES", {"quanto": ("optimum-quanto", lambda: False)})
    (lacking,) = problems("int4")
    assert lacking.startswith("pytorch.cache_dtype: int4 needs optimum-quanto, which isn't installed: pip")
    monkeypatch.setattr(support, "_saturates", lambda: False)
    (problem,) = problems("fp8")
    assert "makes NaN of keys and values beyond those of the prompts" in problem
    monkeypatch.delattr(cache_utils, "Fp8QuantizedLayer")
    assert problems("fp8") == ["pytorch.cache_dtype: fp8: the installed transformers has no such cache"]


def test_a_cache_in_fp8_has_one_spelling(small: MakeConfig) -> None:
    config = small(
        pytorch={"cache_implementation": "quantized"},
        passthrough_kwargs={"cache_config": {"backend": "fp8"}},
    )
    assert [*unsupported_generation(config)] == [
        "passthrough_kwargs.cache_config: set pytorch.cache_dtype: fp8 instead"
    ]


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        (
            {"model_type": "mistral", "sliding_window": 64},
            "its cache has layers of DynamicSlidingWindowLayer",
        ),
        ({"model_type": "mistral", "sliding_window": None}, None),
        ({"model_type": "mamba"}, "its cache has layers of LinearAttentionLayer"),
        ({"model_type": "rwkv"}, "its cache is of its own kind"),
        ({}, None),
    ],
)
def test_models_whose_cache_cant_be_quantised_are_known_before_they_are_loaded(
    load: Load,
    small: MakeConfig,
    variant_of: MakeFolder,
    saved_folder: Path,
    shape: dict[str, Any],
    reason: str | None,
) -> None:
    folder = variant_of(saved_folder)
    kept = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(kept | shape))
    plain = small(model=str(folder), weights="random")
    facts = PyTorchBackend(SimulatedClock()).describe(plain)
    assert (facts.problem, facts.fixed_cache) == (None, reason)
    # A worker is told again, as generate() may take another cache without a word.
    model = load(plain).model
    model.prepare(plain)
    config = small(model=str(folder), weights="random", pytorch={"cache_dtype": "fp8"})
    if reason is None:
        model.prepare(config)
        return
    with pytest.raises(BackendError, match=reason):
        model.prepare(config)


@pytest.mark.extra
@pytest.mark.parametrize(("kind", "bits"), [("int4", 4), ("int2", 2)])
def test_a_cache_of_integers_is_packed_but_for_the_latest_tokens(
    load: Load, small: MakeConfig, kind: str, bits: int
) -> None:
    fields: dict[str, Any] = {
        "n": 2,
        "max_output_tokens": 6,
        "decoder": {"temperature": 0, "min_new_tokens": 6},
    }
    config = small(**fields, pytorch={"batch_size": 2, "cache_dtype": kind})
    watched = load(config)
    (tally,) = tallies(watched, config)
    width = watched.calls[-1].input_ids.shape[1]
    packed = 2 * width * PER_TOKEN
    # A scale and an offset in fp32 for 64 numbers each; five tokens since then as they are.
    assert tally.cache_bytes == packed * bits // 8 + packed // 64 * 2 * 4 + 2 * 5 * PER_TOKEN * 4
    assert tally.output_tokens == 12
    assert watched.model.operands.cache_value_bytes is None
    assert "cache of integers" in (watched.model.operands.reason or "")


def test_a_tensor_that_stands_for_others_takes_their_bytes() -> None:
    standing: torch.Tensor = TwoTensor(torch.zeros(7), torch.zeros(7))  # type: ignore[no-untyped-call]
    seen = SeenCache()
    seen.see(SimpleNamespace(layers=[SimpleNamespace(keys=standing, values=(torch.zeros(2), None))]))
    assert seen.bytes == (7 + 7 + 2) * 4
