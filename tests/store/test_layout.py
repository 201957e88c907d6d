"""Names: always safe, never refused, telling."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factories import START
from llem_sweep.store.layout import (
    NAME_LIMIT,
    candidates,
    experiment_folder,
    model_labels,
    slug,
    sweep_folder,
)


@pytest.mark.parametrize("name", ["Llama-3.1-8B", "Qwen2.5_VL", "a", "v1.0-rc.1", "größe", "模型", "हिन्दी"])
def test_a_safe_name_stays_as_it_is(name: str) -> None:
    assert slug(name) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("../../etc/passwd", "etc-passwd"),
        ("..", "unnamed"),
        ("", "unnamed"),
        ("\x00\n\x1b[31m", "31m"),
        ("a b  c", "a-b-c"),
        (".hidden", "hidden"),
        ("-rf", "rf"),
        ("end.", "end"),
        ("C:\\temp\\x", "C-temp-x"),
        ("CON", "_CON"),
        ("nul.txt", "_nul.txt"),
        ("COM\u00b9", "_COM1"),
        ("emoji 🙂 name", "emoji-name"),
        ("caf\udce9", "caf"),
    ],
)
def test_any_other_text_becomes_a_safe_name(text: str, name: str) -> None:
    assert slug(text) == name


def test_long_names_are_cut_but_stay_different() -> None:
    one, other = slug("é" * 500 + "1"), slug("é" * 500 + "2")
    assert one != other
    assert len(one.encode()) <= 80


@given(st.text())
def test_every_text_has_a_safe_name_that_is_its_own_slug(text: str) -> None:
    name = slug(text)
    assert name
    assert len(name.encode()) <= 80
    assert not set(name) & set('/\\:*?"<>| \0\n')
    assert name[0] not in ".-"
    assert slug(name) == name


def test_a_sweep_is_named_after_its_name_and_the_time_in_utc() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    assert sweep_folder("../my sweep", at) == "my-sweep_2026-01-02T01-04-05"


def test_an_experiment_is_named_after_all_that_was_varied() -> None:
    varied = {
        "pytorch.batch_size": 8,
        "decoder.temperature": 0.7,
        "precision": "fp16",
        "decoder.do_sample": True,
    }
    name = experiment_folder("Llama-3.1-8B", "pytorch", varied, 2, START)
    assert name == (
        "Llama-3.1-8B_pytorch_batch_size-8_temperature-0.7_precision-fp16_do_sample-true_cycle-2_2026-03-04T05-06-07"
    )


def test_model_and_backend_are_not_said_twice() -> None:
    name = experiment_folder("m", "pytorch", {"model": "org/m", "backend": "pytorch"}, None, START)
    assert name == "m_pytorch_2026-03-04T05-06-07"


def test_varied_fields_of_one_last_name_are_told_apart() -> None:
    varied = {"warmup.enabled": False, "baseline.enabled": True, "n": 4}
    name = experiment_folder("m", "b", varied, None, START)
    assert name == "m_b_warmup.enabled-false_baseline.enabled-true_n-4_2026-03-04T05-06-07"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("./data/prompts.jsonl", "prompts.jsonl"),
        (None, "null"),
        ({"n": 4, "input_len": 8}, "n-4-input_len-8"),
        ([1, 2], "1-2"),
        (-1, "-1"),
        ("", ""),
    ],
)
def test_varied_values_are_readable(value: object, shown: str) -> None:
    name = experiment_folder("m", "b", {"x": value}, None, START)
    assert name == f"m_b_x-{shown}".rstrip("-") + "_2026-03-04T05-06-07"


@given(
    st.text(),
    st.dictionaries(st.text(max_size=60), st.text() | st.integers() | st.lists(st.integers()), max_size=20),
)
def test_a_name_never_exceeds_the_limit_with_its_number(model: str, varied: dict[str, object]) -> None:
    name = experiment_folder(model, "backend", varied, 3, START)
    assert len(name.encode()) + len("-9999") <= NAME_LIMIT
    assert "/" not in name
    assert name.endswith("_2026-03-04T05-06-07")


def test_long_names_that_differ_at_the_end_stay_different() -> None:
    varied = {f"field_{number}": "x" * 30 for number in range(12)}
    names = {experiment_folder("m", "b", varied | {"last": last}, None, START) for last in (1, 2)}
    assert len(names) == 2


def test_models_that_share_their_last_component_are_told_apart() -> None:
    models = ["orgA/Llama-3.1-8B", "orgB/Llama-3.1-8B", "./models/tiny", "gpt2", "/"]
    assert list(model_labels(models).values()) == [
        "orgA-Llama-3.1-8B",
        "orgB-Llama-3.1-8B",
        "tiny",
        "gpt2",
        "/",
    ]


def test_taken_names_are_numbered() -> None:
    assert list(islice(candidates("x"), 3)) == ["x", "x-2", "x-3"]


def test_times_far_apart_give_different_names() -> None:
    assert sweep_folder("a", datetime(2026, 1, 1, tzinfo=UTC)) != sweep_folder("a", START)
