"""A plan that takes in what another file plans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from llem_sweep.config.fields import experiment_tree
from llem_sweep.config.nesting import flatten
from llem_sweep.errors import ConfigError, ResumeError
from llem_sweep.plan.changes import setting_changes
from llem_sweep.plan.cycles import design_hash
from llem_sweep.plan.types import PlannedExperiment, SweepPlan
from llem_sweep.plan.values import same
from llem_sweep.plan.varied import varied_values


class Extension(NamedTuple):
    """What became of a plan."""

    plan: SweepPlan
    added: tuple[PlannedExperiment, ...]
    """Experiments that the earlier plan doesn't hold."""
    left: tuple[PlannedExperiment, ...]
    """Experiments of the earlier plan that the new one doesn't hold. They stay in it."""
    settings: tuple[str, ...]
    """One sentence for each execution setting that is another from now on."""


def extend_plan(old: SweepPlan, new: SweepPlan) -> Extension:
    """``old`` with everything that ``new`` plans: nothing planned is ever taken away.

    The experiments of ``new`` come first, in its order and under its execution settings; those that only ``old``
    holds follow in theirs, with the cycles that they have. The name stays.

    Raises ResumeError when a local model or data set is another than it was: its path can stand for one content
    only. Raises ConfigError when both together are more than ``execution.max_experiments``.
    """
    for path in sorted(old.contents.keys() & new.contents.keys()):
        if old.contents[path] != new.contents[path]:
            raise ResumeError(f"the content of {path} has changed: run it as a new sweep instead")
    before = {each.experiment_id for each in old.experiments}
    now = {each.experiment_id for each in new.experiments}
    added = tuple(each for each in new.experiments if each.experiment_id not in before)
    left = tuple(each for each in old.experiments if each.experiment_id not in now)
    total, limit = len(new.experiments) + len(left), new.execution.max_experiments
    if total > limit:
        raise ConfigError(
            f"the folder would have {total} experiments, more than execution.max_experiments allows ({limit}): "
            "vary less, or raise it"
        )
    plan = new._replace(
        name=old.name,
        experiments=_told_apart(new.experiments, left),
        skipped=tuple({str(each): each for each in (*old.skipped, *new.skipped)}.values()),
        design_hash=_design(new, left),
        warnings=tuple(dict.fromkeys((*old.warnings, *new.warnings))),
        contents={**old.contents, **new.contents},
        points=tuple(dict.fromkeys((*new.points, *old.points))),
    )
    return Extension(plan, added, left, tuple(setting_changes(old, new)))


def _design(new: SweepPlan, left: tuple[PlannedExperiment, ...]) -> str:
    if not left:
        return new.design_hash
    hashes = dict.fromkeys((*new.points, *(each.config_hash for each in left)))
    return design_hash(list(hashes), new.execution)


def _told_apart(
    new: tuple[PlannedExperiment, ...], left: tuple[PlannedExperiment, ...]
) -> tuple[PlannedExperiment, ...]:
    """``new`` and ``left``, whose varied values tell the points of both apart."""
    if not left:
        return new
    both = (*new, *left)
    points = {each.config_hash: each for each in reversed(both)}
    apart = _shared_differences(new, left)
    given = [{field: _flat(each)[field] for field in apart} | each.varied for each in points.values()]
    values = varied_values([each.config for each in points.values()], given)
    varied = dict(zip(points, values, strict=True))
    return tuple(each._replace(varied=varied[each.config_hash]) for each in both)


def _shared_differences(new: Sequence[PlannedExperiment], left: Sequence[PlannedExperiment]) -> list[str]:
    """Fields that all of ``new`` agree on, and all of ``left``, but not with each other.

    Neither side names them as varied. A field on which one side disagrees follows from one that it names.
    """
    one, other = _agreed(new), _agreed(left)
    return [field for field, value in one.items() if field in other and not same(value, other[field])]


def _agreed(experiments: Sequence[PlannedExperiment]) -> dict[str, Any]:
    first, *rest = [_flat(each) for each in {each.config_hash: each for each in experiments}.values()]
    return {
        field: value
        for field, value in first.items()
        if all(field in flat and same(value, flat[field]) for flat in rest)
    }


def _flat(experiment: PlannedExperiment) -> dict[str, Any]:
    return flatten(experiment.config.model_dump(mode="json"), experiment_tree())
