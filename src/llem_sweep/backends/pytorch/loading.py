"""A model and its tokenizer, from the Hub or a local folder, with trained or random weights."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from llem_sweep.backends.pytorch.adapters import Adapter, put_on
from llem_sweep.backends.pytorch.extras import require_installed
from llem_sweep.backends.pytorch.faults import Translated
from llem_sweep.backends.pytorch.fetch import Source, fetch_files
from llem_sweep.backends.pytorch.fp8 import (
    fp8_settings,
    is_fp8,
    kept_quantisation,
    require_fp8_boards,
    require_fp8_weights,
)
from llem_sweep.backends.pytorch.placement import Placement
from llem_sweep.backends.pytorch.quantisation import (
    quantisation_arguments,
    quantised_already,
    random_quantised,
)
from llem_sweep.backends.pytorch.tensor import divided, require_tensor_plan
from llem_sweep.config.experiment import ExperimentConfig, Precision
from llem_sweep.config.placing import board_limits
from llem_sweep.errors import GpuMemoryError, ModelLoadError

DTYPES: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp8": torch.bfloat16,
}
"""What is computed and cached; of weights in fp8 also what isn't quantised."""


from_config: Callable[..., PreTrainedModel] = AutoModelForCausalLM.from_config
"""Builds a model of random weights from its configuration."""

_without_progress_bars: Callable[[], None] = transformers_logging.disable_progress_bar
"""Bars of loading and downloading would be drawn over the driver's view."""


class SpecialTokens(NamedTuple):
    """Token ids with a meaning for generation."""

    eos: tuple[int, ...]
    """All ids that end a sequence; may be empty."""
    pad: int
    """Fills rows up; may equal an end of sequence, so it is never told apart by its id."""
    bos: int | None


class Parts(NamedTuple):
    """What loading yields."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    special: SpecialTokens
    commit: str | None = None
    """On the Hub; None for a local folder."""
    adapter: dict[str, Any] | None = None
    """What was put on the model, JSON-ready."""


def load_parts(config: ExperimentConfig, placement: Placement, source: Source | None = None) -> Parts:
    """Load model and tokenizer onto ``placement``, from the files that ``source`` names; by default fetched here.

    Raises ModelLoadError, GpuMemoryError (also where layers would spill off the boards) or DeviceFaultError.
    """
    # Weights come from the revision asked for or not at all: transformers would else fetch a conversion bot's.
    os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "1"
    _without_progress_bars()
    put: dict[str, Any] | None = None
    require_installed(config)
    if config.precision == "fp8":
        with Translated(f"loading {config.model}", ModelLoadError):
            require_fp8_boards(placement)
    source = source or fetch_files(config)
    with Translated(f"loading {config.model}", ModelLoadError):
        # For config, weights and tokenizer alike: which files are read, and whether code among them may run.
        hub = {"trust_remote_code": config.pytorch.trust_remote_code, **source.arguments}
        tokenizer = AutoTokenizer.from_pretrained(config.model, **hub)
        build = _random if config.weights == "random" else _pretrained
        model = build(config, placement, hub)
        if config.lora is not None and source.adapter is not None:
            adapter = Adapter(config.lora, source.adapter)
            model, put = put_on(model, adapter, placement.device, DTYPES[config.precision])
        model.train(False)
    if config.precision == "fp8":
        require_fp8_weights(model)
    if placement.boards:
        _refuse_spilling(model, config)
    special = special_tokens(model, tokenizer)
    # generate() fills whatever a call leaves open from here: nothing of the model folder's own may leak in.
    model.generation_config = GenerationConfig.from_dict({})
    return Parts(model, tokenizer, special, source.arguments.get("revision"), put)


def _pretrained(config: ExperimentConfig, placement: Placement, hub: dict[str, Any]) -> PreTrainedModel:
    shape = _shape(config, placement, hub)
    explicit = getattr(shape, "transformers_weights", None)
    if config.pytorch.use_safetensors and explicit and ".safetensors" not in explicit:
        raise ModelLoadError(f"loading {config.model}: its config names {explicit}, which isn't safetensors")
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        config.model,
        config=shape,
        use_safetensors=config.pytorch.use_safetensors,
        **hub,
        **_build_arguments(config),
        **_load_arguments(config, placement, shape),
    )
    return model


def _shape(config: ExperimentConfig, placement: Placement, hub: dict[str, Any]) -> PreTrainedConfig:
    shape: PreTrainedConfig = AutoConfig.from_pretrained(config.model, **hub)
    if placement.processes > 1:
        require_tensor_plan(shape, config.model, placement.processes)
    if refused := quantised_already(kept_quantisation(shape), config):
        raise ModelLoadError(f"loading {config.model}: {refused}")
    return shape


def _random(config: ExperimentConfig, placement: Placement, hub: dict[str, Any]) -> PreTrainedModel:
    shape = _shape(config, placement, hub)
    build = {"trust_remote_code": config.pytorch.trust_remote_code, **_build_arguments(config)}
    spread = _load_arguments(config, placement, shape)
    torch.manual_seed(config.random_seed)
    if "quantization_config" in spread:
        whole = from_config(shape, **build)
        return random_quantised(whole, shape, _build_arguments(config) | spread)
    if spread in ({}, {"device_map": {"": placement.device}}):
        with torch.device(placement.device):
            return from_config(shape, **build)
    return random_over(shape, build, spread)


def random_over(shape: PreTrainedConfig, build: dict[str, Any], spread: dict[str, Any]) -> PreTrainedModel:
    """A model of random weights, each initialised on the device that ``spread`` gives its layer."""
    with torch.device("meta"):
        kind = type(from_config(shape, **build))
    build = {name: value for name, value in build.items() if name != "trust_remote_code"}
    level = transformers_logging.get_verbosity()
    # Every weight is meant to be missing: the report of missing weights would only alarm.
    transformers_logging.set_verbosity(logging.CRITICAL)
    try:
        model: PreTrainedModel = kind.from_pretrained(None, config=shape, state_dict={}, **build, **spread)
    finally:
        transformers_logging.set_verbosity(level)
    return model


def _build_arguments(config: ExperimentConfig) -> dict[str, Any]:
    arguments: dict[str, Any] = {"dtype": DTYPES[config.precision]}
    attention = config.pytorch.attn_implementation
    return arguments | ({"attn_implementation": attention} if attention else {})


def _load_arguments(
    config: ExperimentConfig, placement: Placement, shape: PreTrainedConfig
) -> dict[str, Any]:
    """How from_pretrained() loads weights: quantised or not, and onto which devices."""
    return _quantised(config, shape) | _spread(config, placement)


def _quantised(config: ExperimentConfig, shape: PreTrainedConfig) -> dict[str, Any]:
    if config.precision != "fp8":
        return quantisation_arguments(config.pytorch)
    if is_fp8(shape):
        # What its config.json says of its layers would be replaced by what it is told here.
        return {}
    with torch.device("meta"):
        outline = from_config(
            shape, trust_remote_code=config.pytorch.trust_remote_code, **_build_arguments(config)
        )
    return {"quantization_config": fp8_settings(outline)}


def _spread(config: ExperimentConfig, placement: Placement) -> dict[str, Any]:
    """Where from_pretrained() puts layers: on the CPU, straight onto one board, spread over several, where the
    configuration says, or each process's part of them onto its own device."""
    if placement.processes > 1:
        return divided(placement.processes)
    if placement.boards == 0:
        return _on_cpu(config, placement)
    options = config.pytorch
    if isinstance(options.device_map, dict):
        return {"device_map": options.device_map}
    if placement.boards == 1 and options.device_map is None and options.max_memory is None:
        return {"device_map": {"": placement.device}}
    if options.max_memory is not None:
        limits = {int(board): size for board, size in board_limits(options.max_memory).items()}
    else:
        limits = {board: torch.cuda.mem_get_info(board)[0] for board in range(placement.boards)}
    return {"device_map": options.device_map or "auto", "max_memory": limits}


def _on_cpu(config: ExperimentConfig, placement: Placement) -> dict[str, Any]:
    options = config.pytorch
    simulated = config.gpus > 0 and options.device != "cpu"
    if options.device_map is not None and not simulated:
        # Nothing else than the CPU is valid there; simulated boards hold no layers.
        return {"device_map": options.device_map}
    # Left to itself, what is quantised goes to a board of its own choice.
    return {} if options.bits is None else {"device_map": {"": placement.device}}


def _refuse_spilling(model: PreTrainedModel, config: ExperimentConfig) -> None:
    """Raise where a weight isn't on a board: what has no room, or has no place in a map, is kept elsewhere.

    The weights are asked, because only a model on several devices tells its layout.
    """
    weights = dict(model.named_parameters())
    off = [name for name, weight in weights.items() if weight.device.type != "cuda"]
    if not off:
        return
    found = f"loading {config.model}: {len(off)} of {len(weights)} weights"
    if isinstance(config.pytorch.device_map, dict):
        raise ModelLoadError(
            f"{found} are given no board by pytorch.device_map, from {off[0]}: name their part"
        )
    raise GpuMemoryError(
        f"{found} don't fit on the boards, from {off[0]}: raise gpus or pytorch.max_memory, or take a smaller"
        " precision"
    )


def special_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> SpecialTokens:
    """The ids to stop at and to fill up with: the model's own, else the tokenizer's.

    A padding id outside the embedding (or none) is replaced by the end of sequence, or by 0.
    """
    own = model.generation_config
    given = next(
        (
            ids
            for ids in (own.eos_token_id, model.config.eos_token_id, tokenizer.eos_token_id)
            if ids is not None
        ),
        (),
    )
    eos = (given,) if isinstance(given, int) else tuple(given)
    size = vocabulary_size(model)
    candidates = (tokenizer.pad_token_id, own.pad_token_id, *eos, 0)
    pad = next(int(token) for token in candidates if token is not None and 0 <= token < size)
    return SpecialTokens(eos, pad, tokenizer.bos_token_id)


def vocabulary_size(model: PreTrainedModel) -> int:
    """Token ids that the model has an embedding for."""
    return int(model.get_input_embeddings().get_parameter("weight").shape[0])
