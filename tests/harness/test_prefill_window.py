"""Prefill by a window of its own: against the truth of simulated boards, and against the split of the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gangs import measured_together
from gangs import planned as planned_gang
from llem_sweep.clock import SimulatedClock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.device.faults import Faults, ForeignProcess
from llem_sweep.device.protocol import Gpu
from llem_sweep.device.simulated import Limits, PowerProfile, SensorProfile, SimulatedGpu, simulated_boards
from llem_sweep.errors import BackendError
from llem_sweep.harness.gathering import gathered
from llem_sweep.harness.measure import measure
from llem_sweep.harness.phases import phase_breakdown
from llem_sweep.harness.rig import Rig
from llem_sweep.harness.verification import verify
from llem_sweep.harness.work import Work
from llem_sweep.phases import Phase, PhaseMark, PhaseStream
from llem_sweep.plan.types import PlannedExperiment
from llem_sweep.results.experiment import ExperimentResult
from llem_sweep.results.outcome import REQUESTS, Completed
from llem_sweep.results.parts import PhaseBreakdown, PrefillWindow
from llem_sweep.results.verdict import BLOCKING
from llem_sweep.results.warnings import WarningCode
from llem_sweep.sampling.account import Evidence, PrefillRun, Span, take_account
from llem_sweep.sampling.intervals import BatchMarks
from llem_sweep.sampling.recording import Recording
from llem_sweep.sampling.sampler import SAMPLE_PERIOD_S, Sampler
from probe_backend import install_probe

RUN_S, PREFILL_S, PREFILL_W = 12.0, 1.2, 620.0
"""A tenth of a run of the synthetic backend is prefill."""


def planned(*, wanted: bool = True, **fields: Any) -> PlannedExperiment:
    known: dict[str, Any] = {
        "model": "acme/made-up-7b",
        "backend": "synthetic",
        "n": 16,
        "synthetic": {"run_seconds": RUN_S},
        "baseline": {"duration_seconds": 10.0},
        "warmup": {"n_warmup": 2, "thermal_floor_seconds": 0.0},
    }
    measurement = {"prefill_window": wanted} | fields.pop("measurement", {})
    config = ExperimentConfig.model_validate(known | fields | {"measurement": measurement})
    return PlannedExperiment("0" * 16, "1" * 16, config, 1, {})


class Bench:
    """A rig in simulated time, and the marks of what happened on it."""

    def __init__(self, clock: SimulatedClock, boards: tuple[SimulatedGpu, ...]) -> None:
        self.clock = clock
        self.boards = boards
        gpus: tuple[Gpu, ...] = boards
        self.rig = Rig(gpus, clock, node="here")
        self.marks: list[PhaseMark] = []
        self.rig.phases.subscribe(self.marks.append)

    @classmethod
    def of_one(cls, **board: Any) -> Bench:
        clock = SimulatedClock()
        return cls(clock, (SimulatedGpu(0, clock, **board),))

    def measure(self, experiment: PlannedExperiment) -> Completed:
        """As it comes back from a file."""
        further: dict[str, bytes] = {}
        result, sidecar = measure(experiment, self.rig, keep=further.__setitem__)
        again = ExperimentResult.model_validate_json(result.model_dump_json())
        return Completed(again, sidecar, further)


def phases_of(completed: Completed) -> tuple[PhaseBreakdown, PrefillWindow]:
    phases = completed.result.phases
    assert phases is not None
    assert phases.prefill_window is not None
    return phases, phases.prefill_window


def problems(completed: Completed) -> tuple[str, ...]:
    return verify(completed.result, completed.timeseries_parquet, completed.further[REQUESTS]).problems


def warned(completed: Completed) -> list[str]:
    code = WarningCode.PREFILL_DISAGREEMENT
    return [each.message for each in completed.result.measurement_warnings if each.code is code]


@pytest.mark.parametrize("least_s", [0.0, 30.0])
def test_its_energy_is_the_boards_and_agrees_with_the_split(least_s: float) -> None:
    bench = Bench.of_one()
    done = bench.measure(planned(measurement={"min_duration_seconds": least_s}))
    phases, own = phases_of(done)
    iterations = done.result.iterations
    assert iterations == (3 if least_s else 1)
    # Nine times 1.2 s are the first whole number of workloads above ten seconds.
    assert own.repetitions == 9
    assert own.time_s == pytest.approx(9 * PREFILL_S)
    assert own.gap_s == pytest.approx(0.0, abs=1e-9)
    end_s = max(mark.at_s for mark in bench.marks if mark.phase is Phase.COOL)
    truth_j = bench.boards[0].true_energy_j(end_s - own.time_s, end_s)
    assert truth_j == pytest.approx(9 * PREFILL_S * PREFILL_W)
    assert own.energy_uncertainty_j is not None
    assert 0 < own.energy_uncertainty_j < 0.002 * truth_j
    assert own.energy_j == pytest.approx(truth_j, abs=own.energy_uncertainty_j)
    assert own.energy_per_device_j == (own.energy_j,)
    assert own.time_per_run_s == pytest.approx(PREFILL_S)
    assert own.energy_per_run_j == pytest.approx(PREFILL_S * PREFILL_W, abs=own.energy_per_run_uncertainty_j)
    assert own.prefill.time_s == pytest.approx(phases.prefill.time_s)
    assert own.prefill.tokens == phases.prefill.tokens
    in_the_run_j = iterations * PREFILL_S * PREFILL_W
    assert own.prefill.energy_j == pytest.approx(in_the_run_j, abs=own.prefill.energy_uncertainty_j)
    assert phases.prefill.energy_j is not None
    assert own.difference_j == pytest.approx(own.prefill.energy_j - phases.prefill.energy_j)  # type: ignore[operator]
    assert own.difference_uncertainty_j is not None
    assert own.difference_uncertainty_j < 0.05 * in_the_run_j
    assert own.agrees is True
    # Prefill draws more than the run did, so that the board is warmer.
    assert own.temperature_change_c is not None
    assert own.temperature_change_c > 0
    assert (own.power_throttle, own.thermal_throttle) == (False, False)
    assert warned(done) == []
    assert problems(done) == ()


def test_nothing_else_of_a_result_depends_on_it() -> None:
    without = Bench.of_one().measure(planned(wanted=False))
    done = Bench.of_one().measure(planned())
    phases, _ = phases_of(done)
    assert without.result.phases is not None
    assert without.result.phases.prefill_window is None
    made_equal = {
        "phases": phases.model_copy(update={"prefill_window": None}),
        "effective_config": without.result.effective_config,
        "timeseries_sha256": without.result.timeseries_sha256,
        "environment_snapshot": without.result.environment_snapshot,
    }
    assert done.result.model_copy(update=made_equal) == without.result
    assert done.further == without.further


def test_it_comes_after_the_last_look_at_idle_power_and_starts_at_a_tick() -> None:
    bench = Bench.of_one(sensor=SensorProfile(tick_s=0.1, offset_s=0.03))
    bench.measure(planned(baseline={"duration_seconds": 10.0, "after_seconds": 3.0}))
    order = [mark.phase for mark in bench.marks]
    idle_again = len(order) - 1 - order[::-1].index(Phase.CONTEXT)
    after = bench.marks[idle_again + 1 :]
    first, second = (number for number, mark in enumerate(after) if mark.phase is Phase.COOL)
    assert second == len(after) - 1
    assert {mark.phase for mark in after} == {Phase.PREFILL, Phase.DECODE, Phase.COOL}
    # Of 9 runs of 8 batches, each with a mark for its start and one for its first token.
    assert second - first - 1 == 9 * 8 * 2
    start_s = after[first + 1].at_s
    assert 0 <= (start_s - 0.03) % 0.1 < 0.02
    assert 0.25 <= start_s - after[first].at_s < 0.4
    assert after[first].at_s - after[0].at_s >= 2.0


def test_another_power_in_its_own_window_is_a_disagreement_that_blocks_nothing() -> None:
    """Prefill by itself heats the board to where it is held down, which the run did not."""
    bench = Bench.of_one(limits=Limits(thermal_c=50.0, share_when_hot=0.6))
    done = bench.measure(planned())
    phases, own = phases_of(done)
    assert done.result.thermal_throttle is not None
    assert not done.result.thermal_throttle.thermal
    assert own.thermal_throttle is True
    assert own.agrees is False
    assert own.difference_j is not None
    assert own.difference_uncertainty_j is not None
    assert phases.prefill.energy_j == pytest.approx(PREFILL_S * PREFILL_W, rel=0.02)
    assert own.difference_j < -own.difference_uncertainty_j
    (message,) = warned(done)
    assert f"{own.difference_j:+.1f} J" in message
    assert "held down by heat" in message
    assert f"{own.temperature_change_c:+.1f} °C" in message
    assert done.result.verdict is not None
    assert not any(reason.startswith("prefill_disagreement") for reason in done.result.verdict.because)
    assert WarningCode.PREFILL_DISAGREEMENT not in BLOCKING
    assert problems(done) == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [("energy_j", 1.0), ("agrees", False), ("repetitions", 8), ("gap_s", 1.0), ("difference_j", None)],
)
def test_an_altered_value_is_contradicted_by_the_samples(field: str, value: Any) -> None:
    done = Bench.of_one().measure(planned())
    phases, own = phases_of(done)
    altered = phases.model_copy(update={"prefill_window": own.model_copy(update={field: value})})
    found = verify(done.result.model_copy(update={"phases": altered}), done.timeseries_parquet)
    assert any(f"phases.prefill_window.{field} is" in problem for problem in found.problems), found.problems
    assert not found.verdict.publishable
    left_out = phases.model_copy(update={"prefill_window": None})
    found = verify(done.result.model_copy(update={"phases": left_out}), done.timeseries_parquet)
    assert any("phases.prefill_window is None" in problem for problem in found.problems)


def rewritten(sidecar: bytes, *, more_mj: int = 0, later_s: float = 0.0) -> bytes:
    """The sidecar with more energy in the second half of its own recording of prefill, or later first tokens."""
    table = pq.read_table(pa.BufferReader(sidecar))
    counts = table["energy_mj"].to_pylist()
    own = [row for row, name in enumerate(table["recording"].to_pylist()) if name == "prefill"]
    for row in own[len(own) // 2 :]:
        counts[row] += more_mj
    place = table.schema.get_field_index("energy_mj")
    table = table.set_column(place, table.schema.field("energy_mj"), pa.array(counts, pa.int64()))
    metadata = dict(table.schema.metadata)
    about = json.loads(metadata[b"llem_sweep.evidence"])
    for marks in about["processes"][0]["prefill"]["batches"]:
        marks[1] += later_s
    metadata[b"llem_sweep.evidence"] = json.dumps(about).encode()
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(metadata), sink)
    return bytes(sink.getvalue())


@pytest.mark.parametrize(
    ("change", "told"),
    [({"more_mj": 50_000}, "energy_j"), ({"later_s": -0.01}, "gap_s")],
)
def test_altered_samples_and_marks_of_it_are_contradicted(change: dict[str, Any], told: str) -> None:
    done = Bench.of_one().measure(planned())
    found = verify(done.result, rewritten(done.timeseries_parquet, **change)).problems
    assert any(problem.startswith(f"phases.prefill_window.{told} is") for problem in found), found
    assert not any(problem.startswith("total_energy_j") for problem in found)


def test_another_process_on_the_board_meanwhile_is_told() -> None:
    """It comes when the run is over, and draws on the board that prefill alone is measured on."""
    quiet = Bench.of_one()
    quiet.measure(planned())
    _, pause_s, _ = (mark.at_s for mark in quiet.marks if mark.phase is Phase.COOL)
    noisy = ForeignProcess(4711, begin_s=pause_s - 1.0, extra_w=60.0)
    done = Bench.of_one(faults=Faults(foreign=(noisy,))).measure(planned())
    _, own = phases_of(done)
    assert own.foreign_pids == (4711,)
    assert own.agrees is False
    assert own.difference_j is not None
    assert own.difference_j > 0
    (message,) = warned(done)
    assert "other processes on the board: 4711" in message
    assert WarningCode.FOREIGN_PROCESS not in {each.code for each in done.result.measurement_warnings}
    assert problems(done) == ()


def test_without_a_counter_it_is_known_and_there_is_nothing_to_hold_it_against() -> None:
    done = Bench.of_one(sensor=SensorProfile(has_counter=False)).measure(planned())
    phases, own = phases_of(done)
    assert phases.prefill.energy_j is None
    assert own.prefill.energy_j == pytest.approx(PREFILL_S * PREFILL_W, abs=own.prefill.energy_uncertainty_j)
    assert (own.difference_j, own.difference_uncertainty_j, own.agrees) == (None, None, None)
    assert problems(done) == ()


@pytest.mark.parametrize("fields", [{"gpus": 0}, {"energy": {"backend": "null"}}])
def test_where_nothing_is_metered_its_time_is_known(fields: dict[str, Any]) -> None:
    clock = SimulatedClock()
    bench = Bench(clock, simulated_boards(range(fields.get("gpus", 1)), clock))
    done = bench.measure(planned(**fields))
    _, own = phases_of(done)
    assert own.time_per_run_s == pytest.approx(PREFILL_S)
    assert own.prefill.tokens_per_second == pytest.approx(16 * 512 / PREFILL_S)
    assert (own.energy_j, own.prefill.energy_j, own.agrees, own.power_throttle) == (None, None, None, None)
    assert problems(done) == ()


def test_boards_add_up() -> None:
    clock = SimulatedClock()
    bench = Bench(clock, simulated_boards([0, 1], clock))
    done = bench.measure(planned(gpus=2))
    _, own = phases_of(done)
    first_j, second_j = own.energy_per_device_j
    assert first_j is not None
    assert second_j is not None
    assert first_j == pytest.approx(9 * PREFILL_S * PREFILL_W, rel=0.002)
    assert second_j == pytest.approx(0.94 * 9 * PREFILL_S * PREFILL_W, rel=0.002)
    assert own.energy_j == pytest.approx(first_j + second_j, rel=1e-12)
    assert own.agrees is True
    assert problems(done) == ()


@pytest.mark.parametrize(("gap_w", "within"), [(0.0, True), (PREFILL_W, True), (2 * PREFILL_W, False)])
def test_whatever_is_drawn_in_its_gaps_up_to_what_prefill_draws_is_in_the_bound(
    gap_w: float, within: bool
) -> None:
    """A tenth of the window lies between a first token and the next batch's start."""
    clock = SimulatedClock()
    board = SimulatedGpu(0, clock, PowerProfile(prefill_w=PREFILL_W, decode_w=gap_w))
    phases = PhaseStream(clock)
    phases.subscribe(board.on_phase)
    marks: list[BatchMarks] = []
    with Sampler([board], clock, phases, SAMPLE_PERIOD_S) as sampler:
        phases.mark(Phase.LOAD)
        clock.sleep(2.0)
        start_s = clock.monotonic()
        for _ in range(200):
            begun_s = phases.mark(Phase.PREFILL).at_s
            clock.sleep(0.045)
            marks.append(BatchMarks(begun_s, phases.mark(Phase.DECODE).at_s))
            clock.sleep(0.005)
        end_s = phases.mark(Phase.COOL).at_s
        clock.sleep(2.0)
        recording = sampler.stop()
    span = Span("prefill", "after", "prefill", start_s, end_s)
    window = Span("window", "during", "window", start_s, end_s)
    recordings: dict[str, Recording] = {"window": recording, "prefill": recording}
    # As many batches as there were passes: what is scaled to the window is the passes' own prefill.
    run = PrefillRun(span, 50, tuple(marks))
    evidence = Evidence(recordings, (window,), (board.sensors,), None, tuple(marks), run)
    found = phase_breakdown(evidence, take_account(evidence, "cold"), Work(200, 200, 200, 0, 200, 200))
    assert found is not None
    own = found.prefill_window
    assert own is not None
    assert own.gap_s == pytest.approx(1.0)
    assert own.prefill.time_s == pytest.approx(9.0)
    assert own.prefill.energy_j is not None
    assert own.prefill.energy_uncertainty_j is not None
    off_j = abs(own.prefill.energy_j - 9.0 * PREFILL_W)
    assert (off_j <= own.prefill.energy_uncertainty_j) is within


@pytest.mark.parametrize("parallelism", ["data", "tensor"])
def test_processes_measure_it_together_and_it_adds_up(parallelism: str) -> None:
    synthetic = {"run_seconds": RUN_S, "num_processes": 2, "parallelism": parallelism}
    done = gathered(
        measured_together(planned_gang(synthetic=synthetic, measurement={"prefill_window": True}))
    )
    assert isinstance(done, Completed)
    phases, own = phases_of(done)
    whole_j = PREFILL_S * PREFILL_W * (1 + 0.94)
    assert own.repetitions == 9
    assert own.prefill.energy_j == pytest.approx(whole_j, abs=own.prefill.energy_uncertainty_j)
    assert own.energy_per_run_j == pytest.approx(whole_j, abs=own.energy_per_run_uncertainty_j)
    assert own.time_per_run_s == pytest.approx(PREFILL_S)
    assert own.prefill.tokens == phases.prefill.tokens == 18 * 512
    assert len(own.energy_per_device_j) == 2
    assert own.agrees is True
    again = done._replace(result=ExperimentResult.model_validate_json(done.result.model_dump_json()))
    assert problems(again) == ()
    altered = phases.model_copy(update={"prefill_window": own.model_copy(update={"energy_j": 1.0})})
    found = verify(again.result.model_copy(update={"phases": altered}), again.timeseries_parquet).problems
    assert any("phases.prefill_window.energy_j is 1.0" in problem for problem in found)


def test_a_backend_that_stamps_no_steps_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probe = install_probe(tmp_path / "site", monkeypatch)
    probe.batch_s = 1.0
    with pytest.raises(BackendError, match=r"measurement\.prefill_window: .* when prefill ends"):
        Bench.of_one().measure(planned(backend="probe"))
