"""Which files of a model transformers reads, and whether they are whole, by their headers and sizes alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open

from llem_sweep.backends.pytorch.hub import CONFIG
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.errors import ModelRefusedError

_COMPANIONS = (".json", ".txt", ".model", ".jinja", ".tiktoken")
"""Endings of configuration and tokenizer files; those of weights are looked up one by one."""
_TEMPLATES = "additional_chat_templates/"
ADAPTER_CONFIG = "adapter_config.json"
"""In a model's folder it would make transformers load something else beside the model, or instead of it."""
_INDEX = ".index.json"
_PARSED = (CONFIG, ADAPTER_CONFIG, "tokenizer.json", "tokenizer_config.json", "generation_config.json")

At = Callable[[str], Path]
"""Makes a file of the model readable here and says where it is."""


class Needed(NamedTuple):
    """Names of the files that loading a model reads."""

    companions: tuple[str, ...]
    """Configuration, tokenizer, and the model's own code where it is allowed."""
    weights: tuple[str, ...]
    """With the index of the shards, where there is one, first. None for random weights."""

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.companions, *self.weights)


class Wanted(NamedTuple):
    """A model or an adapter, from the Hub or a local folder."""

    name: str
    """On the Hub, or the folder."""
    revision: str | None
    entry: str
    """The file without which there is no such thing."""
    needed: Callable[[Collection[str], At], Needed]
    """Which files are read, of those that there are. Raises ModelRefusedError."""


def model_of(config: ExperimentConfig) -> Wanted:
    """The model of ``config``."""
    return Wanted(
        config.model,
        config.pytorch.revision,
        CONFIG,
        lambda names, at: needed_files(names, config, at),
    )


def adapter_of(config: ExperimentConfig) -> Wanted | None:
    """The adapter of ``config``; None without one."""
    if config.lora is None:
        return None
    name = config.lora.adapter_id or config.lora.adapter_path or ""
    pickled = not config.pytorch.use_safetensors
    return Wanted(
        name,
        config.lora.revision,
        ADAPTER_CONFIG,
        lambda names, at: adapter_files(names, name, at, pickled=pickled),
    )


def adapter_files(names: Collection[str], adapter: str, at: At, *, pickled: bool) -> Needed:
    """What putting ``adapter``, which has the files ``names``, on a model reads; ``pickled`` weights will do where
    they may. Raises ModelRefusedError."""
    told = _json(at(ADAPTER_CONFIG))
    kind, task = told.get("peft_type"), told.get("task_type")
    if kind != "LORA":
        raise ModelRefusedError(f"{adapter}: is an adapter of the kind {kind}, and only LORA is built")
    if task not in (None, "CAUSAL_LM"):
        raise ModelRefusedError(f"{adapter}: is made for the task {task}, and only CAUSAL_LM generates text")
    # In the order in which peft looks for them.
    choices = ("adapter_model.safetensors", *(("adapter_model.bin",) if pickled else ()))
    for choice in choices:
        if choice in names:
            return Needed((ADAPTER_CONFIG,), (choice,))
    raise ModelRefusedError(f"{adapter}: doesn't hold {' or '.join(choices)}")


def needed_files(names: Collection[str], config: ExperimentConfig, at: At) -> Needed:
    """What loading ``config`` reads of a model that has the files ``names``.

    Raises ModelRefusedError where something is missing that loading can't do without.
    """
    companions = tuple(sorted(filter(_is_companion(config.pytorch.trust_remote_code), names)))
    if not any(map(_is_tokenizer, companions)):
        raise ModelRefusedError(f"{config.model}: holds no tokenizer (tokenizer.json, or the like)")
    if config.weights == "random":
        return Needed(companions, ())
    entry = _weights_entry(names, config, _json(at(CONFIG)).get("transformers_weights"))
    shards = shards_of(at(entry)) if entry.endswith(_INDEX) else ()
    lacking = [shard for shard in shards if shard not in names]
    if lacking:
        raise ModelRefusedError(f"{config.model}: {entry} names files that aren't there: {_some(lacking)}")
    return Needed(companions, (entry, *shards))


def shards_of(index: Path) -> tuple[str, ...]:
    """Names of the files that ``index`` spreads the weights over. Raises ModelRefusedError."""
    where = _json(index).get("weight_map")
    if not isinstance(where, dict) or not where or not all(isinstance(each, str) for each in where.values()):
        raise ModelRefusedError(f"{index}: is damaged: it has no weight_map")
    shards = sorted(set(where.values()))
    outside = [shard for shard in shards if PurePosixPath(shard).name != shard]
    if outside:
        raise ModelRefusedError(f"{index}: names files outside its folder: {_some(outside)}")
    return tuple(shards)


def damages(folder: Path, needed: Needed, sizes: Mapping[str, int | None]) -> dict[str, str]:
    """What is wrong with each file of ``needed`` below ``folder``, by name; empty when they are whole.

    ``sizes`` holds the bytes that a file must have, where they are known.
    """
    indexed = _indexed(folder, needed)
    found = {name: _damage(folder / name, sizes.get(name), indexed.get(name, ())) for name in needed.names}
    return {name: damage for name, damage in found.items() if damage is not None}


def check_folder(folder: Path, wanted: Wanted) -> None:
    """Raise ModelRefusedError unless ``folder`` holds all that loading ``wanted`` reads, whole."""
    check_entry(folder, wanted)
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    needed = wanted.needed(names, lambda name: folder / name)
    damaged = damages(folder, needed, {})
    if damaged:
        told = "; ".join(f"{name} {why}" for name, why in damaged.items())
        raise ModelRefusedError(f"{wanted.name}: the files in {folder} are damaged: {told}")


def check_entry(folder: Path, wanted: Wanted) -> None:
    """Raise ModelRefusedError unless ``folder`` is there and holds what makes it one of the kind wanted."""
    if not folder.is_dir():
        raise ModelRefusedError(f"{wanted.name}: there is no such folder")
    if not (folder / wanted.entry).is_file():
        raise ModelRefusedError(f"{wanted.name}: the folder holds no {wanted.entry}")


def _is_companion(code: bool) -> Callable[[str], bool]:
    endings = (*_COMPANIONS, ".py") if code else _COMPANIONS

    def check(name: str) -> bool:
        top = "/" not in name or name.startswith(_TEMPLATES) or name.endswith(".py")
        return top and name.endswith(endings) and name != ADAPTER_CONFIG and not name.endswith(_INDEX)

    return check


def _is_tokenizer(name: str) -> bool:
    stem = name.partition(".")[0]
    return stem in ("tokenizer", "vocab", "spiece", "tekken") or name.endswith((".model", ".tiktoken"))


def _weights_entry(names: Collection[str], config: ExperimentConfig, explicit: object) -> str:
    """The file that transformers begins with, by its own order of preference."""
    kind = "model.safetensors" if config.pytorch.use_safetensors else "pytorch_model.bin"
    choices = (explicit,) if isinstance(explicit, str) else (kind, kind + _INDEX)
    for choice in choices:
        if choice in names:
            return choice
    raise ModelRefusedError(
        f"{config.model}: holds neither {' nor '.join(choices)}: add the weights, or set weights: random"
    )


def _indexed(folder: Path, needed: Needed) -> dict[str, set[str]]:
    """The tensors that each shard must hold."""
    tensors: dict[str, set[str]] = {}
    for name in needed.weights[:1]:
        if name.endswith(_INDEX) and (folder / name).is_file():
            for tensor, shard in _json(folder / name).get("weight_map", {}).items():
                tensors.setdefault(shard, set()).add(tensor)
    return tensors


def _damage(path: Path, size: int | None, tensors: Iterable[str]) -> str | None:
    try:
        found = path.stat().st_size
        if size is not None and found != size:
            return f"has {found} bytes instead of {size}"
        if path.suffix == ".safetensors":
            # Opening checks that the header parses and that its offsets fill the file exactly.
            with safe_open(str(path), framework="np") as file:
                lacking = sorted(set(tensors) - set(file.keys()))
            return f"lacks {_some(lacking)}" if lacking else None
        if path.name in _PARSED or path.name.endswith(_INDEX):
            json.loads(path.read_bytes())
    except FileNotFoundError:
        return "is missing"
    except (OSError, SafetensorError, ValueError) as exc:
        return f"can't be read ({type(exc).__name__}: {exc})"
    return None


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as exc:
        raise ModelRefusedError(f"{path}: can't be read ({type(exc).__name__}: {exc})") from exc
    if not isinstance(content, dict):
        raise ModelRefusedError(f"{path}: is damaged: it holds no mapping")
    return content


def _some(names: Collection[str]) -> str:
    shown = ", ".join(sorted(names)[:3])
    return shown if len(names) <= 3 else f"{shown}, … ({len(names)} in all)"
