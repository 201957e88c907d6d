"""What is doubted about a whole measurement when something goes wrong on the board, in simulated time."""

from __future__ import annotations

from typing import Any

import pytest

from factories import planned_synthetic
from llem_sweep.clock import SimulatedClock
from llem_sweep.device.faults import Faults, ForeignProcess
from llem_sweep.device.protocol import Reading
from llem_sweep.device.simulated import Limits, SimulatedGpu
from llem_sweep.harness.measure import measure
from llem_sweep.harness.rig import Rig
from llem_sweep.results.experiment import ExperimentResult
from llem_sweep.results.verdict import BLOCKING, CONTAMINATING, judge
from llem_sweep.results.warnings import REMEDIES, MeasurementWarning, WarningCode

REHEARSAL = {WarningCode.SIMULATED, WarningCode.SYNTHETIC_BACKEND}
WINDOW_S = 1056.0
"""Well inside the window of an experiment that settles for its floor alone."""


def measured(gpu: SimulatedGpu, clock: SimulatedClock, **fields: Any) -> ExperimentResult:
    known: dict[str, Any] = {
        "synthetic": {"run_seconds": 12.0},
        "warmup": {"n_warmup": 1, "thermal_floor_seconds": 30.0, "settle_limit_seconds": 0.0},
    }
    return measure(planned_synthetic(**(known | fields)), Rig((gpu,), clock, node="here")).result


def codes(result: ExperimentResult) -> set[WarningCode]:
    return {warning.code for warning in result.measurement_warnings} - REHEARSAL


def test_a_clean_experiment_is_doubted_for_nothing_but_being_a_rehearsal() -> None:
    clock = SimulatedClock()
    result = measured(SimulatedGpu(0, clock), clock, warmup={"n_warmup": 1, "thermal_floor_seconds": 30.0})
    assert codes(result) == set()
    assert result.warmup_result is not None
    assert result.warmup_result.settled is True
    assert result.warmup_result.thermal_floor_wait_s > 30.0
    assert result.verdict is not None
    assert [reason.split(":")[0] for reason in result.verdict.because] == [
        "simulated",
        "synthetic_backend",
        "measured_on",
    ]


@pytest.mark.parametrize(
    ("faults", "code"),
    [
        (Faults(foreign=(ForeignProcess(4711, WINDOW_S, WINDOW_S + 2.0),)), WarningCode.FOREIGN_PROCESS),
        (Faults(foreign=(ForeignProcess(4711, 1000.0, 1020.0),)), WarningCode.BASELINE_NOT_IDLE),
        (Faults(ecc_errors_at_s=(WINDOW_S,)), WarningCode.ECC_ERRORS),
        (Faults(mig=True), WarningCode.MIG),
        (Faults(stalls=((WINDOW_S, 0.3),)), WarningCode.SAMPLER_GAP),
    ],
)
def test_a_fault_of_the_board_is_a_doubt_that_blocks(faults: Faults, code: WarningCode) -> None:
    clock = SimulatedClock()
    result = measured(SimulatedGpu(0, clock, faults=faults), clock)
    assert code in codes(result)
    assert code in BLOCKING
    assert result.verdict is not None
    assert any(reason.startswith(code.value) for reason in result.verdict.because)


def test_a_board_at_work_for_others_is_not_idle_although_its_driver_tells_of_nobody() -> None:
    class Busy(SimulatedGpu):
        def read(self, *, slow: bool = True) -> Reading:
            reading = super().read(slow=slow)
            return reading._replace(sm_utilisation_pct=30) if slow else reading

    clock = SimulatedClock()
    assert WarningCode.BASELINE_NOT_IDLE in codes(measured(Busy(0, clock), clock))


def test_clocks_held_down_are_told_with_their_time() -> None:
    clock = SimulatedClock()
    result = measured(SimulatedGpu(0, clock, limits=Limits(power_cap_w=200.0)), clock)
    assert WarningCode.POWER_THROTTLE in codes(result)
    assert WarningCode.POWER_THROTTLE not in BLOCKING
    throttle = result.thermal_throttle
    assert throttle is not None
    assert throttle.power_throttle_s == pytest.approx(result.total_inference_time_sec, rel=0.01)
    clock = SimulatedClock()
    result = measured(SimulatedGpu(0, clock, limits=Limits(thermal_c=38.0)), clock)
    assert WarningCode.THERMAL_THROTTLE in codes(result)


def test_a_board_that_is_still_warming_up_drifts() -> None:
    clock = SimulatedClock()
    cold_start = {"n_warmup": 1, "thermal_floor_seconds": 0.0}
    result = measured(SimulatedGpu(0, clock), clock, warmup=cold_start, synthetic={"run_seconds": 30.0})
    told = [w.message for w in result.measurement_warnings if w.code is WarningCode.THERMAL_DRIFT]
    assert len(told) == 1
    assert "within the window" in told[0]


def test_settling_ends_at_its_limit_and_says_that_it_did_not_come_about() -> None:
    clock = SimulatedClock()
    limited = {"n_warmup": 1, "thermal_floor_seconds": 31.0, "settle_limit_seconds": 5.0}
    result = measured(SimulatedGpu(0, clock), clock, warmup=limited)
    warm = result.warmup_result
    assert warm is not None
    assert warm.settled is False
    assert 31.0 < warm.thermal_floor_wait_s < 38.0
    assert warm.temperature_slope_c_per_s is not None
    assert warm.temperature_slope_c_per_s > 0.05
    assert any("not settled" in w.message for w in result.measurement_warnings)


def test_every_code_has_a_remedy_and_what_contaminates_blocks() -> None:
    assert set(REMEDIES) == set(WarningCode)
    assert CONTAMINATING <= BLOCKING


@pytest.mark.parametrize("code", WarningCode)
def test_a_measurement_is_publishable_unless_a_warning_blocks_it(code: WarningCode) -> None:
    assert judge("board", 100.0, 1.0, ()).publishable
    verdict = judge("board", 100.0, 1.0, (MeasurementWarning.of(code, "figures"),))
    assert verdict.publishable is (code not in BLOCKING)
    assert verdict.because == (() if verdict.publishable else (f"{code.value}: figures",))


@pytest.mark.parametrize(
    ("measured_on", "energy_j", "bound_j"),
    [
        ("simulated", 1.0, 1.0),
        ("off-board", 1.0, 1.0),
        ("synthetic", 1.0, 1.0),
        ("board", None, None),
        ("board", 1.0, None),
    ],
)
def test_what_is_no_measurement_is_never_publishable(
    measured_on: str, energy_j: float | None, bound_j: float | None
) -> None:
    assert not judge(measured_on, energy_j, bound_j, ()).publishable


def test_settling_is_judged_even_where_the_warm_up_alone_outlasted_the_floor() -> None:
    clock = SimulatedClock()
    long_warm_up = {"n_warmup": 24, "thermal_floor_seconds": 5.0, "settle_limit_seconds": 0.0}
    result = measured(SimulatedGpu(0, clock), clock, warmup=long_warm_up)
    assert result.warmup_result is not None
    assert sum(result.warmup_result.latencies_ms) > 5_000
    assert result.warmup_result.settled is False
    assert WarningCode.THERMAL_DRIFT in codes(result)
    clock = SimulatedClock()
    waiting = long_warm_up | {"settle_limit_seconds": 240.0}
    warm = measured(SimulatedGpu(0, clock), clock, warmup=waiting).warmup_result
    assert warm is not None
    assert warm.settled is True
    assert warm.thermal_floor_wait_s > 20.0


def test_idle_power_that_was_not_taken_alone_is_taken_again_for_the_next_experiment() -> None:
    clock = SimulatedClock()
    visitor = ForeignProcess(4711, 1000.0, 1020.0)
    rig = Rig((SimulatedGpu(0, clock, faults=Faults(foreign=(visitor,))),), clock, node="here")
    planned = planned_synthetic(synthetic={"run_seconds": 12.0})
    first, second = measure(planned, rig).result, measure(planned, rig).result
    assert WarningCode.BASELINE_NOT_IDLE in codes(first)
    assert WarningCode.BASELINE_NOT_IDLE not in codes(second)
