"""The LoRA adapter of an experiment."""

from __future__ import annotations

from typing import Self

from pydantic import Field, field_validator, model_validator

from llem_sweep.config.base import ConfigModel
from llem_sweep.config.contents import is_local


class LoraConfig(ConfigModel):
    """A LoRA adapter put on the model; needs the ``peft`` extra."""

    adapter_id: str | None = Field(default=None, min_length=1)
    """Its name on the Hub."""
    adapter_path: str | None = Field(default=None, min_length=1)
    """Its folder, relative to the YAML file."""
    revision: str | None = Field(default=None, min_length=1)
    """Branch, tag or commit on the Hub; by default its main branch, whatever ``pytorch.revision`` says."""
    merge_weights: bool = False
    """Add the adapter to the weights while loading, so that a pass costs what it does without; by default its own
    products are computed in every pass."""

    @field_validator("adapter_path")
    @classmethod
    def _is_a_path(cls, given: str | None) -> str | None:
        return given if given is None or is_local(given) else f"./{given}"

    @model_validator(mode="after")
    def _one_adapter(self) -> Self:
        if (self.adapter_id is None) == (self.adapter_path is None):
            raise ValueError("give either adapter_id (a name on the Hub) or adapter_path (a folder)")
        if self.adapter_id is not None and is_local(self.adapter_id):
            raise ValueError("adapter_id is a name on the Hub: give a folder as adapter_path")
        if self.revision is not None and self.adapter_id is None:
            raise ValueError("revision chooses among those on the Hub: adapter_path has none")
        return self
