"""Kinds of cache, and decoding that guesses ahead: other work for the same tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import StaticCache

from llem_sweep.config.experiment import ExperimentConfig
from tiny_models import Call, Load, MakeConfig, MakeFolder, Watched, caches_of

RAGGED = {"n": 6, "max_output_tokens": 12}


def answers(calls: list[Call]) -> list[list[int]]:
    return [answer for call in calls for answer in call.answers]


def output_tokens(watched: Watched, config: ExperimentConfig) -> int:
    workload = watched.model.prepare(config)
    tallies = [workload.run_batch(index, lambda phase: None) for index in range(workload.batches)]
    return sum(tally.output_tokens for tally in tallies)


@pytest.mark.parametrize("beams", [1, 3])
def test_a_static_cache_gives_the_same_tokens(load: Load, small: MakeConfig, beams: int) -> None:
    plain = small(**RAGGED, pytorch={"batch_size": 3, "num_beams": beams})
    static = small(**RAGGED, pytorch={"batch_size": 3, "num_beams": beams, "cache_implementation": "static"})
    watched = load(plain)
    expected = answers(watched.run(plain))
    with caches_of(watched) as caches:
        assert answers(watched.run(static)) == expected
    assert all(isinstance(cache, StaticCache) for cache in caches)
    assert len({tuple(answer) for answer in expected}) > 2


def test_a_static_cache_is_as_long_as_the_longest_request_whatever_ran_before(
    load: Load, small: MakeConfig
) -> None:
    options = {"cache_implementation": "static", "batch_size": 2}
    short = small(n=4, max_input_tokens=20, max_output_tokens=3, pytorch=options)
    watched = load(short)
    for config in (short, small(n=4, max_input_tokens=40, max_output_tokens=9, pytorch=options), short):
        with caches_of(watched) as caches:
            calls = watched.run(config)
        needed = max(call.input_ids.shape[1] for call in calls) + config.max_output_tokens - 1
        assert {cache.get_max_length() for cache in caches} == {needed}
        assert watched.model.effective(config)["generate"]["max_cache_len"] == needed


def test_prompt_lookup_gives_the_same_tokens_in_fewer_passes(
    load: Load, small: MakeConfig, saved_folder: Path, variant_of: MakeFolder
) -> None:
    """Also where an answer ends inside a guess."""
    first = answers(load(small(n=8)).run(small(n=8)))
    eos = first[0][3]
    folder = str(variant_of(saved_folder, generation_config={"eos_token_id": eos}))
    plain = small(model=folder, n=8, max_output_tokens=40)
    lookup = small(model=folder, n=8, max_output_tokens=40, pytorch={"prompt_lookup_num_tokens": 4})
    watched = load(plain)
    with caches_of(watched) as passes:
        expected = answers(watched.run(plain))
    with caches_of(watched) as fewer:
        found = answers(watched.run(lookup))
    assert found == expected
    assert len({len(answer) for answer in expected}) > 1
    assert len(fewer) < len(passes)
    assert output_tokens(watched, lookup) == output_tokens(watched, plain)
