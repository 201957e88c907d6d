"""What the installed transformers doesn't know, or would ignore, is refused before anything is loaded."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import GenerationConfig

from llem_sweep.backends.pytorch import support
from llem_sweep.backends.pytorch.generation import generation_arguments
from llem_sweep.backends.pytorch.loading import SpecialTokens
from llem_sweep.backends.pytorch.support import unsupported_generation
from llem_sweep.backends.registry import create_backend
from llem_sweep.clock import SimulatedClock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.errors import BackendError
from llem_sweep.harness.facts import ModelCatalogue
from tiny_models import Load, MakeConfig


def problems(**fields: Any) -> list[str]:
    return list(unsupported_generation(ExperimentConfig.model_validate({"model": "m"} | fields)))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_such_thing", "the installed transformers has no such argument"),
        ("max_new_tokens", "set max_output_tokens instead"),
        ("temperature", "set decoder.temperature instead"),
        ("num_beams", "set pytorch.num_beams instead"),
        ("cache_implementation", "set pytorch.cache_implementation instead"),
        ("eos_token_id", "the model and its tokenizer say it"),
        ("num_return_sequences", "changes what generate() returns"),
        ("penalty_alpha", "runs code from the Hub"),
        ("custom_generate", "runs code from the Hub"),
        ("trust_remote_code", "runs code from the Hub"),
        ("token", "runs code from the Hub"),
        ("stop_strings", "ends answers without a token"),
        ("guidance_scale", "several passes to the first token"),
        ("logits_processor", "generate() takes an object there"),
        ("generation_config", "generate() takes an object there"),
        ("max_matching_ngram_size", "acts with pytorch.prompt_lookup_num_tokens alone"),
        ("num_assistant_tokens", "acts with pytorch.assistant_model alone"),
        ("assistant_ensemble_weight", "acts with pytorch.assistant_model alone"),
        ("assistant_lookbehind", "speculative decoding of that kind isn't built"),
        ("assistant_model", "set pytorch.assistant_model instead"),
        ("cache_config", "acts with pytorch.cache_implementation: quantized alone"),
    ],
)
def test_an_argument_that_cant_be_passed_through_is_refused(name: str, words: str) -> None:
    (problem,) = problems(passthrough_kwargs={name: 1})
    assert problem.startswith(f"passthrough_kwargs.{name}: ")
    assert words in problem


def test_every_argument_that_generate_is_told_by_a_field_is_refused() -> None:
    """No argument that the configuration itself passes can be overwritten."""
    everything = {
        "decoder": {"temperature": 0.5, "do_sample": True, "min_p": 0.1, "min_new_tokens": 1},
        "pytorch": {"num_beams": 2, "early_stopping": True, "cache_implementation": "static"},
    }
    config = ExperimentConfig.model_validate({"model": "m"} | everything)
    looked_up = ExperimentConfig.model_validate({"model": "m", "pytorch": {"prompt_lookup_num_tokens": 2}})
    special = SpecialTokens((2,), 0, 1)
    told = generation_arguments(config, special) | generation_arguments(looked_up, special)
    assert len(problems(passthrough_kwargs=dict.fromkeys(told, 1))) == len(told)


def test_every_argument_of_the_installed_transformers_has_been_judged() -> None:
    """A new version's arguments are looked at here before they can be passed through."""
    passed = {
        "max_time",
        "top_h",
        "typical_p",
        "epsilon_cutoff",
        "eta_cutoff",
        "encoder_repetition_penalty",
        "encoder_no_repeat_ngram_size",
        "bad_words_ids",
        "renormalize_logits",
        "forced_bos_token_id",
        "forced_eos_token_id",
        "remove_invalid_values",
        "exponential_decay_length_penalty",
        "suppress_tokens",
        "begin_suppress_tokens",
        "sequence_bias",
        "watermarking_config",
    }
    known = [name for name in vars(GenerationConfig.from_dict({})) if not name.startswith("_")]
    refused = {
        text.split(":")[0].partition(".")[2] for text in problems(passthrough_kwargs=dict.fromkeys(known))
    }
    assert set(known) - refused == passed


def test_an_argument_without_effect_is_refused() -> None:
    (problem,) = problems(decoder={"do_sample": False}, passthrough_kwargs={"typical_p": 0.9})
    assert "typical_p" in problem
    assert problems(passthrough_kwargs={"typical_p": 0.9}) == []


def test_a_value_that_transformers_refuses_is_refused() -> None:
    (problem,) = problems(passthrough_kwargs={"watermarking_config": {"no_such": 1}})
    assert "transformers refuses the arguments of generate()" in problem


def test_a_quantised_cache_needs_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def there(*names: str) -> None:
        libraries = {"quanto": "optimum-quanto", "hqq": "hqq"}
        known = {name: (library, lambda name=name: name in names) for name, library in libraries.items()}
        monkeypatch.setattr(support, "_QUANTISED_CACHES", known)

    quantised = {"pytorch": {"cache_implementation": "quantized"}}
    hqq = {"passthrough_kwargs": {"cache_config": {"backend": "hqq", "nbits": 4}}}
    there()
    assert problems(**quantised) == [
        "pytorch.cache_implementation: quantized needs optimum-quanto, which isn't installed: pip install"
        " optimum-quanto on every node"
    ]
    assert "needs hqq" in problems(**quantised, **hqq)[0]
    there("hqq")
    assert problems(**quantised, **hqq) == []
    assert "optimum-quanto" in problems(**quantised)[0]
    other = {"passthrough_kwargs": {"cache_config": {"backend": "other"}}}
    assert "its backend is one of quanto, hqq" in problems(**quantised, **other)[0]
    wrong = {"passthrough_kwargs": {"cache_config": {"bits": 4}}}
    assert "keys among axis_key, axis_value, backend, nbits" in problems(**quantised, **wrong)[0]


def test_a_cache_that_the_installed_transformers_does_not_know_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for cache in ("static", "offloaded", "offloaded_static"):
        assert problems(pytorch={"cache_implementation": cache}) == []
    known = ("static", "dynamic")
    monkeypatch.setattr("transformers.generation.configuration_utils.ALL_CACHE_IMPLEMENTATIONS", known)
    (problem,) = problems(pytorch={"cache_implementation": "offloaded_static"})
    assert "Invalid `cache_implementation` (offloaded_static)" in problem


def test_an_argument_that_the_installed_transformers_does_not_know_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the configuration makes of its fields: transformers itself would take any name, and ignore it."""
    assert problems(pytorch={"prompt_lookup_num_tokens": 3}) == []
    known = support._known() - {"prompt_lookup_num_tokens"}
    monkeypatch.setattr(support, "_known", lambda: known)
    found = problems(pytorch={"prompt_lookup_num_tokens": 3})
    assert found == ["the installed transformers doesn't know prompt_lookup_num_tokens"]


@pytest.mark.parametrize("backend", ["pytorch", "synthetic"])
def test_what_the_installation_cant_do_is_known_before_the_model_is_looked_at(backend: str) -> None:
    catalogue = ModelCatalogue(SimulatedClock(), "here")
    fields = {"model": "/no/such/model", "backend": backend, "passthrough_kwargs": {"no_such_thing": 1}}
    facts = catalogue.facts(ExperimentConfig.model_validate(fields))
    assert facts.problem is not None
    assert "no_such_thing" in facts.problem


def test_a_worker_refuses_it_as_well(load: Load, small: MakeConfig) -> None:
    model = load(small()).model
    with pytest.raises(BackendError, match="no_such_thing"):
        model.prepare(small(passthrough_kwargs={"no_such_thing": 1}))


def test_nothing_is_passed_to_a_backend_that_takes_nothing() -> None:
    config = ExperimentConfig.model_validate({"model": "m", "passthrough_kwargs": {"typical_p": 0.9}})
    backend = create_backend("synthetic", SimulatedClock())
    assert (
        backend.unsupported(config)
        == "passthrough_kwargs: the synthetic backend passes nothing on: typical_p"
    )
