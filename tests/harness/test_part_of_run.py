"""A window that is a part of the run: tokens and energy of the same batches, and found again by verification."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factories import planned_synthetic
from llem_sweep.clock import SimulatedClock
from llem_sweep.device.sensors import GENERATIONS
from llem_sweep.device.simulated import SensorView, SimulatedGpu, simulated_boards
from llem_sweep.errors import WindowError
from llem_sweep.harness.assembly import Measured
from llem_sweep.harness.measure import measure
from llem_sweep.harness.rig import Rig
from llem_sweep.harness.verification import verify
from llem_sweep.phases import Phase, PhaseMark
from llem_sweep.plan.types import PlannedExperiment
from llem_sweep.results.experiment import ExperimentResult
from llem_sweep.results.warnings import WarningCode
from llem_sweep.sampling.sidecar import EVIDENCE_KEY
from llem_sweep.sampling.sidecar_reading import decode_timeseries

RUN_S, BATCHES, REQUESTS = 24.0, 8, 18
"""Batches of 3 s: the first two of three requests, the others of two."""
PER_REQUEST = (512, 128)


def planned(**fields: Any) -> PlannedExperiment:
    known = {"synthetic": {"run_seconds": RUN_S}, "baseline": {"duration_seconds": 4.0}}
    return planned_synthetic(**({"n": REQUESTS} | known | fields))


class Bench:
    """One simulated board, and the start of the run on it."""

    def __init__(self, board: Any = None) -> None:
        self.clock = SimulatedClock()
        self.board: SimulatedGpu = board(self.clock) if board else simulated_boards([0], self.clock)[0]
        self.rig = Rig((self.board,), self.clock, node="here")
        self.marks: list[PhaseMark] = []
        self.rig.phases.subscribe(self.marks.append)

    def measure(self, **fields: Any) -> Measured:
        result, sidecar = measure(planned(**fields), self.rig)
        # As it comes back from a file.
        return Measured(ExperimentResult.model_validate_json(result.model_dump_json()), sidecar)

    @property
    def run_s(self) -> float:
        return next(mark.at_s for mark in self.marks if mark.phase is Phase.PREFILL)

    def truth_j(self, result: ExperimentResult) -> float:
        """What the board drew in the window that the result states."""
        window = result.steady_state_window
        assert window is not None
        return self.board.true_energy_j(self.run_s + window.start_s, self.run_s + window.end_s)


BETWEEN = {"window": "windowed", "start_seconds": 5.0, "end_seconds": 20.0}
"""Six to eighteen seconds once moved to batches: the third to the sixth."""


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench()


@pytest.fixture(scope="module")
def between(bench: Bench) -> Measured:
    return bench.measure(measurement=BETWEEN)


def test_tokens_and_energy_are_those_of_the_same_batches(bench: Bench, between: Measured) -> None:
    result = between.result
    assert result.measurement_methodology == "windowed"
    window = result.steady_state_window
    assert window is not None
    assert (window.start_s, window.end_s, window.run_s) == pytest.approx((6.0, 18.0, RUN_S))
    assert (result.requests, result.input_tokens, result.output_tokens) == (
        8,
        8 * PER_REQUEST[0],
        8 * PER_REQUEST[1],
    )
    assert result.extended_metrics is not None
    assert result.extended_metrics.batch_count == 4
    assert result.iterations == 1
    assert result.total_inference_time_sec == pytest.approx(12.0)
    assert (result.end_time - result.start_time).total_seconds() == pytest.approx(12.0)
    truth_j = bench.truth_j(result)
    assert result.total_energy_j == pytest.approx(truth_j, abs=result.energy_uncertainty_j)
    assert result.energy_uncertainty_j is not None
    assert result.energy_uncertainty_j < 0.01 * truth_j
    assert result.avg_tokens_per_second == pytest.approx(8 * PER_REQUEST[1] / 12.0)
    # One batch of warm-up, and the two of the run before the window.
    assert result.warmup_excluded_samples == 3 + 3 + 3


def test_idle_power_is_subtracted_over_the_window_alone(between: Measured) -> None:
    result = between.result
    assert result.baseline_power_w is not None
    assert result.total_energy_j is not None
    assert result.energy_adjusted_j == result.total_energy_j - result.baseline_power_w * 12.0


def test_the_sidecar_marks_the_window_and_holds_the_whole_run(between: Measured) -> None:
    rows = decode_timeseries(between.timeseries_parquet).to_pylist()
    inside = [row["timestamp_s"] for row in rows if row["in_window"]]
    assert min(inside) == pytest.approx(0.0, abs=0.02)
    assert max(inside) == pytest.approx(12.0, abs=0.02)
    work = [row["timestamp_s"] for row in rows if row["phase"] in ("prefill", "decode")]
    assert (min(work), max(work)) == (pytest.approx(-6.0, abs=0.02), pytest.approx(18.0, abs=0.02))


def test_the_truth_lies_within_the_bound_wherever_the_window_begins() -> None:
    """As often as the bound says: 95 % of these 30 windows are 28."""
    shares = []
    for generation in ("volta", "turing", "ga100", "ada", "hopper"):
        for offset_s in (0.0, 0.031, 0.067):
            view = SensorView(GENERATIONS[generation], counter_offset_s=offset_s, power_offset_s=offset_s / 2)
            bench = Bench(lambda clock, view=view: SimulatedGpu(0, clock, sensor=view))
            for start_s in (2.0, 8.0):
                bench.marks.clear()
                window = {"window": "windowed", "start_seconds": start_s, "end_seconds": start_s + 11.0}
                result, _ = bench.measure(measurement=window, synthetic={"run_seconds": 20.3})
                assert result.total_energy_j is not None
                assert result.energy_uncertainty_j is not None
                error_j = abs(result.total_energy_j - bench.truth_j(result))
                shares.append(error_j / result.energy_uncertainty_j)
                assert error_j < 0.002 * result.total_energy_j
    assert sum(share <= 1 for share in shares) >= 28, sorted(shares)[-5:]


@pytest.mark.parametrize(
    "fields",
    [
        {"measurement": BETWEEN},
        {"measurement": {"window": "windowed", "end_seconds": 20.0}},
        {"measurement": {"window": "windowed", "start_seconds": 40.0, "min_duration_seconds": 60.0}},
        {"measurement": BETWEEN, "energy": {"backend": "null"}},
        {"measurement": {"window": "steady_state", "min_duration_seconds": 110.0}},
        {
            "measurement": {"window": "steady_state", "min_duration_seconds": 60.0},
            "energy": {"backend": "null"},
        },
        {"measurement": {"window": "steady_state"}, "warmup": {"n_warmup": 1, "thermal_floor_seconds": 90.0}},
    ],
)
def test_whatever_was_chosen_is_found_again_to_the_last_bit(fields: dict[str, Any]) -> None:
    found = verify(*Bench().measure(**fields))
    assert found.problems == ()
    assert found.recomputed


def test_steady_state_begins_where_the_boards_have_settled_and_is_no_longer_doubted() -> None:
    cold = Bench()
    result, _ = cold.measure(
        measurement={"window": "steady_state", "min_duration_seconds": 180.0},
        warmup={"enabled": False},
        baseline={"duration_seconds": 10.0},
    )
    window = result.steady_state_window
    assert window is not None
    # 25 s of thermal time constant: 0.05 °C/s are reached after about 70 s.
    assert 60 < window.start_s < 110
    assert window.start_s / (RUN_S / BATCHES) == pytest.approx(round(window.start_s / (RUN_S / BATCHES)))
    assert window.end_s == window.run_s == pytest.approx(RUN_S * (result.iterations or 0))
    assert 180 <= window.end_s - window.start_s < 180 + RUN_S
    batches = result.extended_metrics.batch_count if result.extended_metrics else None
    assert batches == round((window.end_s - window.start_s) / (RUN_S / BATCHES))
    assert result.total_energy_j == pytest.approx(cold.truth_j(result), abs=result.energy_uncertainty_j)
    codes = {warning.code for warning in result.measurement_warnings}
    assert codes == {WarningCode.SIMULATED, WarningCode.SYNTHETIC_BACKEND}
    whole = Bench().measure(measurement={"min_duration_seconds": 180.0}, warmup={"enabled": False}).result
    assert WarningCode.WARM_UP_OFF in {warning.code for warning in whole.measurement_warnings}


@pytest.mark.parametrize(("floor_s", "doubted"), [(90.0, True), (0.0, False)])
def test_latencies_that_did_not_converge_are_doubted_until_the_throughput_of_the_run_was_judged(
    floor_s: float, doubted: bool
) -> None:
    """After a long warm-up the window begins with the run, else where half a minute of it has been judged."""
    unconverged = {"convergence_detection": True, "max_prompts": 1, "thermal_floor_seconds": floor_s}
    steady = {"window": "steady_state", "min_duration_seconds": 60.0}
    measured = Bench().measure(measurement=steady, warmup=unconverged, baseline={"duration_seconds": 10.0})
    result = measured.result
    window = result.steady_state_window
    assert window is not None
    assert (window.start_s == 0) is doubted
    assert result.warmup_result is not None
    assert result.warmup_result.converged is False
    rehearsal = {WarningCode.SIMULATED, WarningCode.SYNTHETIC_BACKEND}
    codes = {warning.code for warning in result.measurement_warnings} - rehearsal
    assert codes == ({WarningCode.WARM_UP_UNCONVERGED} if doubted else set())
    assert verify(*measured).problems == ()


def test_the_run_goes_on_until_the_window_is_long_enough_wherever_it_begins() -> None:
    def lasted(**fields: Any) -> tuple[float, float, int]:
        result = Bench().measure(**fields).result
        window = result.steady_state_window
        assert window is not None
        return window.start_s, window.end_s, result.iterations or 0

    late = lasted(measurement={"window": "windowed", "start_seconds": 40.0, "min_duration_seconds": 60.0})
    assert late == pytest.approx((42.0, 5 * RUN_S, 5))
    once = lasted(measurement={"window": "windowed", "start_seconds": 10.0})
    assert once == pytest.approx((12.0, RUN_S, 1))
    settled = {"n_warmup": 1, "thermal_floor_seconds": 90.0}
    steady = {"window": "steady_state", "min_duration_seconds": 30.0}
    assert lasted(measurement=steady, warmup=settled) == pytest.approx((0.0, 2 * RUN_S, 2))


def test_a_run_that_is_never_steady_ends_at_the_limit_of_settling() -> None:
    bench = Bench()
    steady = {"window": "steady_state", "min_duration_seconds": 10.0}
    with pytest.raises(WindowError, match=r"no steady state in the 48\.0 s of the run"):
        bench.measure(measurement=steady, warmup={"enabled": False, "settle_limit_seconds": 30.0})


def test_a_run_without_the_window_fails_before_idle_power_is_taken_again() -> None:
    bench = Bench()
    with pytest.raises(WindowError, match=r"end_seconds is 30, but the run lasted 24\.00 s"):
        bench.measure(measurement={"window": "windowed", "end_seconds": 30.0})
    assert bench.rig.phases.current.phase is Phase.COOL


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("output_tokens", 9 * 128, "output_tokens is 1152 in the result, 1024 by its samples"),
        ("requests", 18, "requests is 18 in the result, 8 by its samples"),
        ("avg_tokens_per_second", 1.0, "avg_tokens_per_second is 1.0"),
        ("measurement_methodology", "steady_state", "measurement_methodology is 'steady_state'"),
        ("steady_state_window", None, "steady_state_window is None"),
        ("total_inference_time_sec", 24.0, "the window lasted 24.0 s by the result"),
    ],
)
def test_an_altered_value_is_a_contradiction(between: Measured, field: str, value: Any, words: str) -> None:
    altered = between.result.model_copy(update={field: value})
    problems = verify(altered, between.timeseries_parquet).problems
    assert any(words in problem for problem in problems), problems


def retold(measured: Measured, change: Any) -> tuple[ExperimentResult, bytes]:
    """The sidecar with other metadata, under a result that was given its digest."""
    table = pq.read_table(pa.BufferReader(measured.timeseries_parquet))
    metadata = dict(table.schema.metadata)
    told = json.loads(metadata[EVIDENCE_KEY])
    change(told["processes"][0])
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(metadata | {EVIDENCE_KEY: json.dumps(told).encode()}), sink)
    sidecar = bytes(sink.getvalue())
    digest = hashlib.sha256(sidecar).hexdigest()
    return measured.result.model_copy(update={"timeseries_sha256": digest}), sidecar


def move_window(told: dict[str, Any]) -> None:
    (window,) = (span for span in told["spans"] if span["kind"] == "window")
    window["start_s"] += 3.0
    window["end_s"] += 3.0


def shift_batch(told: dict[str, Any]) -> None:
    told["run"]["batches"]["end_s"][1] += 0.5


def more_tokens(told: dict[str, Any]) -> None:
    told["run"]["batches"]["output_tokens"][3] += 1


def no_batches(told: dict[str, Any]) -> None:
    del told["run"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            move_window,
            "the window goes from 9.000 to 21.000 s of the run, but by measurement.window: windowed",
        ),
        (shift_batch, "the window goes from 6.000 to 18.000 s of the run, but by"),
        (more_tokens, "output_tokens is 1024 in the result, 1025 by its samples"),
        (no_batches, "the sidecar doesn't hold the batches that the window was chosen from"),
    ],
)
def test_batches_or_a_window_altered_in_the_sidecar_are_a_contradiction(
    between: Measured, change: Any, words: str
) -> None:
    found = verify(*retold(between, change))
    assert any(words in problem for problem in found.problems), found.problems
    assert not found.verdict.publishable


def test_a_window_of_the_whole_run_needs_no_batches_in_the_sidecar() -> None:
    result, sidecar = Bench().measure()
    assert result.steady_state_window is None
    told = json.loads(decode_timeseries(sidecar).schema.metadata[EVIDENCE_KEY])
    assert "run" not in told["processes"][0]


def test_a_result_from_before_there_were_windows_still_holds() -> None:
    result, sidecar = Bench().measure()
    config = {name: value for name, value in result.effective_config.config.items() if name != "measurement"}
    effective = result.effective_config.model_copy(update={"config": config})
    before = {"schema_version": "3.2", "iterations": None, "effective_config": effective}
    found = verify(result.model_copy(update=before), sidecar)
    assert (found.problems, found.recomputed) == ((), True)
