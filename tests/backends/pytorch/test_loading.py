from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from hub_server import COMMIT, MODEL, TAG, Hub
from llem_sweep.backends.protocol import LoadContext
from llem_sweep.backends.pytorch import PyTorchBackend
from llem_sweep.backends.pytorch.loading import random_over
from llem_sweep.backends.pytorch.model import TorchModel
from llem_sweep.clock import SimulatedClock
from llem_sweep.errors import BackendError, ModelLoadError
from tiny_models import ON_CPU, Load, MakeConfig, MakeFolder

OUT_OF_VOCABULARY = """
{"version": "1.0", "added_tokens": [], "model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["x y"]}}
"""


def weights(watched: TorchModel) -> torch.Tensor:
    return torch.cat(
        [parameter.detach().flatten().float() for parameter in watched._open().model.parameters()]
    )


def test_pretrained_weights_are_those_of_the_folder(
    load: Load, small: MakeConfig, saved_folder: Path
) -> None:
    saved = AutoModelForCausalLM.from_pretrained(str(saved_folder), dtype=torch.float32)
    expected = torch.cat([parameter.detach().flatten() for parameter in saved.parameters()])
    assert torch.equal(weights(load(small()).model), expected)


def test_random_weights_need_no_weights_and_follow_the_seed(
    load: Load, small: MakeConfig, shape_folder: Path
) -> None:
    assert not list(shape_folder.glob("*.safetensors"))
    one, again, other = (
        weights(load(small(model=str(shape_folder), weights="random", random_seed=seed)).model)
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert 0.3 < one.std() < 1.0


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", "float32"), ("fp16", "float16"), ("bf16", "bfloat16")]
)
@pytest.mark.parametrize("kind", ["pretrained", "random"])
def test_precision_is_the_type_of_the_weights(
    load: Load, small: MakeConfig, kind: str, precision: str, dtype: str
) -> None:
    config = small(weights=kind, precision=precision)
    model = load(config).model
    assert {str(p.dtype) for p in model._open().model.parameters()} == {f"torch.{dtype}"}
    assert model.effective(config)["dtype"] == dtype


@pytest.mark.parametrize("kind", ["pretrained", "random"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_attention_is_the_one_asked_for(load: Load, small: MakeConfig, kind: str, attention: str) -> None:
    config = small(weights=kind, pytorch={"attn_implementation": attention})
    assert load(config).model.effective(config)["attention"] == attention


def test_an_attention_that_isnt_installed_is_a_load_error(load: Load, small: MakeConfig) -> None:
    with pytest.raises(ModelLoadError, match=r"loading .*Flash"):
        load(small(pytorch={"attn_implementation": "flash_attention_2"}))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Keyword arguments of every from_pretrained of config, tokenizer and model."""
    seen: list[dict[str, Any]] = []

    def watch(kind: type) -> None:
        original: Callable[..., object] = kind.from_pretrained  # type: ignore[attr-defined]

        def recorded(name: str, **arguments: Any) -> object:
            seen.append(arguments)
            return original(name, **arguments)

        monkeypatch.setattr(kind, "from_pretrained", recorded)

    for kind in (AutoConfig, AutoTokenizer, AutoModelForCausalLM):
        watch(kind)
    return seen


@pytest.mark.parametrize("trusted", [False, True])
def test_revision_and_trust_reach_config_weights_and_tokenizer_alike(
    load: Load, small: MakeConfig, told: list[dict[str, Any]], trusted: bool, hub: Hub, saved_folder: Path
) -> None:
    hub.serve_folder(saved_folder)
    load(small(model=MODEL, pytorch={"revision": TAG, "trust_remote_code": trusted}))
    outermost = [arguments for arguments in told if "return_unused_kwargs" not in arguments]
    assert len(outermost) >= 3
    assert {(arguments["revision"], arguments["trust_remote_code"]) for arguments in outermost[:3]} == {
        (COMMIT, trusted)
    }


def test_pickled_weights_need_the_files_word(
    load: Load, small: MakeConfig, shape_folder: Path, tmp_path: Path, saved_folder: Path
) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(shape_folder, folder)
    saved = AutoModelForCausalLM.from_pretrained(str(saved_folder), dtype=torch.float32)
    torch.save(saved.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(ModelLoadError, match="safetensors"):
        load(small(model=str(folder)))
    admitted = load(small(model=str(folder), pytorch={"use_safetensors": False})).model
    assert torch.equal(weights(admitted), weights(load(small()).model))


def test_a_config_cant_smuggle_pickled_weights_in(
    load: Load, small: MakeConfig, saved_folder: Path, variant_of: MakeFolder
) -> None:
    folder = variant_of(saved_folder, config={"transformers_weights": "adapter_model.bin"})
    torch.save({}, folder / "adapter_model.bin")
    with pytest.raises(ModelLoadError, match=r"names adapter_model\.bin, which isn't safetensors"):
        load(small(model=str(folder)))


def test_remote_code_isnt_run_without_the_files_word(
    load: Load, small: MakeConfig, saved_folder: Path, variant_of: MakeFolder
) -> None:
    folder = variant_of(
        saved_folder,
        config={"model_type": "homemade", "auto_map": {"AutoConfig": "code.Config"}},
    )
    (folder / "code.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\n")
    with pytest.raises(ModelLoadError, match="loading"):
        load(small(model=str(folder)))
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "config.json").unlink(),
        lambda folder: (folder / "config.json").write_text("{"),
        lambda folder: (folder / "config.json").write_text('{"model_type": "unheard-of"}'),
        lambda folder: (folder / "tokenizer.json").write_text("{}"),
        lambda folder: (folder / "tokenizer.json").write_text(OUT_OF_VOCABULARY),
        lambda folder: (folder / "config.json").write_text('{"model_type": "llama", "hidden_size": "wide"}'),
        lambda folder: (folder / "model.safetensors").write_bytes(b"broken"),
        lambda folder: (folder / "model.safetensors").unlink(),
        shutil.rmtree,
    ],
)
def test_a_damaged_folder_is_a_load_error_that_names_it(
    load: Load,
    small: MakeConfig,
    saved_folder: Path,
    variant_of: MakeFolder,
    damage: Callable[[Path], object],
) -> None:
    folder = variant_of(saved_folder)
    damage(folder)
    with pytest.raises(ModelLoadError, match=str(folder)):
        load(small(model=str(folder)))


def test_weights_spread_over_devices_are_all_initialised(shape_folder: Path) -> None:
    pytest.importorskip("accelerate")
    torch.manual_seed(3)
    shape = AutoConfig.from_pretrained(str(shape_folder))
    build = {"dtype": torch.bfloat16, "trust_remote_code": False}
    model = random_over(shape, build, {"device_map": {"": torch.device("cpu")}})
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    matrices = [parameter for parameter in model.parameters() if parameter.ndim == 2]
    assert all(0.4 < matrix.detach().float().std() < 0.8 for matrix in matrices)
    assert model.get_parameter("lm_head.weight") is model.get_parameter("model.embed_tokens.weight")


def test_a_padding_id_outside_the_embedding_is_replaced(
    load: Load, small: MakeConfig, saved_folder: Path, variant_of: MakeFolder
) -> None:
    folder = variant_of(
        saved_folder,
        tokenizer_config={"pad_token": "<later>", "added_tokens_decoder": {"999": {"content": "<later>"}}},
        config={"vocab_size": 259, "pad_token_id": None},
        generation_config={"pad_token_id": None},
    )
    config = small(model=str(folder), weights="random", n=1)
    watched = load(config)
    assert watched.model._open().tokenizer.pad_token_id >= 259
    assert watched.run(config)[0].told.pad_token_id == 2


def test_a_models_weights_are_freed_while_others_still_hold_it(load: Load, small: MakeConfig) -> None:
    watched = load(small())
    held = watched.model._open().model
    workload = watched.model.prepare(small())
    watched.model.close()
    assert sum(tensor.nbytes for tensor in (*held.parameters(), *held.buffers())) == 0
    with pytest.raises(BackendError, match="closed"):
        watched.model.prepare(small())
    with pytest.raises(BackendError):
        workload.run_batch(0, lambda phase: None)


@pytest.mark.parametrize(
    ("fields", "same"),
    [
        ({"n": 7}, True),
        ({"max_output_tokens": 3}, True),
        ({"decoder": {"preset": "creative"}}, True),
        ({"random_seed": 5}, True),
        ({"pytorch": {"batch_size": 8, "num_beams": 2}}, True),
        ({"precision": "bf16"}, False),
        ({"gpus": 2}, False),
        ({"weights": "random"}, False),
        ({"model": "another"}, False),
        ({"pytorch": {"attn_implementation": "eager"}}, False),
        ({"pytorch": {"device": "cpu"}}, False),
        ({"pytorch": {"revision": "main"}}, False),
        ({"pytorch": {"trust_remote_code": True}}, False),
        ({"pytorch": {"use_safetensors": False}}, False),
        ({"pytorch": {"load_in_8bit": True}}, False),
        ({"pytorch": {"load_in_4bit": True}}, False),
        ({"lora": {"adapter_id": "acme/adapter"}}, False),
        ({"lora": {"adapter_id": "acme/adapter", "revision": "v1"}}, False),
        ({"pytorch": {"device_map": "cpu"}}, False),
        ({"pytorch": {"torch_compile": True}}, False),
    ],
)
def test_only_what_changes_the_loaded_model_changes_its_key(
    small: MakeConfig, fields: dict[str, Any], same: bool
) -> None:
    backend = PyTorchBackend(SimulatedClock())
    assert (backend.load_key(small()) == backend.load_key(small(**fields))) is same


def test_the_seed_of_random_weights_is_in_the_key(small: MakeConfig) -> None:
    backend = PyTorchBackend(SimulatedClock())
    one, other = (backend.load_key(small(weights="random", random_seed=seed)) for seed in (1, 2))
    assert one != other


def test_computing_beside_an_assigned_board_is_told(small: MakeConfig) -> None:
    config = small(gpus=1, pytorch={"device": "cpu"})
    model = PyTorchBackend(SimulatedClock()).load(config, LoadContext(1, False, 1))
    assert model.off_board
    assert model.device_uuids == ()
    assert not PyTorchBackend(SimulatedClock()).load(small(), ON_CPU).off_board


def test_what_was_used_is_reported(load: Load, small: MakeConfig) -> None:
    config = small(n=5, pytorch={"batch_size": 2})
    effective = load(config).model.effective(config)
    assert effective["device"] == "cpu"
    assert effective["cpu_threads"] == torch.get_num_threads()
    assert effective["batches"] == 3
