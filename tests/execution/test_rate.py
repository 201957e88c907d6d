"""Tokens per second of the experiment under way, as a worker tells them, in simulated time."""

from __future__ import annotations

from typing import Any

import pytest

from execution.test_mistakes_worker import SPEC, planned
from llem_sweep.clock import SimulatedClock
from llem_sweep.execution.on_ray.pool import together
from llem_sweep.execution.progress import WorkerState
from llem_sweep.execution.worker import Worker, WorkerSpec, device_environment_restored
from llem_sweep.phases import Phase
from llem_sweep.results.outcome import Completed


def watched(spec: WorkerSpec = SPEC, **fields: Any) -> tuple[Completed, list[WorkerState]]:
    """What became of an experiment, and the worker's state every half second meanwhile."""
    clock = SimulatedClock()
    worker = Worker(spec, clock)
    with device_environment_restored():
        worker.start()
        seen: list[WorkerState] = []
        clock.every(0.5, lambda: seen.append(worker.state()))
        outcome = worker.run(planned(**fields), 1).outcome
        seen.append(worker.state())
        worker.close()
    assert isinstance(outcome, Completed)
    return outcome, seen


def test_the_rate_is_that_of_whole_batches_and_the_warm_up_has_none() -> None:
    outcome, seen = watched(
        synthetic={"run_seconds": 24.0, "output_tokens": 60},
        warmup={"enabled": True, "n_warmup": 3, "convergence_detection": False, "thermal_floor_seconds": 0},
    )
    assert {each.tokens_per_s for each in seen if each.phase is Phase.WARM_UP} == {None}
    running = [each for each in seen if each.phase in (Phase.PREFILL, Phase.DECODE)]
    assert running[0].tokens_per_s is None, "no batch is done yet"
    told = [each.tokens_per_s for each in running if each.tokens_per_s is not None]
    assert told == pytest.approx([20.0] * len(told), rel=0.01)
    assert len(told) > 5
    assert outcome.result.avg_tokens_per_second == pytest.approx(20.0, rel=0.01)
    assert seen[-1].tokens_per_s is None, "nothing is under way"


def test_first_tokens_alone_leave_the_rate_as_it_was() -> None:
    """Prefill measured by itself makes one token a request: it isn't what the experiment is about."""
    _, seen = watched(synthetic={"run_seconds": 8.0}, measurement={"prefill_window": True})
    last_s = max(index for index, each in enumerate(seen) if each.phase is Phase.PREFILL)
    assert seen[last_s].tokens_per_s == pytest.approx(8 * 128 / 8.0, rel=0.01)


def test_processes_with_one_model_count_its_tokens_once() -> None:
    spec = SPEC._replace(parallelism="tensor", size=2)
    _, seen = watched(spec, synthetic={"run_seconds": 8.0})
    rates = [each.tokens_per_s for each in seen if each.tokens_per_s is not None]
    assert rates
    assert rates == pytest.approx([0.5 * 8 * 128 / 8.0] * len(rates), rel=0.01)


def test_the_rates_of_processes_add_up_once_all_are_known() -> None:
    states = [WorkerState(f"p{number}", "GPU", tokens_per_s=10.0 + number) for number in range(2)]
    assert together("w", states).tokens_per_s == 21.0
    assert together("w", [states[0], states[1]._replace(tokens_per_s=None)]).tokens_per_s is None
