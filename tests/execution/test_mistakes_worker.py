"""Mistakes of earlier tools inside a worker, in simulated time: a limit that counts loading and download."""

from __future__ import annotations

from typing import Any

import pytest

from llem_sweep.clock import SimulatedClock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.execution.worker import Worker, WorkerSpec, device_environment_restored
from llem_sweep.phases import Phase
from llem_sweep.plan.types import PlannedExperiment
from llem_sweep.results.outcome import Completed

SPEC = WorkerSpec("here/worker0", "here", 1, (0,), baseline_s=1.0)


def planned(**fields: Any) -> PlannedExperiment:
    known = {"model": "acme/m", "backend": "synthetic", "n": 8, "warmup": {"enabled": False}}
    return PlannedExperiment("0" * 16, "1" * 16, ExperimentConfig.model_validate(known | fields), 1, {})


def test_the_time_that_counts_towards_the_limit_leaves_loading_out() -> None:
    clock = SimulatedClock()
    worker = Worker(SPEC, clock)
    with device_environment_restored():
        worker.start()
        seen: list[tuple[Phase, float]] = []
        clock.every(0.5, lambda: seen.append((worker.state().phase, worker.state().active_s)))
        begun_s = clock.monotonic()
        ran = worker.run(planned(synthetic={"load_seconds": 1000.0, "run_seconds": 20.0}), 1)
        worker.close()
    outcome = ran.outcome
    assert isinstance(outcome, Completed)
    assert ran.loading_s == pytest.approx(1000.0 + 30.0, abs=2.0), (
        "the model, and idle power with it resident"
    )
    assert ran.took_s + ran.loading_s == pytest.approx(clock.monotonic() - begun_s)
    assert ran.took_s < 60.0
    assert outcome.result.total_inference_time_sec == pytest.approx(20.0)
    assert max(active_s for phase, active_s in seen if phase is Phase.LOAD) < 1.0
    assert 19.0 < max(active_s for _, active_s in seen) < 25.0
