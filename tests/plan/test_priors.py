from __future__ import annotations

from typing import Any

import pytest

from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.plan.priors import (
    COOLING_S,
    ENGINE_S,
    HANDLING_S,
    OFF_BY,
    OFF_BY_UNKNOWN,
    SETTLING_SHARE,
    STEP_OVERHEAD_S,
    duration_prior,
    load_prior_s,
)
from llem_sweep.plan.types import ModelFacts

KNOWN = ModelFacts(parameters=8_000_000_000, weight_bytes=16_000_000_000)
BARE: dict[str, Any] = {"warmup": {"enabled": False}, "baseline": {"enabled": False}}


def config(**fields: Any) -> ExperimentConfig:
    return ExperimentConfig.model_validate({"model": "x"} | fields)


def seconds(facts: ModelFacts = KNOWN, **fields: Any) -> float:
    prior = duration_prior(config(**fields), facts)
    return prior.fixed_s + prior.work_s


def test_a_batch_reads_the_weights_once_for_each_output_token() -> None:
    prior = duration_prior(config(n=1, max_input_tokens=100, max_output_tokens=50, **BARE), KNOWN)
    prefill_s = 2 * 8e9 * 100 / 1e14
    assert prior.work_s == pytest.approx(prefill_s + 50 * (STEP_OVERHEAD_S + 0.016))
    assert prior.fixed_s == pytest.approx(HANDLING_S + COOLING_S)


@pytest.mark.parametrize(
    "more",
    [
        {"n": 200},
        {"max_output_tokens": 256},
        {"max_input_tokens": 4096},
        {"pytorch": {"num_beams": 4}},
        {"pytorch": {"use_cache": False}},
        {"gpus": 0},
        {"warmup": {"thermal_floor_seconds": 600}},
        {"warmup": {"settle_limit_seconds": 3600}},
        {"warmup": {"n_warmup": 100}},
        {"warmup": {"convergence_detection": True, "min_prompts": 100, "max_prompts": 100}},
        {"baseline": {"after_seconds": 60}},
        {"measurement": {"min_duration_seconds": 600}},
        {"measurement": {"prefill_window": True}},
    ],
)
def test_more_work_takes_longer(more: dict[str, Any]) -> None:
    assert seconds(**more) > seconds()


def test_larger_batches_take_less_and_larger_models_more() -> None:
    assert seconds(n=1000, pytorch={"batch_size": 10}) < seconds(n=1000)
    assert (
        seconds(ModelFacts(70_000_000_000, 140_000_000_000))
        > seconds()
        > seconds(ModelFacts(10**8, 2 * 10**8))
    )


def test_processes_share_the_work() -> None:
    alone, shared = (
        duration_prior(config(pytorch={"num_processes": number}, **BARE), KNOWN) for number in (1, 4)
    )
    assert shared.work_s == pytest.approx(alone.work_s / 4)


def test_the_floor_of_the_warm_up_swallows_its_batches() -> None:
    short: dict[str, Any] = {"n": 1, "max_output_tokens": 1, "max_input_tokens": 1}
    assert seconds(**short, warmup={"n_warmup": 1}) == seconds(**short, warmup={"n_warmup": 20})


def test_nothing_settles_where_nothing_is_sampled() -> None:
    quiet = duration_prior(config(energy={"backend": "null"}), KNOWN)
    assert quiet.fixed_s == pytest.approx(HANDLING_S + 60)
    sampled = duration_prior(config(), KNOWN)
    assert sampled.fixed_s == pytest.approx(HANDLING_S + 60 + COOLING_S + 3 + SETTLING_SHARE * 240)
    assert sampled.least_fixed_s == pytest.approx(HANDLING_S + 60 + COOLING_S + 3)
    assert sampled.most_fixed_s == pytest.approx(HANDLING_S + 60 + COOLING_S + 3 + 240)


def test_the_synthetic_backend_takes_what_it_is_told() -> None:
    told = config(
        backend="synthetic",
        n=4,
        synthetic={"run_seconds": 8, "load_seconds": 5},
        warmup={"thermal_floor_seconds": 0},
    )
    prior = duration_prior(told, ModelFacts())
    assert prior.work_s == pytest.approx(8 + 5 * 2), "five batches of warm-up"
    assert prior.off_by == 1
    assert load_prior_s(told, ModelFacts()) == 30 + 5


def test_a_run_of_a_least_length_ends_with_the_repetition_under_way() -> None:
    def told(run_s: float, least_s: float) -> tuple[float, float]:
        synthetic = {"backend": "synthetic", "synthetic": {"run_seconds": run_s}}
        prior = duration_prior(
            config(**synthetic, **BARE, measurement={"min_duration_seconds": least_s}), ModelFacts()
        )
        return prior.fixed_s - HANDLING_S - COOLING_S, prior.work_s

    assert told(8, 0) == pytest.approx((0, 8))
    assert told(8, 30) == pytest.approx((30, 2)), "four times"
    assert told(8, 6) == pytest.approx((6, 2)), "once"
    assert told(0, 6) == pytest.approx((6, 0))


def test_elsewhere_half_a_repetition_is_expected_beyond_the_least_length() -> None:
    once = duration_prior(config(n=1, **BARE), KNOWN)
    long = duration_prior(config(n=1, **BARE, measurement={"min_duration_seconds": 600}), KNOWN)
    assert long.fixed_s == pytest.approx(once.fixed_s + 600)
    assert long.work_s == pytest.approx(once.work_s / 2)
    assert long.least_s > 600
    short = duration_prior(config(n=1, **BARE, measurement={"min_duration_seconds": 1}), KNOWN)
    assert short.fixed_s + short.work_s == pytest.approx(once.fixed_s + once.work_s)


def test_a_run_that_waits_for_steady_state_may_take_longer() -> None:
    steady = {"min_duration_seconds": 600, "window": "steady_state"}
    whole = duration_prior(config(**BARE, measurement={"min_duration_seconds": 600}), KNOWN)
    part = duration_prior(config(**BARE, measurement=steady), KNOWN)
    assert part.least_s == whole.least_s
    assert part.most_s == whole.most_s + 240
    assert whole.fixed_s < part.fixed_s < whole.fixed_s + 240


def test_a_load_takes_the_engine_the_weights_and_the_idle_power_after_it() -> None:
    assert load_prior_s(config(), KNOWN) == ENGINE_S + 16 + 30
    assert load_prior_s(config(baseline={"enabled": False}), KNOWN) == ENGINE_S + 16
    assert load_prior_s(config(gpus=0), KNOWN) == ENGINE_S + 16
    assert load_prior_s(config(precision="fp32"), ModelFacts(parameters=10**9)) == ENGINE_S + 4 + 30
    assert load_prior_s(config(), ModelFacts()) == ENGINE_S + 14 + 30


def test_what_is_unknown_has_a_wider_range() -> None:
    known, unknown = duration_prior(config(), KNOWN), duration_prior(config(), ModelFacts())
    assert (known.off_by, unknown.off_by) == (OFF_BY, OFF_BY_UNKNOWN)
    assert known.least_s < known.fixed_s + known.work_s < known.most_s
