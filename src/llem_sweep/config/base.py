"""What every model of the configuration has in common."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict


class ConfigModel(BaseModel):
    """Frozen, closed to unknown keys, strict about types, and free of infinities."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class BackendOptions(ConfigModel):
    """Base of a backend's own section in the configuration."""


@dataclass(frozen=True)
class Unhashed:
    """Marks a field that is spelling only: what it means is in other fields, so it doesn't enter identity."""
