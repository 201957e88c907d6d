"""What a worker has done, counted: phases and tokens."""

from __future__ import annotations

from typing import Any

import pytest

from llem_sweep.clock import SimulatedClock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.execution.activity import Activity
from llem_sweep.execution.worker import Worker, WorkerSpec, device_environment_restored
from llem_sweep.phases import Phase, PhaseStream
from llem_sweep.plan.types import PlannedExperiment
from llem_sweep.results.outcome import Completed, Failed

SPEC = WorkerSpec("here/worker0", "here", 1, (0,), baseline_s=1.0)


def planned(**fields: Any) -> PlannedExperiment:
    known = {"model": "acme/m", "backend": "synthetic", "n": 8, "warmup": {"enabled": False}}
    return PlannedExperiment("0" * 16, "1" * 16, ExperimentConfig.model_validate(known | fields), 1, {})


def test_phases_are_counted_once_for_as_long_as_they_last() -> None:
    clock = SimulatedClock()
    phases, activity = PhaseStream(clock), Activity(clock)
    phases.subscribe(activity.on_phase)
    clock.sleep(1.0)
    for _ in range(2):
        phases.mark(Phase.LOAD)
        clock.sleep(2.0)
    phases.mark(Phase.DECODE)
    clock.sleep(0.25)
    spent_s = activity.phases_s()
    assert (spent_s[Phase.IDLE], spent_s[Phase.LOAD]) == (1.0, 4.0)
    assert spent_s[Phase.DECODE] == 0.25, "the phase under way counts"
    assert (activity.begun[Phase.LOAD], activity.begun[Phase.DECODE]) == (1, 1), "going on isn't another one"
    clock.sleep(1.0)
    assert activity.phases_s()[Phase.DECODE] == 1.25


def test_a_worker_counts_what_it_does() -> None:
    clock = SimulatedClock()
    worker = Worker(SPEC, clock)
    with device_environment_restored():
        begun_s = clock.monotonic()
        worker.start()
        outcomes = [
            worker.run(planned(synthetic=told), 1).outcome
            for told in ({"load_seconds": 3.0, "run_seconds": 2.0}, {"run_seconds": 1.0}, {"fail_at": "run"})
        ]
        assert worker.rig is not None
        loads, activity = worker.rig.loads, worker.activity
        worker.close()
    completed = [each.result for each in outcomes if isinstance(each, Completed)]
    assert [type(each) for each in outcomes] == [Completed, Completed, Failed]
    assert activity.output_tokens == {"synthetic": sum(result.output_tokens for result in completed)}
    assert activity.input_tokens == {"synthetic": sum(result.input_tokens for result in completed)}
    assert sum(activity.phases_s().values()) == pytest.approx(clock.monotonic() - begun_s)
    assert activity.phases_s()[Phase.LOAD] == pytest.approx(3.0)
    assert loads == activity.begun[Phase.LOAD]


def test_tokens_of_a_model_that_processes_share_count_once() -> None:
    tokens = []
    for rank in (0, 1):
        worker = Worker(SPEC._replace(rank=rank, size=2, parallelism="tensor"), SimulatedClock())
        with device_environment_restored():
            worker.start()
            assert isinstance(worker.run(planned(), 1).outcome, Completed)
            worker.close()
        tokens.append(sum(worker.activity.output_tokens.values()))
    assert tokens[0] > 0
    assert tokens[1] == 0
