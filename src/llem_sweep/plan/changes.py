"""What differs between two plans, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llem_sweep.config.fields import experiment_tree, model_tree
from llem_sweep.config.nesting import flatten
from llem_sweep.config.sweep import ExecutionConfig
from llem_sweep.plan.types import PlannedExperiment, SweepPlan
from llem_sweep.plan.values import compact, same

_SHOWN = 10
_Points = dict[str, PlannedExperiment]


def plan_changes(old: SweepPlan, new: SweepPlan) -> list[str]:
    """One sentence for each difference that ``new`` shows against ``old``; empty when both plan the same work in
    the same order with the same settings."""
    changes: list[str] = []
    if old.name != new.name:
        changes.append(f"the name was {old.name}, now {new.name}")
    changes += setting_changes(old, new)
    for path in sorted(old.contents.keys() & new.contents.keys()):
        if old.contents[path] != new.contents[path]:
            changes.append(f"the content of {path} has changed")
    changes += _points(old, new)
    if not changes and [e.experiment_id for e in old.experiments] != [
        e.experiment_id for e in new.experiments
    ]:
        changes.append("the experiments are the same but in another order")
    return changes


def setting_changes(old: SweepPlan, new: SweepPlan) -> Iterator[str]:
    """One sentence for each execution setting that differs."""
    before, now = old.execution.model_dump(), new.execution.model_dump()
    for field in model_tree(ExecutionConfig):
        if before[field] != now[field]:
            yield f"execution.{field} was {_shown(before[field])}, now {_shown(now[field])}"


def _points(old: SweepPlan, new: SweepPlan) -> Iterator[str]:
    before = {experiment.config_hash: experiment for experiment in old.experiments}
    now = {experiment.config_hash: experiment for experiment in new.experiments}
    removed = {key: point for key, point in before.items() if key not in now}
    added = {key: point for key, point in now.items() if key not in before}
    for change, points in _changed_fields(removed, added).items():
        yield f"{change} in {points} point{'s' if points > 1 else ''}"
    yield from _listed("is no longer there", removed)
    yield from _listed("is new", added)


def _changed_fields(removed: _Points, added: _Points) -> dict[str, int]:
    """Fields that changed in points that go by the same varied values, each with the number of points; such
    points are taken out of ``removed`` and ``added``."""
    counts: dict[str, int] = {}
    by_label = {_label(point): key for key, point in added.items()}
    for key, point in list(removed.items()):
        twin = by_label.pop(_label(point), None)
        if twin is None:
            continue
        fields = _differences(_flat(removed.pop(key)), _flat(added.pop(twin)))
        for change in fields:
            counts[change] = counts.get(change, 0) + 1
    return counts


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for field in dict.fromkeys((*before, *now)):
        if not same(before.get(field), now.get(field)):
            yield f"{field} was {_shown(before.get(field))}, now {_shown(now.get(field))}"


def _flat(experiment: PlannedExperiment) -> dict[str, Any]:
    return flatten(experiment.config.model_dump(mode="json"), experiment_tree())


def _listed(what: str, points: _Points) -> Iterator[str]:
    labels = [_label(point) for point in points.values()]
    yield from (f"the point {label} {what}" for label in labels[:_SHOWN])
    if len(labels) > _SHOWN:
        yield f"and {len(labels) - _SHOWN} more: each {what}"


def _label(experiment: PlannedExperiment) -> str:
    return (
        ", ".join(f"{field}={value}" for field, value in experiment.varied.items()) or experiment.config.model
    )


def _shown(value: Any) -> str:
    return "not given" if value is None else str(compact(value))
