from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from llem_sweep.backends.protocol import Fetched, LoadContext
from llem_sweep.backends.synthetic import SyntheticBackend, batch_sizes
from llem_sweep.clock import SimulatedClock, SystemClock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.options import Parallelism
from llem_sweep.errors import BackendError, GpuMemoryError, ModelLoadError
from llem_sweep.phases import Phase

FIRST = LoadContext(gpus=1, simulated=True, attempt=1)
SECOND = FIRST._replace(attempt=2)


def make(n: int = 20, **options: Any) -> ExperimentConfig:
    return ExperimentConfig.model_validate(
        {"model": "anything", "backend": "synthetic", "n": n, "synthetic": options}
    )


def test_a_run_takes_the_seconds_asked_for_a_tenth_of_each_batch_as_prefill() -> None:
    clock = SimulatedClock()
    config = make(n=4, run_seconds=8.0)
    workload = SyntheticBackend(clock).load(config, FIRST).prepare(config)
    started_s = clock.monotonic()
    marks: list[tuple[Phase, float]] = []
    for index in range(workload.batches):
        workload.run_batch(index, lambda phase: marks.append((phase, clock.monotonic() - started_s)))
    assert clock.monotonic() - started_s == pytest.approx(8.0)
    assert [phase for phase, _ in marks] == [Phase.PREFILL, Phase.DECODE] * 4
    assert [at_s for _, at_s in marks] == pytest.approx([0.0, 0.2, 2.0, 2.2, 4.0, 4.2, 6.0, 6.2])


def test_loading_takes_load_seconds() -> None:
    clock = SimulatedClock()
    started_s = clock.monotonic()
    SyntheticBackend(clock).load(make(load_seconds=3.0), FIRST)
    assert clock.monotonic() - started_s == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("requests", "sizes"),
    [(1, (1,)), (8, (1,) * 8), (9, (2, *(1,) * 7)), (100, (13,) * 4 + (12,) * 4)],
)
def test_requests_are_spread_evenly(requests: int, sizes: tuple[int, ...]) -> None:
    assert batch_sizes(requests) == sizes


@pytest.mark.parametrize(("given", "expected"), [(None, 128), (7, 7)])
def test_output_tokens_default_to_the_longest_answer(given: int | None, expected: int) -> None:
    config = make(n=1, output_tokens=given)
    workload = SyntheticBackend(SimulatedClock()).load(config, FIRST).prepare(config)
    assert workload.run_batch(0, lambda phase: None).output_tokens == expected


def test_zero_durations_cost_next_to_nothing() -> None:
    backend, config = SyntheticBackend(SystemClock()), make(n=100)
    started_s = time.process_time()
    for _ in range(100):
        workload = backend.load(config, FIRST).prepare(config)
        for index in range(workload.batches):
            workload.run_batch(index, lambda phase: None)
    assert time.process_time() - started_s < 0.5


def test_a_failing_load_says_so() -> None:
    with pytest.raises(ModelLoadError, match="fail_at is load"):
        SyntheticBackend(SimulatedClock()).load(make(fail_at="load"), FIRST)


@pytest.mark.parametrize(("fault", "error"), [("run", BackendError), ("oom", GpuMemoryError)])
def test_a_failing_run_raises_its_kind(fault: str, error: type[BackendError]) -> None:
    config = make(fail_at=fault)
    workload = SyntheticBackend(SimulatedClock()).load(config, FIRST).prepare(config)
    with pytest.raises(error) as caught:
        workload.run_batch(0, lambda phase: None)
    assert type(caught.value) is error


def test_failures_end_after_fail_times_attempts() -> None:
    backend, config = SyntheticBackend(SimulatedClock()), make(fail_at="load", fail_times=1)
    with pytest.raises(ModelLoadError):
        backend.load(config, FIRST)
    assert backend.load(config, SECOND).prepare(config).batches == 8


def test_a_model_whose_faults_depend_on_the_attempt_is_never_reused() -> None:
    backend = SyntheticBackend(SimulatedClock())
    faulty, sound = make(fail_at="run", fail_times=1), make()
    assert backend.load_key(faulty) != backend.load_key(faulty)
    assert backend.load_key(sound) == backend.load_key(make(run_seconds=2.0))


def test_a_hang_lasts() -> None:
    config = make(fail_at="hang")
    workload = SyntheticBackend(SimulatedClock()).load(config, FIRST).prepare(config)
    thread = threading.Thread(target=workload.run_batch, args=(0, lambda phase: None), daemon=True)
    thread.start()
    thread.join(0.1)
    assert thread.is_alive()


def test_dying_takes_the_process_along_and_torch_is_never_imported() -> None:
    program = """
import sys
from llem_sweep.backends.protocol import LoadContext
from llem_sweep.backends.registry import create_backend
from llem_sweep.clock import SystemClock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.options import Parallelism
config = ExperimentConfig(model="m", backend="synthetic", synthetic={"fail_at": "die"})
model = create_backend("synthetic", SystemClock()).load(config, LoadContext(0, False, 1))
print("torch" in sys.modules or "transformers" in sys.modules, flush=True)
model.prepare(config).run_batch(0, lambda phase: None)
print("alive", flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=dict(os.environ), check=False
    )
    assert (done.returncode, done.stdout.split()) == (1, ["False"]), done.stderr


def test_fetching_takes_its_time_once() -> None:
    clock = SimulatedClock()
    backend = SyntheticBackend(clock)
    config = make(fetch_seconds=30.0)
    begun_s = clock.monotonic()
    assert backend.fetch(config) == Fetched(0, 30.0, already_there=False)
    assert backend.fetch(config).already_there
    assert clock.monotonic() - begun_s == 30.0


def test_a_fetch_that_fails_makes_loading_fail_too() -> None:
    backend = SyntheticBackend(SimulatedClock())
    config = make(fail_at="fetch")
    assert backend.fetch_key(config) is not None
    with pytest.raises(ModelLoadError, match="fail_at is fetch"):
        backend.fetch(config)
    with pytest.raises(ModelLoadError, match="fail_at is fetch"):
        backend.load(config, LoadContext(gpus=1, simulated=True, attempt=1))


def test_processes_share_the_requests_or_each_runs_all_of_them() -> None:
    config = make(n=10, output_tokens=7)
    backend = SyntheticBackend(SimulatedClock())

    def ran(rank: int, parallelism: Parallelism) -> tuple[int, int]:
        context = FIRST._replace(rank=rank, size=4, parallelism=parallelism)
        workload = backend.load(config, context).prepare(config)
        tallies = [workload.run_batch(index, lambda phase: None) for index in range(workload.batches)]
        return sum(tally.requests for tally in tallies), sum(tally.output_tokens for tally in tallies)

    assert [ran(rank, "data") for rank in range(4)] == [(3, 21), (3, 21), (2, 14), (2, 14)]
    assert [ran(rank, "tensor") for rank in range(4)] == [(10, 70)] * 4
