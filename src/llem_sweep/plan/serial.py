"""A plan as JSON, as it is kept in a sweep's folder, and back."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ConfigDict, Field, ValidationError

from llem_sweep.config.base import ConfigModel
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.explain import explain
from llem_sweep.config.fields import FieldTree, model_tree
from llem_sweep.config.identity import canonical_config, dump_config, hash_config, hash_experiment
from llem_sweep.config.sweep import ExecutionConfig
from llem_sweep.errors import ConfigError, ResumeError
from llem_sweep.plan.types import PlannedExperiment, SkippedPoint, SweepPlan

PLAN_VERSION = 1
_FIRST_ORDER = "sequential"
"""Order of a plan that names none: the default when such plans were made."""


class _Point(ConfigModel):
    config_hash: str
    config: dict[str, Any]
    varied: dict[str, Any]


class _Entry(ConfigModel):
    experiment_id: str
    point: int = Field(ge=0)
    """Index into ``points``."""
    cycle: int = Field(ge=1)


class _Document(ConfigModel):
    """What the file holds."""

    # JSON knows no tuples.
    model_config = ConfigDict(strict=False)

    plan_version: int
    name: str
    design_hash: str
    merged: int
    execution: ExecutionConfig
    contents: dict[str, str]
    warnings: tuple[str, ...]
    skipped: tuple[SkippedPoint, ...]
    points: tuple[_Point, ...]
    experiments: tuple[_Entry, ...] = Field(min_length=1)


def plan_to_json(plan: SweepPlan) -> str:
    """``plan`` as JSON: each point once, experiments as point and cycle. :func:`plan_from_json` gives it back."""
    indices: dict[str, int] = {}
    points: list[dict[str, Any]] = []
    for experiment in plan.by_point:
        if experiment.config_hash not in indices:
            indices[experiment.config_hash] = len(points)
            points.append(
                {
                    "config_hash": experiment.config_hash,
                    "config": dump_config(experiment.config),
                    "varied": experiment.varied,
                }
            )
    document = {
        "plan_version": PLAN_VERSION,
        "name": plan.name,
        "design_hash": plan.design_hash,
        "merged": plan.merged,
        # The order is always written: its default has changed since the first plans.
        "execution": {
            "cycle_order": plan.execution.cycle_order,
            **plan.execution.model_dump(mode="json", exclude_defaults=True),
        },
        "contents": dict(plan.contents),
        "warnings": plan.warnings,
        "skipped": [point._asdict() for point in plan.skipped],
        "points": points,
        "experiments": [
            {
                "experiment_id": experiment.experiment_id,
                "point": indices[experiment.config_hash],
                "cycle": experiment.cycle,
            }
            for experiment in plan.experiments
        ],
    }
    return json.dumps(document, indent=1, ensure_ascii=False)


def plan_from_json(text: str) -> SweepPlan:
    """The plan that ``text`` was made from.

    Raises ResumeError, saying what doesn't fit, when ``text`` isn't a plan, when a configuration in it is no
    longer valid, or when its ids aren't those that this version gives its configurations.
    """
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ResumeError(f"the plan isn't valid JSON: {error}") from error
    version = raw.get("plan_version") if isinstance(raw, dict) else None
    if version != PLAN_VERSION:
        raise ResumeError(f"the plan has version {version}; this program reads version {PLAN_VERSION}")
    if isinstance(execution := raw.get("execution"), dict):
        execution.setdefault("cycle_order", _FIRST_ORDER)
    try:
        document = _Document.model_validate(raw)
    except ValidationError as error:
        raise ResumeError(f"the plan is damaged: {_reasons(error, model_tree(_Document))}") from error
    return _plan(document)


def _plan(document: _Document) -> SweepPlan:
    configs: list[ExperimentConfig] = []
    canonical: list[str] = []
    for index, point in enumerate(document.points):
        config = _config(point.config, index)
        form = _canonical(config, document.contents)
        if hash_config(form) != point.config_hash:
            raise ResumeError(
                f"point {index + 1} of the plan ({_label(point.varied)}) is recorded as "
                f"{point.config_hash} but is {hash_config(form)} here: the plan was edited, or another "
                "version of this program made it"
            )
        configs.append(config)
        canonical.append(form)
    experiments: list[PlannedExperiment] = []
    for entry in document.experiments:
        if entry.point >= len(configs):
            raise ResumeError(f"the plan is damaged: it has no point {entry.point + 1}")
        point = document.points[entry.point]
        experiment_id = hash_experiment(canonical[entry.point], entry.cycle)
        if experiment_id != entry.experiment_id:
            raise ResumeError(
                f"experiment {entry.experiment_id} of the plan is {experiment_id} here: the plan was edited"
            )
        experiments.append(
            PlannedExperiment(
                experiment_id, point.config_hash, configs[entry.point], entry.cycle, point.varied
            )
        )
    return SweepPlan(
        name=document.name,
        experiments=tuple(experiments),
        skipped=document.skipped,
        merged=document.merged,
        design_hash=document.design_hash,
        execution=document.execution,
        warnings=document.warnings,
        contents=document.contents,
        points=tuple(point.config_hash for point in document.points),
    )


def _config(fields: dict[str, Any], index: int) -> ExperimentConfig:
    try:
        return ExperimentConfig.model_validate(fields)
    except ValidationError as error:
        raise ResumeError(f"point {index + 1} of the plan isn't valid here: {_reasons(error)}") from error


def _canonical(config: ExperimentConfig, contents: dict[str, str]) -> str:
    try:
        return canonical_config(config, contents)
    except ConfigError as error:
        raise ResumeError(f"the plan is damaged: {error}") from error


def _reasons(error: ValidationError, tree: FieldTree | None = None) -> str:
    return "; ".join(str(found) for found in explain(error, tree))


def _label(varied: dict[str, Any]) -> str:
    return ", ".join(f"{field}={value}" for field, value in varied.items()) or "the only one"
