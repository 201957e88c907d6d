from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from hub_server import COMMIT, MODEL, Hub, serving
from llem_sweep.backends.protocol import Fetched
from llem_sweep.backends.pytorch import PyTorchBackend
from llem_sweep.backends.pytorch.fetch import model_lock
from llem_sweep.clock import SystemClock
from llem_sweep.errors import HubUnreachableError, ModelLoadError, ModelRefusedError
from tiny_models import ON_CPU, MakeConfig


@pytest.fixture
def backend() -> PyTorchBackend:
    return PyTorchBackend(SystemClock())


@pytest.fixture
def served(hub: Hub, saved_folder: Path) -> Hub:
    hub.serve_folder(saved_folder)
    return hub


def shard(hub: Hub) -> None:
    """Spread the weights served over two shards, with their index."""
    from safetensors.torch import load, save

    weights = load(hub.files.pop("model.safetensors"))
    names = sorted(weights)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, inside in parts.items():
        hub.files[file] = save({name: weights[name] for name in inside}, metadata={"format": "pt"})
    where = {name: file for file, inside in parts.items() for name in inside}
    hub.files["model.safetensors.index.json"] = json.dumps({"metadata": {}, "weight_map": where}).encode()


def only_snapshot() -> Path:
    return Path(constants.HF_HUB_CACHE) / f"models--{MODEL.replace('/', '--')}" / "snapshots" / COMMIT


def test_what_loading_reads_is_fetched_once_and_nothing_else(
    served: Hub, small: MakeConfig, backend: PyTorchBackend
) -> None:
    extra = {
        "consolidated.safetensors": b"x" * 9,
        "pytorch_model.bin": b"x",
        "README.md": b"x",
        "code.py": b"x",
    }
    served.files |= extra | {"adapter_config.json": b"{}", "onnx/model.onnx": b"x", "onnx/config.json": b"{}"}
    fetched = backend.fetch(small(model=MODEL))
    names = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"}
    names.add("model.safetensors")
    assert {path.name for path in only_snapshot().rglob("*") if path.is_file()} == names
    assert (fetched.bytes, fetched.already_there) == (sum(len(served.files[name]) for name in names), False)
    assert fetched.seconds > 0
    again = PyTorchBackend(SystemClock()).fetch(small(model=MODEL))
    assert (again.bytes, again.already_there) == (0, True)
    assert {name: served.downloads(name) for name in names} == dict.fromkeys(names, 1)


def test_loading_after_a_fetch_asks_nobody(served: Hub, small: MakeConfig, backend: PyTorchBackend) -> None:
    backend.fetch(small(model=MODEL))
    served.asked.clear()
    model = backend.load(small(model=MODEL), ON_CPU)
    again = backend.load(small(model=MODEL, precision="bf16"), ON_CPU)
    assert served.asked == []
    assert model.effective(small(model=MODEL))["commit"] == COMMIT
    assert again.effective(small(model=MODEL))["dtype"] == "bfloat16"


def test_what_is_loaded_is_what_the_hub_serves(
    served: Hub, small: MakeConfig, saved_folder: Path, backend: PyTorchBackend
) -> None:
    shard(served)
    model = backend.load(small(model=MODEL), ON_CPU)
    local = backend.load(small(), ON_CPU)
    ours, theirs = (each._open().model.state_dict() for each in (model, local))  # type: ignore[attr-defined]
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_random_weights_need_no_weights(served: Hub, small: MakeConfig, backend: PyTorchBackend) -> None:
    del served.files["model.safetensors"]
    config = small(model=MODEL, weights="random")
    assert backend.describe(config).problem is None
    assert backend.load(config, ON_CPU).effective(config)["commit"] == COMMIT


@pytest.mark.parametrize("pretend_offline", [True, False])
def test_a_model_in_the_cache_is_fine_without_the_hub(
    served: Hub, small: MakeConfig, monkeypatch: pytest.MonkeyPatch, pretend_offline: bool
) -> None:
    PyTorchBackend(SystemClock()).fetch(small(model=MODEL))
    if pretend_offline:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    else:
        served.answer = 503
    served.asked.clear()
    backend = PyTorchBackend(SystemClock())
    facts = backend.describe(small(model=MODEL))
    assert (facts.problem, facts.absent) == (None, None)
    assert facts.parameters
    assert backend.fetch(small(model=MODEL)).already_there
    backend.load(small(model=MODEL), ON_CPU)
    assert not any(each.method == "GET" and "resolve" in each.path for each in served.asked)
    assert bool(served.asked) is not pretend_offline


def test_without_the_hub_and_without_a_cache_the_node_cant_have_the_model(
    served: Hub, small: MakeConfig, backend: PyTorchBackend
) -> None:
    served.answer = 503
    facts = backend.describe(small(model=MODEL))
    assert facts.problem is None
    assert facts.absent is not None
    assert all(hint in facts.absent for hint in (served.url, "HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_HOME"))
    asked = len(served.asked)
    assert backend.describe(small(model="acme/another")).absent is not None
    assert len(served.asked) == asked, "a Hub that didn't answer is not asked again"
    with pytest.raises(HubUnreachableError):
        backend.fetch(small(model=MODEL))


def test_a_cache_that_holds_a_part_is_no_cache(served: Hub, small: MakeConfig) -> None:
    PyTorchBackend(SystemClock()).fetch(small(model=MODEL))
    (only_snapshot() / "tokenizer.json").unlink()
    served.answer = 503
    absent = PyTorchBackend(SystemClock()).describe(small(model=MODEL)).absent
    assert absent is not None
    assert "holds no tokenizer" in absent


@pytest.mark.parametrize(
    ("name", "revision", "said"),
    [
        ("acme/none", None, "shows no such model: check the name"),
        (MODEL, "v9", "no revision 'v9' of it: check pytorch.revision"),
        ("a/b/c", None, "not the name of a model"),
    ],
)
def test_a_model_that_isnt_there_is_found_without_loading(
    served: Hub, small: MakeConfig, backend: PyTorchBackend, name: str, revision: str | None, said: str
) -> None:
    config = small(model=name, pytorch={"revision": revision})
    assert said in (backend.describe(config).problem or "")
    with pytest.raises(ModelRefusedError, match=said.partition(":")[0]):
        backend.fetch(config)


def test_a_gated_model_says_what_to_do(served: Hub, small: MakeConfig, backend: PyTorchBackend) -> None:
    served.gated = True
    problem = backend.describe(small(model=MODEL)).problem or ""
    assert f"ask for access at {served.url}/{MODEL}" in problem
    assert "HF_TOKEN" in problem
    with pytest.raises(ModelRefusedError, match="gated"):
        backend.load(small(model=MODEL), ON_CPU)


def test_a_gated_model_in_the_cache_is_fine(served: Hub, small: MakeConfig) -> None:
    PyTorchBackend(SystemClock()).fetch(small(model=MODEL))
    served.gated = True
    assert PyTorchBackend(SystemClock()).describe(small(model=MODEL)).problem is None
    assert PyTorchBackend(SystemClock()).fetch(small(model=MODEL)).already_there


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("model.safetensors", "neither model.safetensors nor model.safetensors.index.json"),
        ("config.json", "no config.json"),
        ("tokenizer", "holds no tokenizer"),
    ],
)
def test_a_model_that_lacks_files_is_found_without_loading(
    served: Hub, small: MakeConfig, backend: PyTorchBackend, lost: str, said: str
) -> None:
    served.files = {name: content for name, content in served.files.items() if not name.startswith(lost)}
    assert said in (backend.describe(small(model=MODEL)).problem or "")


def test_an_index_that_names_what_isnt_there_is_found_without_loading(
    served: Hub, small: MakeConfig, backend: PyTorchBackend
) -> None:
    shard(served)
    del served.files["model-00002-of-00002.safetensors"]
    assert "model-00002" in (backend.describe(small(model=MODEL)).problem or "")
    assert served.downloads("model-00001-of-00002.safetensors") == 0


def test_damage_in_the_cache_is_fetched_again(served: Hub, small: MakeConfig) -> None:
    PyTorchBackend(SystemClock()).fetch(small(model=MODEL))
    blob = (only_snapshot() / "model.safetensors").resolve()
    blob.write_bytes(blob.read_bytes()[:-40])
    fetched = PyTorchBackend(SystemClock()).fetch(small(model=MODEL))
    assert fetched.bytes == len(served.files["model.safetensors"])
    assert blob.read_bytes() == served.files["model.safetensors"]


def test_damage_in_the_cache_without_the_hub_is_found_without_loading(served: Hub, small: MakeConfig) -> None:
    PyTorchBackend(SystemClock()).fetch(small(model=MODEL))
    blob = (only_snapshot() / "model.safetensors").resolve()
    blob.write_bytes(blob.read_bytes()[:-40])
    served.answer = 503
    absent = PyTorchBackend(SystemClock()).describe(small(model=MODEL)).absent or ""
    assert "model.safetensors can't be read" in absent


def test_damage_that_the_hub_sends_is_told(served: Hub, small: MakeConfig, backend: PyTorchBackend) -> None:
    served.files["model.safetensors"] = served.files["model.safetensors"][:-40]
    with pytest.raises(ModelLoadError, match=r"sends is damaged: model.safetensors can't be read"):
        backend.fetch(small(model=MODEL))


def test_a_file_of_another_size_than_the_hub_tells_is_not_taken(
    served: Hub, small: MakeConfig, backend: PyTorchBackend
) -> None:
    served.listed_sizes["model.safetensors"] = len(served.files["model.safetensors"]) + 8
    with pytest.raises(ModelLoadError, match=r"sends is damaged: model.safetensors has \d+ bytes instead of"):
        backend.fetch(small(model=MODEL))


def test_a_file_in_the_cache_of_another_size_than_the_hub_tells_is_fetched_again(
    served: Hub, small: MakeConfig
) -> None:
    PyTorchBackend(SystemClock()).fetch(small(model=MODEL))
    tokenizer = (only_snapshot() / "tokenizer.json").resolve()
    tokenizer.write_bytes(tokenizer.read_bytes() + b" ")
    assert not PyTorchBackend(SystemClock()).fetch(small(model=MODEL)).already_there
    assert tokenizer.read_bytes() == served.files["tokenizer.json"]


def test_a_folder_on_disk_is_checked_alike(
    small: MakeConfig, saved_folder: Path, tmp_path: Path, backend: PyTorchBackend
) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in saved_folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = small(model=str(folder))
    assert backend.fetch_key(config) is None
    assert backend.fetch(config)._replace(seconds=0.0) == Fetched(0, 0.0, already_there=True)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "model.safetensors can't be read" in (PyTorchBackend(SystemClock()).describe(config).problem or "")
    with pytest.raises(ModelRefusedError, match="damaged"):
        backend.load(config, ON_CPU)


def test_a_cache_that_takes_no_lock_is_locked_elsewhere(
    served: Hub, small: MakeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder should be")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(blocked))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "elsewhere"))
    with model_lock(MODEL):
        assert [path.is_file() for path in (tmp_path / "elsewhere").rglob("*.lock")] == [True]


# With processes of their own, whose clients read their settings as transformers does

FETCH = """
import sys, json
from llem_sweep.backends.pytorch.fetch import fetch_files
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.errors import ModelLoadError
try:
    print(fetch_files(ExperimentConfig.model_validate(json.loads(sys.argv[1]))).fetched_bytes)
except ModelLoadError as error:
    print(error)
assert "torch" not in sys.modules, "fetching is to be light"
"""


def start(config: object, **settings: str) -> subprocess.Popen[str]:
    mine = {
        name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))
    }
    command = [sys.executable, "-c", FETCH, json.dumps(config)]
    return subprocess.Popen(command, env=mine | settings, stdout=subprocess.PIPE, text=True)


def outcome(process: subprocess.Popen[str]) -> str:
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return told.strip()


def test_processes_that_start_together_download_once_and_a_cache_then_serves_offline(
    saved_folder: Path, tmp_path: Path
) -> None:
    config = {"model": MODEL, "gpus": 0}
    with serving() as hub:
        hub.serve_folder(saved_folder)
        hub.pause_s = 0.3
        settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
        together = [start(config, **settings) for _ in range(3)]
        fetched = sorted(int(outcome(process)) for process in together)
        assert fetched[:2] == [0, 0]
        assert fetched[2] > len(hub.files["model.safetensors"])
        assert hub.downloads("model.safetensors") == 1
        asked = len(hub.asked)
        having = start(config, **settings, TRANSFORMERS_OFFLINE="1")
        lacking = start(config, **settings | {"HF_HOME": str(tmp_path / "other")}, HF_HUB_OFFLINE="1")
        assert outcome(having) == "0"
        assert "HF_HUB_OFFLINE is set" in outcome(lacking)
        assert len(hub.asked) == asked


def test_a_hub_that_never_answers_is_waited_for_as_long_as_its_setting_says(
    hub: Hub, small: MakeConfig, backend: PyTorchBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "1")
        begun_s = time.monotonic()
        absent = backend.describe(small(model=MODEL)).absent
        # The client itself may ask for something else first, once a day, and waits 3 s for that.
        assert time.monotonic() - begun_s < 8
    assert address in (absent or "")
