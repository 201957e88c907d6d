"""What every part of a result has in common."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic_core import from_json, to_json


class ResultModel(BaseModel):
    """Frozen, and closed to unknown fields, so that nothing computed is lost under a misspelled name."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


def _as_json(value: object) -> Any:
    return from_json(to_json(value, fallback=str, inf_nan_mode="null"))


JsonDict = Annotated[dict[str, Any], BeforeValidator(_as_json)]
"""A mapping brought to what JSON can hold when it is set, so that reading it back gives an equal one: tuples
become lists, keys text, infinities None, and anything JSON doesn't know its ``str()``."""


def _encodable(value: object) -> object:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


OutsideText = Annotated[str, BeforeValidator(_encodable)]
"""Text from outside, such as a log: bytes that weren't UTF-8 and came in as surrogates are replaced."""
