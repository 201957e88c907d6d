"""What an experiment's prompts come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Discriminator, Field, Tag, model_validator

from llem_sweep.config.base import ConfigModel
from llem_sweep.config.contents import LOCAL_PREFIXES, is_local

BUILTIN_DATASET = "builtin"


class SyntheticDataset(ConfigModel):
    """Requests of exact length: every prompt ``input_len`` tokens, every answer ``output_len`` tokens."""

    n: int = Field(default=100, ge=1)
    """Number of requests."""
    input_len: int = Field(default=512, ge=1)
    """Tokens in every prompt."""
    output_len: int = Field(default=128, ge=1)
    """Tokens in every answer; an end-of-sequence token can't cut it short."""
    seed: int = Field(default=42, ge=0)
    """Seed of the random token ids."""


class FileDataset(ConfigModel):
    """Prompts of a file."""

    path: str = Field(min_length=1)
    """A ``.jsonl`` or ``.txt`` file, starting with ``./``, ``../`` or ``/`` (relative to the YAML file)."""
    chat_template: bool = False
    """Put each prompt as a user's message into the chat template of the model's tokenizer."""

    @model_validator(mode="after")
    def _is_a_path(self) -> Self:
        if not is_local(self.path):
            raise ValueError(f"path must start with {', '.join(LOCAL_PREFIXES)}: give a Hub dataset as name")
        return self


class HubDataset(ConfigModel):
    """A dataset from the Hugging Face Hub, which needs the ``datasets`` extra, or ``builtin``."""

    name: str = Field(min_length=1)
    """Its name on the Hub, or ``builtin``."""
    split: str = "train"
    """Of a data set on the Hub."""
    column: str | None = None
    """Column that holds the prompt; by default the first of prompt, text, question, instruction."""
    chat_template: bool = False
    """Put each prompt as a user's message into the chat template of the model's tokenizer."""

    @model_validator(mode="after")
    def _builtin_has_no_parts(self) -> Self:
        if self.name == BUILTIN_DATASET and (self.split != "train" or self.column is not None):
            raise ValueError("split and column choose among a Hub dataset's parts, and builtin has none")
        return self


def _kind_of_dataset(given: Any) -> str | None:
    if isinstance(given, str):
        return "name"
    if isinstance(given, dict):
        if "path" in given:
            return "file"
        return "hub" if {"name", "split", "column", "chat_template"} & given.keys() else "lengths"
    if isinstance(given, FileDataset):
        return "file"
    if isinstance(given, HubDataset):
        return "hub"
    return "lengths" if isinstance(given, SyntheticDataset) else None


Dataset = Annotated[
    Annotated[str, Field(min_length=1), Tag("name")]
    | Annotated[SyntheticDataset, Tag("lengths")]
    | Annotated[FileDataset, Tag("file")]
    | Annotated[HubDataset, Tag("hub")],
    Discriminator(
        _kind_of_dataset,
        custom_error_type="dataset_kind",
        custom_error_message=(
            "Input should be a name, a path, or a mapping with name, path, or n, input_len and output_len"
        ),
    ),
]


def asked_by_lengths(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an experiment, as ``given``, that follow from a dataset of exact lengths; none by another one.

    Raises ValueError where ``n`` is given besides, and differs.
    """
    dataset = given.get("dataset")
    if isinstance(dataset, SyntheticDataset):
        dataset = dataset.model_dump()
    if not isinstance(dataset, dict) or _kind_of_dataset(dataset) != "lengths":
        return {}
    default = SyntheticDataset()
    n = dataset.get("n", default.n)
    if "n" in given and given["n"] != n:
        raise ValueError(f"n is {given['n']} but dataset.n is {n}: give one of them")
    return {
        "n": n,
        "max_input_tokens": dataset.get("input_len", default.input_len),
        "max_output_tokens": dataset.get("output_len", default.output_len),
    }


def no_template(model: str) -> str:
    """Why prompts can't be put into the chat template of ``model``, whose tokenizer has none."""
    return (
        f"dataset.chat_template: the tokenizer of {model} has no chat template: take an instruction-tuned model,"
        " or leave it out"
    )
