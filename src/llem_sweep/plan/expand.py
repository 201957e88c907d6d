"""From a sweep to its plan: every experiment in order. Pure: reads no file and asks no network."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from pydantic import ValidationError

from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.explain import explain
from llem_sweep.config.fields import FieldTree, experiment_tree
from llem_sweep.config.identity import canonical_config, hash_config, hash_experiment
from llem_sweep.config.nesting import flatten
from llem_sweep.config.sweep import SweepConfig
from llem_sweep.errors import ConfigError, Problem
from llem_sweep.plan.cycles import design_hash, run_order
from llem_sweep.plan.exclude import exclusion
from llem_sweep.plan.points import grid_points
from llem_sweep.plan.types import PlannedExperiment, SkippedPoint, SweepPlan
from llem_sweep.plan.values import compact
from llem_sweep.plan.varied import varied_values
from llem_sweep.plan.warnings import plan_warnings

_REASONS_SHOWN = 20


class _Grid(NamedTuple):
    """The distinct valid points of a grid, and what became of the others."""

    configs: list[ExperimentConfig]
    canonical: list[str]
    """Of each configuration, the form its identity is taken of."""
    given: list[dict[str, Any]]
    """Of each configuration, dotted fields and values that set it apart, as written."""
    skipped: list[SkippedPoint]
    merged: int
    unmatched: list[int]
    """Entries of ``exclude``, from 1, that left nothing out."""


def plan_sweep(sweep: SweepConfig) -> SweepPlan:
    """Every experiment of ``sweep``, one per point and cycle, in the order to run them.

    Points that aren't valid are left out with the reason; equal points are merged into the first. Raises
    ConfigError when no point is valid, or when the grid is larger than ``execution.max_experiments``.
    """
    _check_size(sweep)
    grid = _expand(sweep)
    if not grid.configs:
        raise ConfigError(_no_points(grid))
    hashes = [hash_config(canonical) for canonical in grid.canonical]
    varied = varied_values(grid.configs, grid.given)
    design = design_hash(hashes, sweep.execution)
    models = [config.model for config in grid.configs]
    experiments = tuple(
        PlannedExperiment(
            experiment_id=hash_experiment(grid.canonical[point], cycle),
            config_hash=hashes[point],
            config=grid.configs[point],
            cycle=cycle,
            varied=varied[point],
        )
        for point, cycle in run_order(models, sweep.execution, design)
    )
    return SweepPlan(
        name=sweep.name,
        experiments=experiments,
        skipped=tuple(grid.skipped),
        merged=grid.merged,
        design_hash=design,
        execution=sweep.execution,
        warnings=(*sweep.warnings, *plan_warnings(grid.configs, len(grid.skipped), grid.unmatched)),
        contents=dict(sweep.contents),
        points=tuple(hashes),
    )


def _check_size(sweep: SweepConfig) -> None:
    size = sweep.grid_size * sweep.execution.n_cycles
    if size > sweep.execution.max_experiments:
        raise ConfigError(
            f"the grid has {size} experiments, more than execution.max_experiments allows "
            f"({sweep.execution.max_experiments}): vary less, or raise it"
        )


def _expand(sweep: SweepConfig) -> _Grid:
    grid = _Grid([], [], [], [], merged=0, unmatched=[])
    tree = experiment_tree()
    exclusions = [exclusion(entry) for entry in sweep.exclude]
    unused = set(range(len(exclusions)))
    seen: set[str] = set()
    merged = 0
    for point in grid_points(sweep):
        config, reason = _validated(point.given, tree)
        if point.excludable and exclusions:
            hits = {i for i, entry in enumerate(exclusions) if entry.matches(config or point.given)}
            unused -= hits
            if hits:
                continue
        own = flatten(point.own, tree)
        if config is None:
            grid.skipped.append(SkippedPoint({key: compact(value) for key, value in own.items()}, reason))
            continue
        canonical = canonical_config(config, sweep.contents)
        if canonical in seen:
            merged += 1
            continue
        seen.add(canonical)
        grid.configs.append(config)
        grid.canonical.append(canonical)
        grid.given.append(own)
    return grid._replace(merged=merged, unmatched=sorted(i + 1 for i in unused))


def _validated(given: dict[str, Any], tree: FieldTree) -> tuple[ExperimentConfig | None, str]:
    """The configuration of a point, or None and why it isn't one."""
    try:
        return ExperimentConfig.model_validate(given), ""
    except ValidationError as error:
        return None, "; ".join(str(found) for found in explain(error, tree))


def _no_points(grid: _Grid) -> list[Problem]:
    if not grid.skipped:
        return [Problem("exclude leaves out every point", field="exclude")]
    reasons = Counter(point.reason for point in grid.skipped).most_common(_REASONS_SHOWN)
    return [
        Problem(f"no point of the grid is valid ({count} of {len(grid.skipped)}): {reason}")
        for reason, count in reasons
    ]
