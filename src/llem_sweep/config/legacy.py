"""Values of older study files that mean something else here: accepted, replaced, and said so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from llem_sweep.config.draft import LEGACY_EXECUTION, Draft, legacy_warning
from llem_sweep.config.nodes import Node
from llem_sweep.config.reading import Dimensions, Fields

LEGACY_ENERGY_BACKENDS = ("zeus", "codecarbon")
AIENERGYSCORE = "AIEnergyScore/text_generation"
"""Name on the Hub of what older files call ``aienergyscore``."""

Change = Callable[[str, Node], Node]
"""Makes of a field's dotted name and node the node to put in its place."""


def substitute_legacy(draft: Draft) -> Draft:
    """``draft`` with older values replaced; one warning for each."""
    warnings: list[str] = []

    def substitute(name: str, node: Node) -> Node:
        if name == "energy.backend" and node.value in LEGACY_ENERGY_BACKENDS:
            message = f"{node.value} is read as auto: energy comes from the board's own counter"
            warnings.append(str(node.place.problem(message, name)))
            return Node("auto", node.place)
        if name == "dataset" and node.value == "aienergyscore":
            message = f"aienergyscore is loaded from the Hugging Face Hub as {AIENERGYSCORE}"
            warnings.append(str(node.place.problem(message, name)))
            return Node({"name": Node(AIENERGYSCORE, node.place)}, node.place)
        return node

    draft = change_values(draft, substitute)
    kept: Fields = {}
    for key, node in draft.execution.items():
        if key in LEGACY_EXECUTION:
            warnings.append(legacy_warning(node.place, f"execution.{key}", LEGACY_EXECUTION[key]))
        else:
            kept[key] = node
    return replace(draft, execution=kept).with_warnings(*warnings)


def change_values(draft: Draft, change: Change) -> Draft:
    """``draft`` with ``change`` made to every experiment field and section, in points and dimensions alike."""
    return replace(
        draft,
        shared=_in_fields(draft.shared, change),
        sweep=_in_dimensions(draft.sweep, change),
        zip=_in_dimensions(draft.zip, change),
        exclude=[_in_fields(point, change) for point in draft.exclude],
        experiments=[_in_fields(point, change) for point in draft.experiments],
        include=[_in_fields(point, change) for point in draft.include],
    )


def _in_dimensions(dimensions: Dimensions, change: Change) -> Dimensions:
    return {name: [_in_value(name, value, change) for value in values] for name, values in dimensions.items()}


def _in_fields(fields: Fields, change: Change, prefix: str = "") -> Fields:
    return {key: _in_value(prefix + key, node, change) for key, node in fields.items()}


def _in_value(name: str, node: Node, change: Change) -> Node:
    changed = change(name, node)
    if isinstance(changed.value, dict):
        return Node(_in_fields(changed.value, change, f"{name}."), changed.place)
    return changed
