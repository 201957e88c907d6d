from __future__ import annotations

from typing import Any

import pytest

from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.sweep import ExecutionConfig
from llem_sweep.phases import Phase
from llem_sweep.plan.timeouts import COMPILE_S, LEAST_TIMEOUT_S, default_timeout_s, stall_limit_s


def timeout_s(**fields: Any) -> float:
    return default_timeout_s(ExperimentConfig.model_validate({"model": "x"} | fields))


def test_short_experiments_get_ten_minutes() -> None:
    assert timeout_s(n=1, max_output_tokens=1) == LEAST_TIMEOUT_S
    assert timeout_s(backend="synthetic") == LEAST_TIMEOUT_S


@pytest.mark.parametrize(
    "more",
    [
        {"n": 200},
        {"max_output_tokens": 256},
        {"max_input_tokens": 4096},
        {"warmup": {"thermal_floor_seconds": 600}},
        {"warmup": {"n_warmup": 50}},
        {"warmup": {"convergence_detection": True, "max_prompts": 50}},
        {"pytorch": {"num_beams": 4}},
        {"measurement": {"min_duration_seconds": 600}},
        {"measurement": {"min_duration_seconds": 1, "window": "steady_state"}},
        {"measurement": {"prefill_window": True}},
    ],
)
def test_more_work_gets_more_time(more: dict[str, Any]) -> None:
    assert timeout_s(**more) > timeout_s()


def test_larger_batches_get_less() -> None:
    assert timeout_s(n=1000, pytorch={"batch_size": 10}) < timeout_s(n=1000)


def test_the_synthetic_backend_gets_the_time_it_is_told_to_take() -> None:
    told = timeout_s(backend="synthetic", synthetic={"run_seconds": 5000}, warmup={"enabled": False})
    assert told > 5000


def test_download_and_load_do_not_count() -> None:
    assert timeout_s(backend="synthetic", synthetic={"load_seconds": 9000}) == LEAST_TIMEOUT_S


def test_processes_that_share_the_requests_have_less_to_do_and_those_that_share_the_model_all_of_it() -> None:
    fields = {"n": 400, "max_output_tokens": 1024}
    alone = timeout_s(**fields)
    assert timeout_s(**fields, pytorch={"num_processes": 4}) < alone
    assert timeout_s(**fields, pytorch={"num_processes": 4}) == timeout_s(**fields | {"n": 100})
    assert timeout_s(**fields, pytorch={"num_processes": 4, "parallelism": "tensor"}) == alone


def test_processes_may_wait_for_each_other_before_prefill_by_itself() -> None:
    def limit_s(wanted: bool, processes: int, phase: Phase = Phase.COOL) -> float:
        fields = {"model": "x", "max_output_tokens": 4096, "pytorch": {"num_processes": processes}}
        config = ExperimentConfig.model_validate(fields | {"measurement": {"prefill_window": wanted}})
        return stall_limit_s(config, ExecutionConfig(), phase)

    assert limit_s(True, 1) == limit_s(False, 1) == limit_s(False, 4)
    assert limit_s(True, 4) == limit_s(False, 4) + limit_s(False, 4, Phase.DECODE)


@pytest.mark.parametrize("backend", ["pytorch", "synthetic"])
def test_compiling_gets_its_time_between_experiments(backend: str) -> None:
    plain, compiled = (
        ExperimentConfig.model_validate({"model": "x", "backend": backend, "pytorch": {"torch_compile": on}})
        for on in (False, True)
    )
    more_s = COMPILE_S if backend == "pytorch" else 0.0
    execution = ExecutionConfig()
    assert default_timeout_s(compiled) == default_timeout_s(plain) + more_s
    for phase, extra_s in (
        (Phase.IDLE, more_s),
        (Phase.COOL, more_s),
        (Phase.DECODE, 0.0),
        (Phase.LOAD, 0.0),
    ):
        assert stall_limit_s(compiled, execution, phase) == stall_limit_s(plain, execution, phase) + extra_s
