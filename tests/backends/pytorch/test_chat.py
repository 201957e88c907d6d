from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from hub_server import MODEL, Hub
from llem_sweep.backends.pytorch import PyTorchBackend
from llem_sweep.clock import SystemClock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.errors import BackendError
from llem_sweep.plan.types import ModelFacts
from tiny_models import Load, MakeConfig, MakeFolder

TEMPLATE = (
    "<bos>{% for each in messages %}[{{ each.role }}]{{ each.content }}{% endfor %}"
    "{% if add_generation_prompt %}[answer]{% endif %}"
)


@pytest.fixture
def talking(saved_folder: Path, variant_of: MakeFolder) -> Path:
    """The small model with a chat template."""
    return variant_of(saved_folder, tokenizer_config={"chat_template": TEMPLATE})


@pytest.fixture
def prompts(tmp_path: Path) -> str:
    path = tmp_path / "prompts.txt"
    path.write_text("abc\na longer one\n")
    return str(path)


def tokenizer_of(folder: Path) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(str(folder))
    return tokenizer


def describe(config: ExperimentConfig) -> ModelFacts:
    """What a backend that hasn't been asked yet says."""
    return PyTorchBackend(SystemClock()).describe(config)


def forget_the_cache() -> None:
    shutil.rmtree(constants.HF_HUB_CACHE, ignore_errors=True)


def inputs(load: Load, small: MakeConfig, folder: Path, **fields: Any) -> list[list[int]]:
    """Token ids of every request, without padding."""
    config = small(model=str(folder), **fields)
    calls = load(config).run(config)
    return [
        ids[mask.bool()].tolist()
        for call in calls
        for ids, mask in zip(call.input_ids, call.attention_mask, strict=True)
    ]


def test_prompts_go_through_the_template_with_the_opening_of_the_answer(
    load: Load, small: MakeConfig, talking: Path, prompts: str
) -> None:
    """The beginning of the sequence is there once: the template says it, so the tokenizer doesn't."""
    given = inputs(load, small, talking, n=2, dataset={"path": prompts, "chat_template": True})
    tokenizer = tokenizer_of(talking)
    assert [tokenizer.decode(ids) for ids in given] == [
        "<bos>[user]abc[answer]",
        "<bos>[user]a longer one[answer]",
    ]
    assert all(ids.count(tokenizer.bos_token_id) == 1 for ids in given)
    plain = inputs(load, small, talking, n=2, dataset={"path": prompts})
    assert [tokenizer.decode(ids) for ids in plain] == ["<bos>abc", "<bos>a longer one"]


def test_named_prompts_go_through_it_too(load: Load, small: MakeConfig, talking: Path) -> None:
    (ids,) = inputs(load, small, talking, n=1, dataset={"name": "builtin", "chat_template": True})
    text = str(tokenizer_of(talking).decode(ids))
    assert text.startswith("<bos>[user]")
    assert text.endswith("[answer]")
    assert len(ids) == 48


def test_a_long_prompt_is_cut_and_the_template_stays_whole(
    load: Load, small: MakeConfig, talking: Path, prompts: str
) -> None:
    dataset = {"path": prompts, "chat_template": True}
    given = inputs(load, small, talking, n=2, max_input_tokens=19, dataset=dataset)
    tokenizer = tokenizer_of(talking)
    assert [tokenizer.decode(ids) for ids in given] == ["<bos>[user]abc[answer]", "<bos>[user]a lo[answer]"]
    with pytest.raises(BackendError, match="the chat template alone takes 15 tokens"):
        inputs(load, small, talking, n=2, max_input_tokens=14, dataset=dataset)


def test_a_template_that_tells_the_date_tells_the_same_one_every_day(
    load: Load, small: MakeConfig, saved_folder: Path, variant_of: MakeFolder, prompts: str
) -> None:
    template = "\n" + TEMPLATE + "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}{% endif %}"
    folder = variant_of(saved_folder, tokenizer_config={"chat_template": template})
    ids, _ = inputs(load, small, folder, n=2, dataset={"path": prompts, "chat_template": True})
    assert tokenizer_of(folder).decode(ids) == "\n<bos>[user]abc[answer]26 Jul 2024"


def test_a_tokenizer_without_a_template_is_refused(
    load: Load, small: MakeConfig, saved_folder: Path, talking: Path, variant_of: MakeFolder
) -> None:
    """Before anything is loaded, and before anything is measured where its own code might have brought one."""
    assert describe(small(model=str(saved_folder))).chat_template is False
    assert describe(small(model=str(talking))).chat_template is True
    secretive = variant_of(saved_folder, tokenizer_config={"auto_map": {"AutoTokenizer": ["code.Own", None]}})
    assert describe(small(model=str(secretive))).chat_template is True
    with pytest.raises(BackendError, match="has no chat template"):
        load(small()).model.prepare(small(dataset={"name": "builtin", "chat_template": True}))


def test_a_template_in_a_file_of_its_own_counts(
    saved_folder: Path, variant_of: MakeFolder, small: MakeConfig
) -> None:
    folder = variant_of(saved_folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    assert describe(small(model=str(folder))).chat_template is True
    assert tokenizer_of(folder).chat_template == TEMPLATE


@pytest.mark.parametrize("reached", [True, False])
def test_the_hub_is_asked_for_the_template_and_else_the_cache(
    hub: Hub, saved_folder: Path, talking: Path, small: MakeConfig, reached: bool
) -> None:
    """By the tokenizer's own small files: no weights come for it."""
    config = small(model=MODEL)
    for folder, has_one in ((saved_folder, False), (talking, True)):
        hub.serve_folder(folder)
        hub.answer = None
        forget_the_cache()
        if not reached:
            PyTorchBackend(SystemClock()).fetch(config)
            hub.answer = 503
        hub.asked.clear()
        assert describe(config).chat_template is has_one
        assert hub.downloads("model.safetensors") == 0


def test_on_the_hub_too_a_file_of_its_own_counts(hub: Hub, saved_folder: Path, small: MakeConfig) -> None:
    hub.serve_folder(saved_folder)
    hub.files["chat_template.jinja"] = TEMPLATE.encode()
    assert describe(small(model=MODEL)).chat_template is True
    del hub.files["chat_template.jinja"], hub.files["tokenizer_config.json"]
    assert describe(small(model=MODEL)).chat_template is False
