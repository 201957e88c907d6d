"""A smaller model that guesses ahead for the model measured (speculative decoding)."""

from __future__ import annotations

from typing import Any

from transformers import GenerationConfig

from llem_sweep.backends.pytorch.fetch import Source
from llem_sweep.backends.pytorch.generation import ASSISTANT_SETTINGS
from llem_sweep.backends.pytorch.loading import Parts, load_parts, vocabulary_size
from llem_sweep.backends.pytorch.placement import Placement
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.options import PyTorchOptions
from llem_sweep.errors import ModelLoadError
from llem_sweep.plan.types import ModelFacts


def assistant_of(config: ExperimentConfig) -> ExperimentConfig | None:
    """What loads the assistant of ``config``: as the model itself, in the same precision, without its revision."""
    name = config.pytorch.assistant_model
    if name is None:
        return None
    same = ("device", "attn_implementation", "trust_remote_code", "use_safetensors")
    options = PyTorchOptions(**{field: getattr(config.pytorch, field) for field in same})
    return config.model_copy(update={"model": name, "pytorch": options, "lora": None})


def load_assistant(
    config: ExperimentConfig, placement: Placement, main: Parts, source: Source | None = None
) -> Parts:
    """Load ``config``, which :func:`assistant_of` gave, beside the model that it is to guess for.

    Raises ModelLoadError also where the two don't have the same tokens.
    """
    parts = load_parts(config, placement, source)
    sizes = vocabulary_size(main.model), vocabulary_size(parts.model)
    if sizes[0] != sizes[1] or main.tokenizer.get_vocab() != parts.tokenizer.get_vocab():
        raise ModelLoadError(f"loading {config.model}: {_other_tokens(config.model, *sizes)}")
    return parts


def tell_assistant(assistant: Parts, config: ExperimentConfig) -> None:
    """Give the assistant what ``passthrough_kwargs`` says of it, and nothing of an earlier experiment's."""
    assistant.model.generation_config = GenerationConfig.from_dict(_settings(config))


def effective_assistant(assistant: Parts, config: ExperimentConfig) -> dict[str, Any]:
    """What was made of it, JSON-ready."""
    return {
        "model": config.pytorch.assistant_model,
        "commit": assistant.commit,
        "model_class": type(assistant.model).__name__,
        "dtype": str(assistant.model.dtype).removeprefix("torch."),
        **_settings(config),
    }


def _settings(config: ExperimentConfig) -> dict[str, Any]:
    return {name: value for name, value in config.passthrough_kwargs.items() if name in ASSISTANT_SETTINGS}


def beside(main: ModelFacts, assistant: ModelFacts, name: str) -> ModelFacts:
    """The facts of a model that the one called ``name`` assists: what both take, and what keeps either away."""
    if main.problem or main.absent:
        return main
    if assistant.problem or assistant.absent:
        return main._replace(problem=assistant.problem, absent=assistant.absent)
    sizes = main.vocabulary, assistant.vocabulary
    if None not in sizes and sizes[0] != sizes[1]:
        return main._replace(problem=f"{name}: {_other_tokens(name, *sizes)}")
    return main._replace(
        weight_bytes=(
            None
            if main.weight_bytes is None or assistant.weight_bytes is None
            else main.weight_bytes + assistant.weight_bytes
        ),
        cache=None if main.cache is None or assistant.cache is None else main.cache + assistant.cache,
    )


def _other_tokens(name: str, wanted: int | None, found: int | None) -> str:
    return (
        f"pytorch.assistant_model: {name} has other tokens ({found} of them) than the model that it is to guess"
        f" for ({wanted}): take one of the same family"
    )
