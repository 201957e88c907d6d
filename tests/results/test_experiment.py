"""The contract of a result: frozen, closed, whole, and honest about what isn't known."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from factories import make_result
from llem_sweep.results.experiment import ExperimentResult
from llem_sweep.results.parts import EffectiveConfig

V2_FIELDS = {
    "ExperimentResult": (
        "schema_version experiment_id measurement_config_hash backend backend_version measurement_methodology "
        "steady_state_window total_tokens total_energy_j total_inference_time_sec avg_tokens_per_second "
        "avg_energy_per_token_j total_flops flops_per_output_token flops_per_input_token flops_per_second "
        "baseline_power_w energy_adjusted_j energy_per_device_j energy_breakdown multi_gpu environment_snapshot "
        "measurement_warnings warmup_excluded_samples reproducibility_notes timeseries start_time end_time "
        "effective_config process_results aggregation thermal_throttle warmup_result latency_stats "
        "extended_metrics"
    ),
    "EnergyBreakdown": (
        "raw_j adjusted_j baseline_power_w baseline_method baseline_timestamp baseline_cache_age_sec"
    ),
    "WarmupResult": (
        "converged final_cv iterations_completed target_cv max_prompts latencies_ms thermal_floor_wait_s"
    ),
    "MultiGPUMetrics": "num_gpus energy_per_gpu_j energy_total_j energy_per_output_token_j",
    "AggregationMetadata": "method num_processes temporal_overlap_verified gpu_attribution_verified warnings",
    "EnvironmentSnapshot": "devices hardware python_version installed_packages tool_version cuda_version",
    "HardwareInfo": "cuda thermal cpu container",
}


def models_in(value: Any) -> Iterator[BaseModel]:
    """Every model at and below ``value``."""
    if isinstance(value, BaseModel):
        yield value
        for name in type(value).model_fields:
            yield from models_in(getattr(value, name))
    elif isinstance(value, tuple):
        for each in value:
            yield from models_in(each)


WHOLE = make_result()
MODELS = {type(model).__name__: model for model in models_in(WHOLE)}
LEVELS = pytest.mark.parametrize("name", sorted(MODELS))


def test_the_whole_result_holds_every_kind_of_part() -> None:
    assert len(MODELS) == 36
    assert all(
        getattr(WHOLE, name) is not None for name in ExperimentResult.model_fields if name != "timeseries"
    )


@LEVELS
def test_a_part_refuses_unknown_fields(name: str) -> None:
    given = MODELS[name].model_dump()
    with pytest.raises(ValidationError, match="extra_forbidden"):
        type(MODELS[name]).model_validate({**given, "timeseries_path": "x"})


@LEVELS
def test_a_part_is_frozen(name: str) -> None:
    field = next(iter(type(MODELS[name]).model_fields))
    with pytest.raises(ValidationError, match="frozen_instance"):
        setattr(MODELS[name], field, None)


@LEVELS
def test_a_part_comes_back_equal_from_json(name: str) -> None:
    model = MODELS[name]
    assert type(model).model_validate_json(model.model_dump_json()) == model


@pytest.mark.parametrize("name", sorted(V2_FIELDS))
def test_the_names_of_the_v2_schema_are_kept(name: str) -> None:
    assert set(V2_FIELDS[name].split()) <= set(type(MODELS[name]).model_fields)


def test_unknown_energy_is_none_through_json_and_never_zero() -> None:
    unknown = make_result(
        total_energy_j=None,
        avg_energy_per_token_j=None,
        baseline_power_w=None,
        energy_adjusted_j=None,
        energy_per_device_j=(None, 2000.0),
    )
    back = ExperimentResult.model_validate_json(unknown.model_dump_json())
    assert back.total_energy_j is None
    assert back.energy_adjusted_j is None
    assert back.energy_per_device_j == (None, 2000.0)


@pytest.mark.parametrize(
    "field", ["total_energy_j", "baseline_power_w", "energy_per_device_j", "energy_breakdown"]
)
def test_energy_has_no_default_that_could_pass_for_a_value(field: str) -> None:
    assert ExperimentResult.model_fields[field].is_required()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_energy_is_a_finite_number_or_unknown(value: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        make_result(total_energy_j=value)


def test_times_without_a_time_zone_are_refused() -> None:
    with pytest.raises(ValidationError, match="timezone"):
        make_result(start_time=WHOLE.start_time.replace(tzinfo=None))


def test_what_json_would_change_in_the_effective_config_is_changed_at_once() -> None:
    effective = EffectiveConfig(config={}, backend={"shape": (1, 2), "loss": float("nan"), 3: {"kind": int}})
    assert effective.backend == {"shape": [1, 2], "loss": None, "3": {"kind": "<class 'int'>"}}
    assert EffectiveConfig.model_validate_json(effective.model_dump_json()) == effective


def test_it_is_the_same_after_it_was_sent_to_another_process() -> None:
    result = make_result()
    sent = pickle.loads(pickle.dumps(result))
    assert sent == result
    assert type(sent.energy_per_device_j) is tuple


def test_what_json_cannot_hold_is_sent_all_the_same() -> None:
    result = make_result(reproducibility_notes="\udce9")
    assert pickle.loads(pickle.dumps(result)) == result
