from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from llem_sweep.backends.pytorch.generation import batch_seed, output_lengths
from tiny_models import Load, MakeConfig, MakeFolder

SAMPLING = {"do_sample": True, "temperature": 0.7}


@pytest.mark.parametrize(
    ("fields", "argument", "value"),
    [
        ({"max_output_tokens": 5}, "max_new_tokens", 5),
        ({"decoder": {"temperature": 0.0}}, "do_sample", False),
        ({"decoder": {"do_sample": False}}, "do_sample", False),
        ({"decoder": SAMPLING}, "do_sample", True),
        ({"decoder": SAMPLING}, "temperature", 0.7),
        ({"decoder": SAMPLING | {"top_k": 0}}, "top_k", 0),
        ({"decoder": SAMPLING | {"top_k": 9}}, "top_k", 9),
        ({"decoder": SAMPLING | {"top_p": 0.4}}, "top_p", 0.4),
        ({"decoder": SAMPLING | {"min_p": 0.1}}, "min_p", 0.1),
        ({"decoder": {"preset": "creative"}}, "top_p", 0.9),
        ({"decoder": {"preset": "creative"}}, "repetition_penalty", 1.1),
        ({"decoder": {"temperature": 0.0, "min_new_tokens": 3}}, "min_new_tokens", 3),
        ({"pytorch": {"num_beams": 3}}, "num_beams", 3),
        ({"pytorch": {"num_beams": 3, "early_stopping": True}}, "early_stopping", True),
        ({"pytorch": {"num_beams": 3, "length_penalty": 0.5}}, "length_penalty", 0.5),
        ({"pytorch": {"no_repeat_ngram_size": 2}}, "no_repeat_ngram_size", 2),
        ({"pytorch": {"use_cache": False}}, "use_cache", False),
        ({"pytorch": {"cache_implementation": "static"}}, "cache_implementation", "static"),
        ({"pytorch": {"cache_implementation": "static"}}, "disable_compile", True),
        ({"pytorch": {"cache_dtype": "fp8"}}, "cache_implementation", "quantized"),
        ({"pytorch": {"cache_dtype": "fp8"}}, "cache_config", {"backend": "fp8"}),
        ({"pytorch": {"prompt_lookup_num_tokens": 4}}, "prompt_lookup_num_tokens", 4),
        ({"passthrough_kwargs": {"begin_suppress_tokens": [5]}}, "begin_suppress_tokens", [5]),
        ({"decoder": SAMPLING, "passthrough_kwargs": {"typical_p": 0.9}}, "typical_p", 0.9),
        ({"dataset": {"n": 1, "input_len": 4, "output_len": 6}}, "min_new_tokens", 6),
        ({"dataset": {"n": 1, "input_len": 4, "output_len": 6}}, "max_new_tokens", 6),
    ],
)
def test_an_option_reaches_generate(
    load: Load, small: MakeConfig, fields: dict[str, Any], argument: str, value: object
) -> None:
    config = small(**({"n": 1} | fields))
    watched = load(config)
    assert getattr(watched.run(config)[0].told, argument) == value
    assert watched.model.effective(config)["generate"][argument] == value


def test_sampling_off_passes_no_sampling_argument(load: Load, small: MakeConfig) -> None:
    decoder = {"do_sample": False, "temperature": 0.6, "top_p": 0.5, "top_k": 3, "min_p": 0.1}
    told = load(small()).run(small(n=1, decoder=decoder))[0].told
    assert (told.temperature, told.top_p, told.top_k, told.min_p) == (None,) * 4


def test_one_beam_passes_no_beam_argument(load: Load, small: MakeConfig) -> None:
    told = load(small()).run(small(n=1))[0].told
    assert (told.early_stopping, told.length_penalty) == (None, None)


@pytest.mark.parametrize("fields", [{"use_cache": False}, {"no_repeat_ngram_size": 1}])
def test_options_change_what_is_computed(load: Load, small: MakeConfig, fields: dict[str, Any]) -> None:
    """Without a cache the tokens stay, with repeats forbidden they don't."""
    watched = load(small(n=3, max_output_tokens=16))
    plain = [call.answers for call in watched.run(small(n=3, max_output_tokens=16))]
    changed = [call.answers for call in watched.run(small(n=3, max_output_tokens=16, pytorch=fields))]
    assert (plain == changed) is ("use_cache" in fields)


def test_an_argument_passed_through_changes_what_is_computed(load: Load, small: MakeConfig) -> None:
    watched = load(small(n=3))
    plain = [answer for call in watched.run(small(n=3)) for answer in call.answers]
    barred = plain[0][0]
    told = small(n=3, passthrough_kwargs={"suppress_tokens": [barred]})
    assert barred not in [token for call in watched.run(told) for answer in call.answers for token in answer]


def test_generation_settings_in_the_models_folder_dont_leak_in(
    load: Load, small: MakeConfig, saved_folder: Path, variant_of: MakeFolder
) -> None:
    folder = variant_of(
        saved_folder,
        generation_config={
            "do_sample": True,
            "temperature": 1.9,
            "top_k": 3,
            "top_p": 0.3,
            "repetition_penalty": 5.0,
            "num_beams": 2,
            "no_repeat_ngram_size": 1,
            "max_length": 3,
            "bad_words_ids": [[token] for token in range(3, 100)],
        },
    )
    plain = load(small()).run(small())
    leaky = load(small(model=str(folder))).run(small(model=str(folder)))
    assert [call.answers for call in leaky] == [call.answers for call in plain]


@pytest.mark.parametrize(
    ("rows", "eos", "lengths"),
    [
        ([[5, 6, 7]], (2,), [3]),
        ([[5, 2, 0]], (2,), [2]),
        ([[5, 2, 2]], (2,), [2]),
        ([[2, 2, 2], [5, 6, 2], [5, 6, 7]], (2,), [1, 3, 3]),
        ([[5, 9, 0], [2, 9, 0]], (2, 9), [2, 1]),
        ([[5, 6], [0, 0]], (), [2, 2]),
    ],
)
def test_output_tokens_are_counted_by_position(
    rows: list[list[int]], eos: tuple[int, ...], lengths: list[int]
) -> None:
    assert output_lengths(torch.tensor(rows), eos) == lengths


def test_batch_seeds_depend_on_both_numbers() -> None:
    seeds = {batch_seed(seed, index) for seed in range(20) for index in range(20)}
    assert len(seeds) == 400
    assert batch_seed(3, 4) == batch_seed(3, 4)
    assert all(0 <= seed < 2**64 for seed in seeds)
