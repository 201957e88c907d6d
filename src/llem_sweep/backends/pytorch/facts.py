"""What is known of a model from its configuration alone, on the meta device."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub import hf_hub_download
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from llem_sweep.backends.pytorch.activations import activations_of
from llem_sweep.backends.pytorch.caches import cache_layers
from llem_sweep.backends.pytorch.chat import has_template
from llem_sweep.backends.pytorch.faults import Translated
from llem_sweep.backends.pytorch.fetch import checked_cache
from llem_sweep.backends.pytorch.files import Wanted, adapter_of, check_entry, check_folder, model_of
from llem_sweep.backends.pytorch.fp8 import fp8_bytes
from llem_sweep.backends.pytorch.hub import Asking, Listing, look
from llem_sweep.backends.pytorch.loading import DTYPES, from_config
from llem_sweep.backends.pytorch.quantisation import quantised_already, quantised_bytes
from llem_sweep.backends.pytorch.support import fixed_cache
from llem_sweep.backends.pytorch.tensor import divided_heads, has_tensor_plan
from llem_sweep.config.contents import is_local
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.errors import BackendError, HubUnreachableError, ModelRefusedError
from llem_sweep.plan.types import ModelFacts


class _Place(NamedTuple):
    """A model that can be had on this node."""

    arguments: dict[str, Any]
    """What makes transformers read its configuration here, without asking anybody."""
    find: Callable[[str], Path | None]
    """Where its file of a name can be read, None where it has none; may fetch it. Raises HubUnreachableError."""
    problem: str | None = None
    """What keeps it from being loaded all the same."""


def describe(config: ExperimentConfig, *, ask_hub: bool = True) -> ModelFacts:
    """Facts on the model of ``config``; a problem only where it is certain for every node.

    Runs no code of the model's, downloads the configuration of model and tokenizer at most, and waits a few
    seconds for a Hub that doesn't answer; without ``ask_hub`` the Hub is taken to be one.
    """
    try:
        place = _place(model_of(config), ask_hub=ask_hub)
        if (adapter := adapter_of(config)) is not None:
            place = place._replace(problem=place.problem or _place(adapter, ask_hub=ask_hub).problem)
        in_template = has_template(place.find)
    except HubUnreachableError as exc:
        return ModelFacts(absent=str(exc))
    except ModelRefusedError as exc:
        return ModelFacts(problem=str(exc))
    try:
        with Translated("config.json can't be read"):
            raw, _ = PreTrainedConfig.get_config_dict(config.model, **place.arguments)
    except BackendError as exc:
        return ModelFacts(problem=f"{config.model}: {exc}")
    refused = _refused(raw, config)
    if refused or "auto_map" in raw:
        return ModelFacts(problem=refused or place.problem)
    try:
        with Translated("config.json makes no causal language model"):
            known = _measure(config, raw, place.arguments)
    except BackendError as exc:
        return ModelFacts(problem=f"{config.model}: {exc}")
    return known._replace(problem=place.problem, chat_template=in_template)


def _place(wanted: Wanted, *, ask_hub: bool) -> _Place:
    return _local(wanted) if is_local(wanted.name) else _on_hub(wanted, ask_hub=ask_hub)


def _local(wanted: Wanted) -> _Place:
    folder = Path(wanted.name)
    check_entry(folder, wanted)
    place = _Place({}, partial(_in_folder, folder))
    try:
        check_folder(folder, wanted)
    except ModelRefusedError as exc:
        return place._replace(problem=str(exc))
    return place


def _in_folder(folder: Path, name: str) -> Path | None:
    return folder / name if (folder / name).is_file() else None


def _on_hub(wanted: Wanted, *, ask_hub: bool) -> _Place:
    """The configuration at the Hub's commit, or at the commit that the cache holds whole where the Hub can't help.

    Raises ModelRefusedError or HubUnreachableError.
    """
    model = wanted.name
    try:
        if not ask_hub:
            raise HubUnreachableError("the Hub wasn't asked, because it didn't answer for another model")
        listing = look(model, wanted.revision, wanted.entry)
    except (HubUnreachableError, ModelRefusedError) as exc:
        folder = checked_cache(wanted, exc)
        return _Place(_pinned(folder.name), partial(_in_folder, folder))
    with Asking(f"reading {model}", HubUnreachableError):
        hf_hub_download(model, wanted.entry, revision=listing.commit)
        place = _Place(_pinned(listing.commit), partial(_fetched, model, listing))
        try:
            wanted.needed(
                listing.sizes.keys(),
                lambda name: Path(hf_hub_download(model, name, revision=listing.commit)),
            )
        except ModelRefusedError as exc:
            return place._replace(problem=str(exc))
    return place


def _pinned(commit: str) -> dict[str, Any]:
    return {"revision": commit, "local_files_only": True}


def _fetched(model: str, listing: Listing, name: str) -> Path | None:
    if name not in listing.sizes:
        return None
    with Asking(f"reading {model}", HubUnreachableError):
        return Path(hf_hub_download(model, name, revision=listing.commit))


def _refused(raw: dict[str, Any], config: ExperimentConfig) -> str | None:
    if quantised := quantised_already(_kept(raw), config):
        return f"{config.model}: {quantised}"
    kind = raw.get("model_type")
    if kind in CONFIG_MAPPING:
        return None
    if "auto_map" not in raw:
        return f"{config.model}: this version of transformers doesn't know the architecture {kind!r}"
    if config.pytorch.trust_remote_code:
        return None
    return (
        f"{config.model}: the architecture {kind!r} needs code from the model's folder: set "
        "pytorch.trust_remote_code and give --allow-remote-code"
    )


def _measure(config: ExperimentConfig, raw: dict[str, Any], arguments: dict[str, Any]) -> ModelFacts:
    shape = AutoConfig.from_pretrained(config.model, trust_remote_code=False, **arguments)
    dtype = DTYPES[config.precision]
    with torch.device("meta"):
        outline = from_config(shape, dtype=dtype, trust_remote_code=False)
    return ModelFacts(
        parameters=sum(parameter.numel() for parameter in outline.parameters()),
        weight_bytes=_weight_bytes(outline, config, _kept(raw)),
        cache=cache_layers(shape.get_text_config(), dtype),
        activations=activations_of(outline, written_out=config.pytorch.attn_implementation == "eager"),
        tensor_plan=has_tensor_plan(shape),
        divided_heads=divided_heads(shape),
        vocabulary=getattr(shape.get_text_config(), "vocab_size", None),
        fixed_cache=fixed_cache(outline),
    )


def _kept(raw: dict[str, Any]) -> dict[str, Any] | None:
    """What a config.json says of how its weights are quantised."""
    kept: dict[str, Any] | None = raw.get("quantization_config")
    return kept or (raw.get("text_config") or {}).get("quantization_config")


def _weight_bytes(
    outline: PreTrainedModel, config: ExperimentConfig, kept: dict[str, Any] | None
) -> int | None:
    """Of ``outline`` loaded as ``config`` says; ``kept`` is the quantization_config of its config.json."""
    if config.precision == "fp8":
        return fp8_bytes(outline, kept)
    if config.pytorch.bits is not None:
        return quantised_bytes(outline, config.pytorch)
    if kept is not None and config.weights == "pretrained":
        # Such checkpoints hold other types than the architecture: their size isn't known from here.
        return None
    return sum(parameter.nbytes for parameter in outline.parameters())
