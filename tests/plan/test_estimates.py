from __future__ import annotations

import random
import time
from typing import Any

import pytest

from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.plan.estimates import LONGER, Estimates
from llem_sweep.plan.types import ModelFacts, PlannedExperiment


def experiment(name: str, model: str = "a", run_s: float = 10.0, load_s: float = 60.0) -> PlannedExperiment:
    config = ExperimentConfig.model_validate(
        {
            "model": model,
            "backend": "synthetic",
            "synthetic": {"run_seconds": run_s, "load_seconds": load_s},
            "warmup": {"enabled": False},
            "energy": {"backend": "null"},
        }
    )
    return PlannedExperiment(f"{name}/1", name, config, 1, {})


def make() -> Estimates:
    return Estimates(lambda config: config.model)


def test_before_anything_has_run_the_plan_is_believed() -> None:
    estimates = make()
    assert estimates.duration_s(experiment("x", run_s=10)) == pytest.approx(10, abs=0.02)
    assert estimates.load_s(experiment("x")) == 60
    assert estimates.measured_s("x") is None


def test_a_point_that_has_run_is_known_in_its_other_cycles() -> None:
    estimates = make()
    for took_s in (30.0, 34.0):
        estimates.record(experiment("x"), took_s, None)
    again = experiment("x")._replace(cycle=3, experiment_id="x/3")
    assert estimates.duration_s(again) == estimates.measured_s("x") == 32
    assert estimates.recorded == ["x", "x"]


def test_points_of_a_model_follow_its_ratio_and_other_models_that_of_all() -> None:
    estimates = make()
    for index in range(20):
        estimates.record(experiment(f"a{index}", "a", 10), 30.0, None)
    for index in range(20):
        estimates.record(experiment(f"b{index}", "b", 10), 10.0, None)
    assert estimates.duration_s(experiment("a", "a", 100)) == pytest.approx(300, rel=0.1)
    assert estimates.duration_s(experiment("b", "b", 100)) == pytest.approx(100, rel=0.1)
    other_s = estimates.duration_s(experiment("c", "c", 100))
    assert other_s == pytest.approx(100 * 3**0.5, rel=0.1), "the geometric mean"


def test_one_run_moves_expectations_only_part_of_the_way() -> None:
    estimates = make()
    estimates.record(experiment("x", "a", 10), 40.0, None)
    assert 20 < estimates.duration_s(experiment("y", "a", 10)) < 40
    assert (
        10 < estimates.duration_s(experiment("z", "b", 10)) < estimates.duration_s(experiment("y", "a", 10))
    )


def test_an_outlier_counts_for_little() -> None:
    estimates = make()
    for index in range(10):
        estimates.record(experiment(f"p{index}"), 10.0, None)
    estimates.record(experiment("stuck"), 100_000.0, None)
    assert estimates.duration_s(experiment("next")) < 12


def test_only_the_work_is_scaled_and_what_is_fixed_stays() -> None:
    def planned(name: str, n: int) -> PlannedExperiment:
        config = ExperimentConfig.model_validate({"model": "x", "n": n, "max_output_tokens": 100})
        return PlannedExperiment(name, name, config, 1, {})

    estimates = Estimates(lambda config: config.model, lambda config: ModelFacts(8 * 10**9, 16 * 10**9))
    prior = estimates.prior(planned("long", 1000))
    for index in range(30):
        estimates.record(planned(f"long{index}", 1000), prior.fixed_s + 3 * prior.work_s, None)
    short = estimates.prior(planned("short", 1))
    assert estimates.duration_s(planned("short", 1)) == pytest.approx(
        short.fixed_s + 3 * short.work_s, rel=0.05
    )


def test_work_that_is_small_beside_what_is_fixed_says_little() -> None:
    def planned(name: str, run_s: float) -> PlannedExperiment:
        fields: dict[str, Any] = {"backend": "synthetic", "synthetic": {"run_seconds": run_s}}
        config = ExperimentConfig.model_validate({"model": "x", "warmup": {"n_warmup": 0}} | fields)
        return PlannedExperiment(name, name, config, 1, {})

    estimates = make()
    prior = estimates.prior(planned("short", 0.1))
    estimates.record(planned("short", 0.1), prior.fixed_s + 20, None)
    assert estimates.ratio("x") == pytest.approx(1, abs=0.05)


def test_loads_are_known_once_seen_and_others_follow_their_ratio() -> None:
    estimates = make()
    for index in range(10):
        estimates.record(experiment(f"p{index}", "a", load_s=60), 10.0, 120.0)
    assert estimates.load_s(experiment("p", "a")) == 120
    assert estimates.load_s(experiment("q", "b", load_s=30)) == pytest.approx(60, rel=0.1)


def test_the_rest_shrinks_and_never_ends_before_the_work_does() -> None:
    estimates = make()
    planned = experiment("x", run_s=100, load_s=60)
    assert estimates.rest_s(planned, 50.0, loads=True) == pytest.approx(110, abs=0.1)
    assert estimates.rest_s(planned, 50.0, loads=False) == pytest.approx(50, abs=0.1)
    assert estimates.rest_s(planned, 1000.0, loads=True) == LONGER * 1000


def test_nothing_takes_no_time_at_all() -> None:
    estimates = make()
    estimates.record(experiment("x", run_s=0), 0.0, 0.0)
    assert estimates.duration_s(experiment("x", run_s=0)) > 0
    assert estimates.duration_s(experiment("y", run_s=0)) > 0


def test_the_key_and_the_facts_of_a_point_are_asked_once() -> None:
    asked: list[str] = []

    def key(config: ExperimentConfig) -> str:
        asked.append(config.model)
        return f"{config.model} {len(asked)}"

    estimates = Estimates(key)
    planned = experiment("x")
    estimates.record(planned, 1.0, 1.0)
    assert estimates.key(planned) == estimates.key(planned) == "a 1"
    fresh = estimates.fresh()
    assert fresh.key(planned) == "a 1"
    assert (fresh.measured_s("x"), fresh.recorded) == (None, [])


def test_five_thousand_experiments_cost_far_less_than_a_tenth_of_a_millisecond_each() -> None:
    dice = random.Random(1)
    planned = [experiment(f"p{n}", f"m{n % 20}", 1 + n % 50) for n in range(5000)]
    estimates = make()
    before_s = time.process_time()
    for each in planned:
        estimates.record(each, dice.uniform(1, 100), None)
        estimates.duration_s(each)
    assert (time.process_time() - before_s) / 5000 < 1e-4
