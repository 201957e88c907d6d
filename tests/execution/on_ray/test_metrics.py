"""Names, units and tags by Prometheus' conventions; what is told of a worker and of a sweep."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from execution.on_ray.conftest import Told
from llem_sweep.clock import SimulatedClock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.execution.on_ray import metrics
from llem_sweep.execution.on_ray.actor import METRICS_EVERY, PUSH_PERIOD_S
from llem_sweep.execution.on_ray.metrics import METRICS, Metric
from llem_sweep.execution.on_ray.sweep_metrics import EVERY_S, SweepMetrics
from llem_sweep.execution.on_ray.worker_metrics import WorkerMetrics
from llem_sweep.execution.progress import Progress
from llem_sweep.execution.worker import Worker, WorkerSpec, device_environment_restored
from llem_sweep.plan.types import PlannedExperiment
from llem_sweep.results.outcome import Completed

UNITS = {"W": "watts", "°C": "celsius", "J": "joules", "s": "seconds", "0 to 1": "ratio"}
TWO_BOARDS = WorkerSpec("here/worker0", "here", 2, (0, 1), baseline_s=1.0)


def experiment(**synthetic: Any) -> PlannedExperiment:
    config = ExperimentConfig.model_validate(
        {
            "model": "acme/m",
            "backend": "synthetic",
            "n": 8,
            "gpus": 2,
            "warmup": {"enabled": False},
            "synthetic": synthetic,
        }
    )
    return PlannedExperiment("0" * 16, "1" * 16, config, 1, {})


def progress(**fields: Any) -> Progress:
    known: dict[str, Any] = {"total": 10, "done": 3, "failed": 1, "running": 2, "elapsed_s": 5.0}
    return Progress(**(known | {"remaining_s": 7.0, "workers": (), "recent_failures": ()} | fields))


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_follow_the_conventions(metric: Metric) -> None:
    assert metric.name.startswith("llem_sweep_")
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    if metric.unit in UNITS:
        assert metric.name.removesuffix("_total").endswith(UNITS[metric.unit])
    assert len(set(metric.tags)) == len(metric.tags)
    assert {"sweep", "simulated"} <= set(metric.tags)
    assert not {"experiment", "experiment_id", "model"} & set(metric.tags), "as many as there are experiments"


def test_no_name_is_declared_twice() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_a_worker_tells_of_its_boards_and_of_its_work(told: Told) -> None:
    clock = SimulatedClock()
    worker = Worker(TWO_BOARDS, clock)
    watcher = WorkerMetrics(worker, "grid", "gpu0-1")
    powers_w = []

    def look() -> None:
        watcher.tell()
        if worker.rig is not None:
            powers_w.append(told.of(metrics.POWER, board="gpu0"))

    with device_environment_restored():
        begun_s = clock.monotonic()
        clock.every(0.9, look)
        worker.start()
        outcome = worker.run(experiment(load_seconds=4.0, run_seconds=20.0), 1).outcome
        clock.sleep(0.9)
        watcher.tell()
        ended_s = clock.monotonic()
        assert worker.rig is not None
        truth_mj = [reading.energy_mj for reading in worker.rig.readings() if reading is not None]
        worker.close()
    assert isinstance(outcome, Completed)
    result = outcome.result
    assert told.names() == {metric.name for metric in metrics.OF_WORKERS}
    everywhere = {"sweep": "grid", "node": "here", "simulated": "true"}
    assert told.of(metrics.LOADS, worker="gpu0-1", **everywhere) == 1
    assert told.of(metrics.TOKENS, direction="output", backend="synthetic") == result.output_tokens
    assert told.of(metrics.TOKENS, direction="input", backend="synthetic") == result.input_tokens
    assert told.of(metrics.PHASE_TIME, phase="load") == pytest.approx(4.0)
    assert told.of(metrics.PHASES, phase="load") == 1
    phases_s = [value for (name, _), value in told.values.items() if name == metrics.PHASE_TIME.name]
    assert sum(phases_s) == pytest.approx(ended_s - begun_s)
    assert min(powers_w) < 150 < 250 < max(powers_w), "idle, and at work"
    for number, board in enumerate(result.environment_snapshot.devices):
        tags = {"board": f"gpu{number}", "uuid": board.uuid, "kind": board.name, **everywhere}
        energy_j = told.of(metrics.BOARD_ENERGY, **tags)
        per_device_j = result.energy_per_device_j
        assert per_device_j is not None
        measured_j = per_device_j[number]
        assert measured_j is not None
        assert energy_j > measured_j, "loading and idle time as well"
        assert energy_j <= truth_mj[number] / 1000  # type: ignore[operator]
        assert told.of(metrics.UTILISATION, **tags) == 0
        assert 20 < told.of(metrics.TEMPERATURE, **tags) < 90
        assert told.of(metrics.THROTTLED, reason="power", **tags) in (0.0, 1.0)
        assert told.of(metrics.THROTTLED, reason="thermal", **tags) in (0.0, 1.0)


def test_a_worker_without_boards_tells_of_its_work(told: Told) -> None:
    worker = Worker(WorkerSpec("here/worker0", "here", 0, None, baseline_s=0.0), clock := SimulatedClock())
    with device_environment_restored():
        worker.start()
        clock.sleep(2.0)
        WorkerMetrics(worker, "grid", "worker0").tell()
        worker.close()
    assert metrics.POWER.name not in told.names()
    assert told.of(metrics.PHASE_TIME, phase="idle", worker="worker0", simulated="false") == 2.0


def test_metrics_that_fail_are_logged_once_and_disturb_nothing(
    told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    told.broken = RuntimeError("no agent")
    clock = SimulatedClock()
    worker = Worker(TWO_BOARDS, clock)
    watcher = WorkerMetrics(worker, "grid", "gpu0-1")
    with device_environment_restored(), caplog.at_level(logging.WARNING):
        worker.start()
        clock.every(0.9, watcher.tell)
        outcome = worker.run(experiment(run_seconds=5.0), 1).outcome
        told.broken = None
        watcher.tell()
        worker.close()
    assert isinstance(outcome, Completed)
    assert [record.message for record in caplog.records if "metrics" in record.message] == [
        "metrics can't be told any more: RuntimeError: no agent"
    ]
    assert not told.values


def test_every_admitted_experiment_is_in_one_state(told: Told) -> None:
    clock = SimulatedClock()
    watcher = SweepMetrics("grid", clock, simulated=False)
    watcher.update(progress(retried=2, efficiency=0.9, energy_j=12.5))
    shown = {
        state: told.of(metrics.EXPERIMENTS, state=state, sweep="grid", simulated="false")
        for state in ("queued", "running", "done", "failed")
    }
    assert shown == {"queued": 4, "running": 2, "done": 3, "failed": 1}
    assert told.of(metrics.RETRIES) == 2
    assert told.of(metrics.EFFICIENCY) == 0.9
    assert told.of(metrics.MEASURED_ENERGY) == 12.5
    assert told.of(metrics.REMAINING) == 7.0
    assert told.names() == {metric.name for metric in metrics.OF_DRIVER}


def test_what_is_not_known_is_not_told(told: Told) -> None:
    SweepMetrics("grid", SimulatedClock(), simulated=True).update(progress(remaining_s=None))
    assert told.names() == {metrics.EXPERIMENTS.name}


def test_counters_grow_by_what_was_added_and_gauges_are_set_often_enough(told: Told) -> None:
    clock = SimulatedClock()
    watcher = SweepMetrics("grid", clock, simulated=False)
    for energy_j in (10.0, 10.0, 25.0):
        watcher.update(progress(energy_j=energy_j))
        calls = told.calls
        watcher.update(progress(energy_j=999.0))
        assert told.calls == calls, "not several times a second"
        clock.sleep(EVERY_S)
    assert told.of(metrics.MEASURED_ENERGY) == 25.0
    # Ray forgets a gauge that wasn't set within two of its reports, which may be a second apart.
    assert EVERY_S <= 1.0
    assert PUSH_PERIOD_S * METRICS_EVERY <= 1.0
