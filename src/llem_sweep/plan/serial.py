"""A plan as JSON, as it is kept in a sweep's folder, and back."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.explain import explain
from llem_sweep.config.identity import canonical_config, dump_config, hash_config, hash_experiment
from llem_sweep.config.sweep import ExecutionConfig
from llem_sweep.errors import ConfigError, ResumeError
from llem_sweep.plan.types import PlannedExperiment, SkippedPoint, SweepPlan

PLAN_VERSION = 1


def plan_to_json(plan: SweepPlan) -> str:
    """``plan`` as JSON: each point once, experiments as point and cycle. :func:`plan_from_json` gives it back."""
    indices: dict[str, int] = {}
    points: list[dict[str, Any]] = []
    for experiment in plan.experiments:
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
        "execution": plan.execution.model_dump(mode="json", exclude_defaults=True),
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
        document = json.loads(text)
    except ValueError as error:
        raise ResumeError(f"the plan isn't valid JSON: {error}") from error
    version = document.get("plan_version") if isinstance(document, dict) else None
    if version != PLAN_VERSION:
        raise ResumeError(f"the plan has version {version}; this program reads version {PLAN_VERSION}")
    try:
        return _plan(document)
    except (KeyError, TypeError, IndexError) as error:
        raise ResumeError(f"the plan is incomplete: {type(error).__name__} {error}") from error


def _plan(document: dict[str, Any]) -> SweepPlan:
    contents: dict[str, str] = document["contents"]
    configs: list[ExperimentConfig] = []
    canonical: list[str] = []
    for index, point in enumerate(document["points"]):
        config = _config(point["config"], index)
        form = _canonical(config, contents)
        if hash_config(form) != point["config_hash"]:
            raise ResumeError(
                f"point {index + 1} of the plan ({_label(point['varied'])}) is recorded as "
                f"{point['config_hash']} but is {hash_config(form)} here: the plan was edited, or another "
                "version of this program made it"
            )
        configs.append(config)
        canonical.append(form)
    experiments: list[PlannedExperiment] = []
    for entry in document["experiments"]:
        point = document["points"][entry["point"]]
        experiment_id = hash_experiment(canonical[entry["point"]], entry["cycle"])
        if experiment_id != entry["experiment_id"]:
            raise ResumeError(
                f"experiment {entry['experiment_id']} of the plan is {experiment_id} here: the plan was edited"
            )
        experiments.append(
            PlannedExperiment(
                experiment_id, point["config_hash"], configs[entry["point"]], entry["cycle"], point["varied"]
            )
        )
    return SweepPlan(
        name=document["name"],
        experiments=tuple(experiments),
        skipped=tuple(SkippedPoint(**point) for point in document["skipped"]),
        merged=document["merged"],
        design_hash=document["design_hash"],
        execution=_execution(document["execution"]),
        warnings=tuple(document["warnings"]),
        contents=contents,
    )


def _config(fields: dict[str, Any], index: int) -> ExperimentConfig:
    try:
        return ExperimentConfig.model_validate(fields)
    except ValidationError as error:
        reasons = "; ".join(str(found) for found in explain(error))
        raise ResumeError(f"point {index + 1} of the plan isn't valid here: {reasons}") from error


def _canonical(config: ExperimentConfig, contents: dict[str, str]) -> str:
    try:
        return canonical_config(config, contents)
    except ConfigError as error:
        raise ResumeError(f"the plan is incomplete: {error}") from error


def _execution(fields: dict[str, Any]) -> ExecutionConfig:
    try:
        return ExecutionConfig.model_validate(fields)
    except ValidationError as error:
        raise ResumeError(f"the plan's execution settings aren't valid here: {error}") from error


def _label(varied: dict[str, Any]) -> str:
    return ", ".join(f"{field}={value}" for field, value in varied.items()) or "the only one"
