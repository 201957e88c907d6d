"""Arguments of generate(), caches and chat templates that the installed transformers and the model don't have."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    GenerationMixin,
    PreTrainedModel,
    QuantizedCache,
    cache_utils,
)
from transformers.cache_utils import DynamicLayer
from transformers.utils.import_utils import is_hqq_available, is_optimum_quanto_available

from llem_sweep.backends.pytorch.caches import growing_layers
from llem_sweep.backends.pytorch.generation import ASSISTANT_SETTINGS, CACHE_CONFIGS, generation_arguments
from llem_sweep.backends.pytorch.loading import SpecialTokens
from llem_sweep.config.experiment import ExperimentConfig

_OWN_FIELDS = {
    "max_new_tokens": "max_output_tokens",
    "max_length": "max_output_tokens",
    "min_new_tokens": "decoder.min_new_tokens",
    "min_length": "decoder.min_new_tokens",
    **{
        name: f"decoder.{name}"
        for name in ("do_sample", "temperature", "top_k", "top_p", "min_p", "repetition_penalty")
    },
    **{
        name: f"pytorch.{name}"
        for name in (
            "num_beams",
            "early_stopping",
            "length_penalty",
            "no_repeat_ngram_size",
            "use_cache",
            "cache_implementation",
            "prompt_lookup_num_tokens",
            "assistant_model",
        )
    },
    "max_cache_len": "pytorch.cache_implementation",
    "compile_config": "pytorch.torch_compile",
    "disable_compile": "pytorch.torch_compile",
}
"""Arguments that a field of the configuration sets."""

_REASONS = {
    name: why
    for why, names in {
        "the model and its tokenizer say it": "pad_token_id bos_token_id eos_token_id",
        "it changes what generate() returns, and with it what is counted": (
            "return_dict_in_generate output_attentions output_hidden_states output_scores output_logits"
            " num_return_sequences"
        ),
        "transformers runs code from the Hub for it": (
            "penalty_alpha dola_layers diversity_penalty num_beam_groups constraints force_words_ids low_memory"
            " custom_generate trust_remote_code token"
        ),
        "it ends answers without a token by which their length could be counted": "stop_strings token_healing",
        "it acts on models with an encoder alone": "decoder_start_token_id",
        "it takes several passes to the first token, whose time couldn't be told": (
            "guidance_scale prefill_chunk_size"
        ),
        "speculative decoding of that kind isn't built": (
            "use_mtp assistant_early_exit speculation_type is_assistant assistant_lookbehind target_lookbehind"
        ),
        "it is deprecated, and generate() doesn't read it": "continuous_batching_config",
        "it is a record, and no argument": "transformers_version",
    }.items()
    for name in names.split()
}
"""Why arguments that transformers knows can't be passed through."""

_LOOKUP_ONLY = ("max_matching_ngram_size",)
_ASSISTED_ONLY = (*ASSISTANT_SETTINGS, "assistant_ensemble_weight")

_QUANTISED_CACHES = {
    "quanto": ("optimum-quanto", is_optimum_quanto_available),
    "hqq": ("hqq", is_hqq_available),
}
"""Libraries behind ``cache_implementation: quantized``, by their name in ``cache_config``."""


def unsupported_generation(config: ExperimentConfig) -> Iterator[str]:
    """What of ``config`` the installed transformers doesn't know, or would ignore, in words."""
    problems = [f"passthrough_kwargs.{name}: {why}" for name, why in _refused(config)]
    yield from problems
    yield from _cache(config)
    yield from _continuous(config)
    if not problems:
        yield from _combination(config)


def _known() -> set[str]:
    """Arguments of the installed transformers."""
    return {name for name in vars(GenerationConfig.from_dict({})) if not name.startswith("_")}


def _refused(config: ExperimentConfig) -> Iterator[tuple[str, str]]:
    known = _known()
    objects = set(inspect.signature(GenerationMixin.generate).parameters) - {"self", "kwargs"}
    for name in config.passthrough_kwargs:
        if name in _OWN_FIELDS:
            yield name, f"set {_OWN_FIELDS[name]} instead"
        elif name in _REASONS:
            yield name, f"can't be passed through: {_REASONS[name]}"
        elif name in objects:
            yield name, "generate() takes an object there, which a file can't give"
        elif name not in known:
            yield name, "the installed transformers has no such argument"
        elif name in _LOOKUP_ONLY and config.pytorch.prompt_lookup_num_tokens is None:
            yield name, "acts with pytorch.prompt_lookup_num_tokens alone"
        elif name in _ASSISTED_ONLY and config.pytorch.assistant_model is None:
            yield name, "acts with pytorch.assistant_model alone"
        elif name == "cache_config" and config.pytorch.cache_dtype is not None:
            yield name, f"set by pytorch.cache_dtype: {config.pytorch.cache_dtype}"
        elif name == "cache_config" and config.pytorch.cache_implementation != "quantized":
            yield name, "acts with pytorch.cache_implementation: quantized alone"


def _continuous(config: ExperimentConfig) -> Iterator[str]:
    """What continuous batching would leave out: it changes scores by temperature, top_k and top_p alone."""
    if config.pytorch.batching != "continuous":
        return
    if not hasattr(GenerationMixin, "init_continuous_batching"):
        yield "pytorch.batching: continuous: the installed transformers has no such batching"
    if config.gpus > 1:
        yield f"pytorch.batching: continuous keeps its cache on one GPU, and gpus is {config.gpus}"
    decoder = config.decoder
    left_out = {
        "decoder.repetition_penalty": decoder.repetition_penalty != 1.0,
        "decoder.min_p": decoder.do_sample and decoder.min_p is not None,
        "decoder.min_new_tokens": decoder.min_new_tokens is not None,
        "passthrough_kwargs": bool(config.passthrough_kwargs),
    }
    for name in (name for name, given in left_out.items() if given):
        yield f"{name}: has no effect with pytorch.batching: continuous"


def _cache(config: ExperimentConfig) -> Iterator[str]:
    if (kind := config.pytorch.cache_dtype) is not None:
        yield from _cache_library(f"cache_dtype: {kind}", CACHE_CONFIGS[kind]["backend"])
    if config.pytorch.cache_implementation != "quantized":
        return
    settings = config.passthrough_kwargs.get("cache_config") or {}
    known = set(inspect.signature(QuantizedCache).parameters) - {"config"}
    if not isinstance(settings, dict) or settings.keys() - known:
        yield f"passthrough_kwargs.cache_config: must be a mapping with keys among {', '.join(sorted(known))}"
        return
    name = settings.get("backend", "quanto")
    if name == "fp8":
        yield "passthrough_kwargs.cache_config: set pytorch.cache_dtype: fp8 instead"
    elif name not in _QUANTISED_CACHES:
        yield f"passthrough_kwargs.cache_config: its backend is one of {', '.join(_QUANTISED_CACHES)}"
    else:
        yield from _cache_library("cache_implementation: quantized", name)


def _cache_library(asked: str, name: str) -> Iterator[str]:
    if name == "fp8":
        if not hasattr(cache_utils, "Fp8QuantizedLayer"):
            yield f"pytorch.{asked}: the installed transformers has no such cache"
        elif not _saturates():
            yield (
                f"pytorch.{asked}: the installed torch {torch.__version__} makes NaN of keys and values beyond"
                " those of the prompts: install a later one"
            )
        return
    library, is_there = _QUANTISED_CACHES[name]
    if not is_there():
        yield f"pytorch.{asked} needs {library}, which isn't installed: pip install {library} on every node"


def fixed_cache(model: PreTrainedModel) -> str | None:
    """Why keys and values of ``model`` (on any device) can't be kept in another type than they are computed in:
    generate() would fail, or take another cache."""
    plain: Callable[[], bool] | None = getattr(model, "_supports_default_dynamic_cache", None)
    if plain is not None and not plain():
        return "its cache is of its own kind"
    layers = growing_layers(model.config.get_text_config(decoder=True))
    if layers is None:
        return "its cache is of its own kind"
    others = sorted({type(layer).__name__ for layer in layers if type(layer) is not DynamicLayer})
    return f"its cache has layers of {', '.join(others)}" if others else None


def _saturates() -> bool:
    """Whether the largest number in fp8 stands for what is larger, as in later versions of torch."""
    return not bool(torch.tensor(1e4).to(torch.float8_e4m3fn).float().isnan())


def _combination(config: ExperimentConfig) -> Iterator[str]:
    """What transformers says of all arguments together; strict, because it else ignores what has no effect."""
    arguments: dict[str, Any] = generation_arguments(config, SpecialTokens((), 0, None))
    if unknown := arguments.keys() - _known():
        yield f"the installed transformers doesn't know {', '.join(sorted(unknown))}"
    try:
        GenerationConfig.from_dict(arguments).validate(strict=True)
    except (ValueError, TypeError, AttributeError) as exc:
        yield f"transformers refuses the arguments of generate(): {' '.join(str(exc).split())}"
