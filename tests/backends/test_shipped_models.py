from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoTokenizer

from llem_sweep.backends.pytorch import PyTorchBackend
from llem_sweep.clock import SimulatedClock
from llem_sweep.config.experiment import ExperimentConfig

FOLDERS = sorted(
    path for path in (Path(__file__).parents[2] / "sweeps" / "models").iterdir() if path.is_dir()
)
SPECIAL = ("<pad>", "<bos>", "<eos>")


def byte_level_tokenizer() -> Tokenizer:
    """One token per byte after the special ones, every text opened by ``<bos>``."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet(), key=ord)
    vocabulary = {token: index for index, token in enumerate((*SPECIAL, *alphabet))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", 1)]
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return tokenizer


def test_several_shapes_are_shipped() -> None:
    assert len(FOLDERS) >= 2


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_tokenizer_is_the_byte_level_one(folder: Path) -> None:
    shipped = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    assert shipped == json.loads(byte_level_tokenizer().to_str())


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    loaded: Tokenizer = AutoTokenizer.from_pretrained(str(FOLDERS[0])).backend_tokenizer
    return loaded


@settings(max_examples=100, deadline=None)
@given(text=st.text().filter(lambda text: "<" not in text))
def test_any_text_survives_the_tokenizer_one_token_a_byte(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text).ids
    assert len(ids) == 1 + len(text.encode())
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_special_tokens_are_known_to_tokenizer_and_model(folder: Path) -> None:
    loaded = AutoTokenizer.from_pretrained(str(folder))
    shape = json.loads((folder / "config.json").read_text())
    assert (loaded.pad_token_id, loaded.bos_token_id, loaded.eos_token_id) == (0, 1, 2)
    assert (shape["pad_token_id"], shape["bos_token_id"], shape["eos_token_id"]) == (0, 1, 2)
    assert shape["vocab_size"] >= len(loaded)


def test_the_shapes_differ_and_are_described_without_weights() -> None:
    backend = PyTorchBackend(SimulatedClock())
    facts = [backend.describe(ExperimentConfig(model=str(folder), weights="random")) for folder in FOLDERS]
    assert all(fact.problem is None for fact in facts)
    assert len({fact.parameters for fact in facts}) == len(FOLDERS)
