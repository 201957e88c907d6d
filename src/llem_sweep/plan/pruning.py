"""Which points can only run out of memory when another one has."""

from __future__ import annotations

from typing import Any

from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.plan.precision import WEIGHT_BYTES

_IRRELEVANT = {
    "n",
    "random_seed",
    "dataset_order",
    "decoder",
    "warmup",
    "baseline",
    "measurement",
    "energy",
    "sampling",
    "save_outputs",
    "gpus",
    "precision",
    "max_input_tokens",
    "max_output_tokens",
}
"""Fields that memory doesn't follow, and those that :func:`_demands` holds."""


def needs_at_least(config: ExperimentConfig, other: ExperimentConfig) -> bool:
    """Whether ``config`` needs at least as much GPU memory of each board as ``other`` in every respect.

    Weights, rows and tokens per row are compared; where the two differ in anything else, nothing is said.
    """
    if config.gpus > other.gpus or _kind(config) != _kind(other):
        return False
    return all(one >= two for one, two in zip(_demands(config), _demands(other), strict=True))


def _demands(config: ExperimentConfig) -> tuple[int, ...]:
    rows = min(config.pytorch.batch_size, config.n) * config.pytorch.num_beams
    return (WEIGHT_BYTES[config.precision], rows, config.max_input_tokens, config.max_output_tokens)


def _kind(config: ExperimentConfig) -> dict[str, Any]:
    """Everything else that memory may follow."""
    fields = config.model_dump(mode="json", exclude=_IRRELEVANT)
    # Quantising takes memory of its own, while loading and in products: no less than what isn't quantised.
    fields["quantised"] = config.precision == "fp8"
    fields["pytorch"] = {
        name: value for name, value in fields["pytorch"].items() if name not in ("batch_size", "num_beams")
    }
    fields["synthetic"] = {
        name: value
        for name, value in fields["synthetic"].items()
        if name not in ("run_seconds", "load_seconds", "output_tokens")
    }
    if isinstance(fields["dataset"], dict):
        # Its lengths are the general fields; its number of requests and seed take no memory.
        source = ("name", "split", "column", "path", "chat_template")
        fields["dataset"] = {name: fields["dataset"].get(name) for name in source}
    return fields
