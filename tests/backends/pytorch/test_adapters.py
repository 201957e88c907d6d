from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from hub_server import COMMIT, MODEL, TAG, Hub
from llem_sweep.backends.pytorch import PyTorchBackend, extras, loading
from llem_sweep.backends.pytorch.adapters import Adapter
from llem_sweep.backends.pytorch.assistant import assistant_of
from llem_sweep.clock import SystemClock
from llem_sweep.errors import ModelLoadError, ModelRefusedError
from tiny_models import ON_CPU, Load, MakeConfig

RANK, ALPHA = 4, 8
LAYERS = ("model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.v_proj")


@pytest.fixture
def backend() -> PyTorchBackend:
    return PyTorchBackend(SystemClock())


@pytest.fixture
def adapter_folder(tmp_path: Path) -> Path:
    """An adapter of the small model, as peft writes it."""
    folder = tmp_path / "adapter"
    folder.mkdir()
    told = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": ALPHA,
        "target_modules": list(LAYERS),
        "base_model_name_or_path": "acme/other",
    }
    (folder / "adapter_config.json").write_text(json.dumps(told))
    torch.manual_seed(11)
    rows = {LAYERS[0]: 32, LAYERS[1]: 16}
    tensors = {}
    for name, out in rows.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = torch.randn(RANK, 32)
        tensors[f"base_model.model.{name}.lora_B.weight"] = torch.randn(out, RANK)
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def told(folder: Path, **fields: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Adapter, torch.device, torch.dtype]]:
    """What would be put on a model, as if peft were installed; the model stays as it is."""
    seen: list[tuple[Adapter, torch.device, torch.dtype]] = []

    def recorded(
        model: PreTrainedModel, adapter: Adapter, device: torch.device, dtype: torch.dtype
    ) -> tuple[PreTrainedModel, dict[str, Any]]:
        seen.append((adapter, device, dtype))
        return model, {"commit": adapter.commit}

    monkeypatch.setattr(extras, "is_peft_available", lambda: True)
    monkeypatch.setattr(loading, "put_on", recorded)
    return seen


@pytest.mark.parametrize("merge", [False, True])
def test_a_local_adapter_is_put_on_the_model(
    load: Load,
    small: MakeConfig,
    adapter_folder: Path,
    put: list[tuple[Adapter, torch.device, torch.dtype]],
    merge: bool,
) -> None:
    config = small(precision="bf16", lora={"adapter_path": str(adapter_folder), "merge_weights": merge})
    load(config)
    ((adapter, device, dtype),) = put
    assert (adapter.folder, adapter.lora.merge_weights, adapter.commit) == (adapter_folder, merge, None)
    assert (device, dtype) == (torch.device("cpu"), torch.bfloat16)
    load(small())
    assert len(put) == 1


def test_an_adapter_on_the_hub_is_fetched_like_a_model(
    hub: Hub,
    small: MakeConfig,
    backend: PyTorchBackend,
    adapter_folder: Path,
    put: list[tuple[Adapter, torch.device, torch.dtype]],
) -> None:
    hub.serve_folder(adapter_folder)
    hub.files |= {"README.md": b"x", "adapter_model.bin": b"x", "optimizer.pt": b"x"}
    config = small(lora={"adapter_id": MODEL})
    assert backend.describe(config).problem is None
    assert backend.fetch_key(config) not in (None, backend.fetch_key(small()))
    fetched = backend.fetch(config)
    names = ("adapter_config.json", "adapter_model.safetensors")
    # Describing has had the configuration already.
    assert fetched.bytes == len(hub.files[names[1]])
    hub.asked.clear()
    effective = backend.load(config, ON_CPU).effective(config)
    assert hub.asked == []
    ((adapter, _, _),) = put
    assert sorted(path.name for path in adapter.folder.iterdir()) == list(names)
    assert effective["adapter"]["commit"] == adapter.commit == COMMIT
    assert effective["commit"] is None


@pytest.mark.usefixtures("put")
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "adapter_config.json").unlink(), "holds no adapter_config.json"),
        (lambda folder: (folder / "adapter_config.json").write_text("{"), "can't be read"),
        (lambda folder: told(folder, peft_type="IA3"), "the kind IA3, and only LORA"),
        (lambda folder: told(folder, task_type="SEQ_CLS"), "made for the task SEQ_CLS"),
        (lambda folder: (folder / "adapter_model.safetensors").unlink(), "doesn't hold adapter_model.saf"),
        (lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"broken"), "are damaged"),
    ],
)
def test_an_adapter_that_cant_be_used_is_refused_before_anything_is_loaded(
    backend: PyTorchBackend,
    small: MakeConfig,
    adapter_folder: Path,
    spoil: Callable[[Path], object],
    said: str,
) -> None:
    config = small(lora={"adapter_path": str(adapter_folder)})
    spoil(adapter_folder)
    assert said in (backend.describe(config).problem or "")
    with pytest.raises(ModelRefusedError, match=said):
        backend.load(config, ON_CPU)


@pytest.mark.usefixtures("put")
def test_a_pickled_adapter_needs_the_files_word(
    backend: PyTorchBackend, small: MakeConfig, adapter_folder: Path
) -> None:
    (adapter_folder / "adapter_model.safetensors").rename(adapter_folder / "adapter_model.bin")
    lora = {"adapter_path": str(adapter_folder)}
    assert "adapter_model.safetensors" in (backend.describe(small(lora=lora)).problem or "")
    admitted = small(weights="random", lora=lora, pytorch={"use_safetensors": False})
    assert backend.describe(admitted).problem is None


@pytest.mark.usefixtures("hub", "put")
def test_an_adapter_that_isnt_on_the_hub_says_so(backend: PyTorchBackend, small: MakeConfig) -> None:
    problem = backend.describe(small(lora={"adapter_id": "acme/none"})).problem
    assert problem is not None
    assert "acme/none" in problem
    assert "shows no such model" in problem


def test_the_adapter_comes_from_the_revision_asked_for_whatever_that_of_the_model(
    hub: Hub,
    small: MakeConfig,
    backend: PyTorchBackend,
    adapter_folder: Path,
    put: list[tuple[Adapter, torch.device, torch.dtype]],
) -> None:
    hub.serve_folder(adapter_folder)
    tagged = small(lora={"adapter_id": MODEL, "revision": TAG}, pytorch={"revision": "theirs"})
    backend.load(tagged, ON_CPU)
    revisions = {
        each.path.split("/resolve/")[1].split("/")[0] for each in hub.asked if "resolve" in each.path
    }
    assert revisions == {TAG, COMMIT}
    assert put[0][0].commit == COMMIT
    hub.answer = 503
    assert PyTorchBackend(SystemClock()).fetch(tagged).already_there
    plain = small(lora={"adapter_id": MODEL}, pytorch={"revision": "theirs"})
    for key in (backend.load_key, backend.fetch_key):
        assert key(tagged) != key(plain)
    hub.answer = None
    problem = backend.describe(small(lora={"adapter_id": MODEL, "revision": "v9"})).problem
    assert problem == f"{MODEL}: there is no revision 'v9' of it: check lora.revision"


def test_the_adapter_isnt_put_on_an_assistant(small: MakeConfig) -> None:
    config = small(pytorch={"assistant_model": "acme/a"}, lora={"adapter_id": "acme/adapter"})
    assistant = assistant_of(config)
    assert assistant is not None
    assert (assistant.model, assistant.lora) == ("acme/a", None)


def test_without_peft_it_is_refused_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch, backend: PyTorchBackend, small: MakeConfig, adapter_folder: Path
) -> None:
    monkeypatch.setattr(extras, "is_peft_available", lambda: False)
    config = small(lora={"adapter_path": str(adapter_folder)})
    assert "pip install 'llem-sweep[peft]'" in (backend.describe(config).absent or "")
    with pytest.raises(ModelLoadError, match="lora needs peft"):
        backend.load(config, ON_CPU)


def logits(model: PreTrainedModel) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model(torch.tensor([[1, 5, 6, 7, 8]])).logits
    return found


def added_by_hand(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """W + alpha / r · B · A, as LoRA is defined (arXiv 2106.09685)."""
    tensors = load_file(folder / "adapter_model.safetensors")
    for name in LAYERS:
        one, other = (tensors[f"base_model.model.{name}.lora_{part}.weight"] for part in "BA")
        model.get_parameter(f"{name}.weight").data += ALPHA / RANK * one @ other
    return model


@pytest.mark.extra
@pytest.mark.parametrize("merge", [False, True])
def test_the_adapter_acts_as_it_is_defined(
    load: Load, small: MakeConfig, adapter_folder: Path, merge: bool
) -> None:
    plain = load(small()).model._open().model
    before = logits(plain)
    config = small(lora={"adapter_path": str(adapter_folder), "merge_weights": merge})
    watched = load(config)
    adapted = watched.model._open().model
    expected = logits(added_by_hand(plain, adapter_folder))
    assert torch.allclose(logits(adapted), expected, atol=1e-4 * float(expected.std()))
    assert not torch.allclose(expected, before, atol=0.1)
    effective = watched.model.effective(config)["adapter"]
    sizes = {"tensors": 4, "parameters": RANK * (32 + 32 + 32 + 16)}
    gone = dict.fromkeys(sizes, 0)
    assert effective == {"commit": None, "merged": merge, "rank": RANK} | (gone if merge else sizes)
    assert sum("lora_" in name for name, _ in adapted.named_parameters()) == (0 if merge else 4)
    assert type(adapted) is type(plain)
    assert all(call.answers for call in watched.run(config))


@pytest.mark.extra
def test_an_adapter_computes_in_the_precision_asked_for(
    load: Load, small: MakeConfig, adapter_folder: Path
) -> None:
    config = small(precision="bf16", lora={"adapter_path": str(adapter_folder)})
    model = load(config).model._open().model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert not model.training


@pytest.mark.extra
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda tensors: tensors.popitem(), "the adapter lacks 1 tensors"),
        (
            lambda tensors: tensors.update(
                {"base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight": torch.zeros(RANK, 32)}
            ),
            "the model has no place for 1 tensors",
        ),
    ],
)
def test_an_adapter_of_another_model_is_a_load_error(
    load: Load,
    small: MakeConfig,
    adapter_folder: Path,
    spoil: Callable[[dict[str, torch.Tensor]], object],
    said: str,
) -> None:
    tensors = load_file(adapter_folder / "adapter_model.safetensors")
    spoil(tensors)
    save_file(tensors, adapter_folder / "adapter_model.safetensors")
    with pytest.raises(ModelLoadError, match=said):
        load(small(lora={"adapter_path": str(adapter_folder)}))


@pytest.mark.extra
@pytest.mark.parametrize("merge", [False, True])
def test_an_adapter_goes_on_quantised_weights(
    load: Load, small: MakeConfig, adapter_folder: Path, merge: bool
) -> None:
    expected = logits(added_by_hand(load(small()).model._open().model, adapter_folder))
    config = small(
        pytorch={"load_in_8bit": True},
        lora={"adapter_path": str(adapter_folder), "merge_weights": merge},
    )
    found = logits(load(config).model._open().model)
    assert 0 < (found - expected).std() / expected.std() < 0.1
