"""A workload repeated until the run is long enough: what runs, what is counted, and what processes agree on."""

from __future__ import annotations

import pytest

from factories import planned_synthetic
from gangs import clock_of, measured_together
from gangs import planned as planned_gang
from llem_sweep.clock import SimulatedClock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.identity import config_hash
from llem_sweep.device.simulated import simulated_boards
from llem_sweep.harness.gathering import gathered
from llem_sweep.harness.measure import measure
from llem_sweep.harness.rig import Rig
from llem_sweep.harness.verification import verify
from llem_sweep.phases import Phase, PhaseMark
from llem_sweep.plan.types import PlannedExperiment
from llem_sweep.results.outcome import REQUESTS as RECORDS
from llem_sweep.results.outcome import Completed

REQUESTS, INPUT, OUTPUT = 16, 512, 128


def planned(least_s: float, run_s: float = 5.0) -> PlannedExperiment:
    return planned_synthetic(
        n=REQUESTS, synthetic={"run_seconds": run_s}, measurement={"min_duration_seconds": least_s}
    )


@pytest.mark.parametrize(("least_s", "times"), [(0.0, 1), (4.9, 1), (5.1, 2), (12.0, 3)])
def test_the_workload_is_run_as_a_whole_as_often_as_the_time_asks(least_s: float, times: int) -> None:
    clock = SimulatedClock()
    (board,) = simulated_boards([0], clock)
    rig = Rig((board,), clock, node="here")
    marks: list[PhaseMark] = []
    rig.phases.subscribe(marks.append)
    result, sidecar = measure(planned(least_s), rig)
    assert result.iterations == times
    assert result.total_inference_time_sec == pytest.approx(5.0 * times)
    assert (result.requests, result.input_tokens, result.output_tokens) == (
        REQUESTS * times,
        REQUESTS * INPUT * times,
        REQUESTS * OUTPUT * times,
    )
    assert result.extended_metrics is not None
    assert result.extended_metrics.batch_count == 8 * times
    assert sum(mark.phase is Phase.PREFILL for mark in marks) == 8 * times
    start_s = next(mark.at_s for mark in marks if mark.phase is Phase.PREFILL)
    end_s = next(mark.at_s for mark in marks if mark.phase is Phase.COOL)
    truth_j = board.true_energy_j(start_s, end_s)
    assert result.total_energy_j == pytest.approx(truth_j, abs=result.energy_uncertainty_j)
    assert result.avg_energy_per_token_j == pytest.approx(
        truth_j / (REQUESTS * OUTPUT * times), abs=result.avg_energy_per_token_uncertainty_j
    )
    assert result.avg_tokens_per_second == pytest.approx(REQUESTS * OUTPUT / 5.0)
    found = verify(result, sidecar)
    assert (found.problems, found.recomputed) == ((), True)


def test_a_workload_that_takes_no_time_is_repeated_for_as_long_and_lets_the_sampler_in() -> None:
    clock = SimulatedClock()
    rig = Rig(simulated_boards([0], clock), clock, node="here")
    result, _ = measure(planned(0.5, run_s=0.0), rig)
    assert result.total_inference_time_sec == pytest.approx(0.5, abs=0.01)
    assert result.iterations == pytest.approx(500, abs=2)
    assert result.sampler is not None
    assert result.sampler.samples > 20


class HastyClock(SimulatedClock):
    """A clock whose process takes half as long again over everything."""

    def sleep(self, seconds: float) -> None:
        super().sleep(1.5 * seconds)


def together(parallelism: str) -> Completed:
    experiment = planned_gang(
        synthetic={"run_seconds": 4.0, "num_processes": 2, "parallelism": parallelism},
        measurement={"min_duration_seconds": 10.0},
    )
    outcome = gathered(measured_together(experiment, clocks=lambda r: HastyClock() if r else clock_of(r)))
    assert isinstance(outcome, Completed), outcome
    return outcome


def test_processes_that_share_the_requests_repeat_their_own() -> None:
    result, sidecar, further = together("data")
    # 4 s a time and 6 s a time: after 12 s both have lasted 10 s.
    assert [process.iterations for process in result.process_results] == [3, 2]
    assert result.iterations is None
    assert result.requests == 3 * 9 + 2 * 9
    assert verify(result, sidecar, further[RECORDS]).problems == ()


def test_processes_that_share_the_model_repeat_it_as_often() -> None:
    result, sidecar, further = together("tensor")
    assert [process.iterations for process in result.process_results] == [3, 3]
    assert (result.iterations, result.requests) == (3, 3 * 18)
    assert verify(result, sidecar, further[RECORDS]).problems == ()
    altered = result.model_copy(update={"iterations": 1})
    assert any("iterations is 1" in problem for problem in verify(altered, sidecar).problems)


def test_running_once_is_the_default_and_changes_no_identity() -> None:
    plain = ExperimentConfig(model="acme/made-up-7b")
    spelled = ExperimentConfig(model="acme/made-up-7b", measurement={"min_duration_seconds": 0.0})  # type: ignore[arg-type]
    longer = ExperimentConfig(model="acme/made-up-7b", measurement={"min_duration_seconds": 1.0})  # type: ignore[arg-type]
    assert config_hash(plain, {}) == config_hash(spelled, {}) != config_hash(longer, {})
