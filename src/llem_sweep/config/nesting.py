"""Nested mappings and dotted names: two spellings of one thing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llem_sweep.config.fields import FieldTree


def nest(field: str, value: Any) -> dict[str, Any]:
    """``nest("a.b", 1)`` is ``{"a": {"b": 1}}``."""
    *sections, last = field.split(".")
    nested = {last: value}
    for section in reversed(sections):
        nested = {section: nested}
    return nested


def deep_merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A new mapping of both; where both have a key ``over`` wins, mappings being merged in turn."""
    merged = dict(under)
    for key, value in over.items():
        present = merged.get(key)
        if isinstance(present, dict) and isinstance(value, dict):
            merged[key] = deep_merge(present, value)
        else:
            merged[key] = value
    return merged


def flatten(mapping: Mapping[str, Any], tree: FieldTree, prefix: str = "") -> dict[str, Any]:
    """Dotted name to value of everything in ``mapping``; mappings that are values in themselves stay whole."""
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        below = tree.get(key)
        if below is not None and isinstance(value, dict) and value:
            flat |= flatten(value, below, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def unfold(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """``mapping`` with the dotted keys of its first level nested."""
    nested: dict[str, Any] = {}
    for key, value in mapping.items():
        nested = deep_merge(nested, nest(key, value))
    return nested
