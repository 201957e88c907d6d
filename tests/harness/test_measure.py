"""``measure()`` in simulated time: the synthetic backend on simulated boards whose energy is known."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from factories import planned_synthetic
from llem_sweep.clock import SimulatedClock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.device.faults import Faults, ForeignProcess
from llem_sweep.device.protocol import Reading
from llem_sweep.device.simulated import SensorProfile, SimulatedGpu, simulated_boards
from llem_sweep.errors import BackendError, BoardLostError, IdentityError
from llem_sweep.harness.assembly import Measured
from llem_sweep.harness.measure import measure
from llem_sweep.harness.rig import Rig
from llem_sweep.phases import Phase, PhaseMark
from llem_sweep.plan.types import PlannedExperiment
from llem_sweep.results.warnings import WarningCode
from llem_sweep.sampling.sidecar_reading import decode_timeseries


def planned(**fields: Any) -> PlannedExperiment:
    known: dict[str, Any] = {
        "synthetic": {"run_seconds": 12.0, "load_seconds": 3.0},
        "warmup": {"n_warmup": 2, "thermal_floor_seconds": 30.0, "settle_limit_seconds": 0.0},
    }
    return planned_synthetic(**(known | fields))


class Bench:
    """A rig of simulated boards in simulated time, and what happened on it."""

    def __init__(self, boards: int = 1, sensor: SensorProfile | None = None) -> None:
        self.clock = SimulatedClock()
        gpus = simulated_boards(range(boards), self.clock)
        self.gpus = (SimulatedGpu(0, self.clock, sensor=sensor),) if sensor else gpus
        self.rig = Rig(self.gpus, self.clock, node="here")
        self.marks: list[PhaseMark] = []
        self.rig.phases.subscribe(self.marks.append)

    def window_s(self) -> tuple[float, float]:
        """The measured window as the phase marks tell it: first prefill to the start of cooling."""
        cool = next(mark for mark in self.marks if mark.phase is Phase.COOL)
        start = next(mark for mark in self.marks if mark.phase is Phase.PREFILL)
        return start.at_s, cool.at_s


def test_energy_is_that_of_each_board_and_its_sum() -> None:
    bench = Bench(boards=2)
    result, *_ = measure(planned(gpus=2), bench.rig)
    start_s, end_s = bench.window_s()
    truth_j = [gpu.true_energy_j(start_s, end_s) for gpu in bench.gpus]
    assert truth_j[0] != pytest.approx(truth_j[1], rel=0.01)
    assert result.energy_per_device_j == pytest.approx(truth_j, rel=0.01)
    assert result.total_energy_j == sum(result.energy_per_device_j)  # type: ignore[arg-type]
    assert [board.uuid for board in result.environment_snapshot.devices] == [g.info.uuid for g in bench.gpus]
    assert result.multi_gpu is not None
    assert result.multi_gpu.energy_per_gpu_j == result.energy_per_device_j


def test_one_duration_rules_the_whole_result() -> None:
    bench = Bench()
    result, *_ = measure(planned(), bench.rig)
    start_s, end_s = bench.window_s()
    assert result.total_inference_time_sec == pytest.approx(12.0)
    assert result.total_inference_time_sec == pytest.approx(end_s - start_s)
    assert (result.end_time - result.start_time).total_seconds() == pytest.approx(12.0)
    assert result.avg_tokens_per_second == pytest.approx(result.output_tokens / 12.0)
    assert result.start_time.tzinfo is not None


@pytest.mark.parametrize(("kind", "idle_w"), [("cold", 70.0), ("context", 115.0)])
def test_either_idle_power_is_subtracted_over_the_same_window(kind: str, idle_w: float) -> None:
    bench = Bench()
    result, *_ = measure(planned(baseline={"duration_seconds": 10, "subtract": kind}), bench.rig)
    breakdown = result.energy_breakdown
    assert breakdown is not None
    assert result.baseline_power_w == pytest.approx(idle_w, rel=0.01)
    assert breakdown.baseline_kind == kind
    assert breakdown.baseline_method == f"{kind}/counter"
    assert [(idle.kind, idle.when) for idle in breakdown.idle] == [
        ("cold", "before"),
        ("context", "before"),
        ("context", "after"),
    ]
    true_net_j = bench.gpus[0].true_energy_j(*bench.window_s()) - idle_w * 12.0
    assert result.energy_adjusted_uncertainty_j is not None
    assert result.energy_adjusted_j == pytest.approx(true_net_j, abs=result.energy_adjusted_uncertainty_j)
    assert result.energy_adjusted_uncertainty_j < 0.02 * true_net_j
    assert result.energy_adjusted_j == pytest.approx(
        result.total_energy_j - result.baseline_power_w * 12.0  # type: ignore[operator]
    )
    phases = [mark.phase for mark in bench.marks]
    assert phases.index(Phase.BASELINE) < phases.index(Phase.LOAD)


def test_phases_come_in_the_order_of_the_method() -> None:
    bench = Bench()
    measure(planned(), bench.rig)
    seen = list(dict.fromkeys(mark.phase for mark in bench.marks))
    assert seen == [
        Phase.BASELINE,
        Phase.IDLE,
        Phase.LOAD,
        Phase.CONTEXT,
        Phase.WARM_UP,
        Phase.SETTLE,
        Phase.PREFILL,
        Phase.DECODE,
        Phase.COOL,
    ]


def test_warm_up_settles_under_load_until_the_thermal_floor() -> None:
    bench = Bench()
    result, *_ = measure(planned(), bench.rig)
    warm = result.warmup_result
    assert warm is not None
    assert warm.iterations_completed == 2
    assert sum(warm.latencies_ms) / 1000 + warm.thermal_floor_wait_s >= 30.0
    assert result.warmup_excluded_samples is not None
    assert result.warmup_excluded_samples > 2 * 2


def test_latencies_are_those_of_the_window_alone() -> None:
    result, *_ = measure(planned(n=20, max_output_tokens=11), Bench().rig)
    stats = result.latency_stats
    assert stats is not None
    # Eight batches of 1.5 s, a tenth of each before its first token.
    assert stats.ttft_median_ms == pytest.approx(150.0)
    assert stats.itl_p99_ms == pytest.approx(135.0)
    assert stats.tpot_mean_ms == pytest.approx(135.0)
    assert stats.e2e_latency_p95_ms == pytest.approx(1500.0)
    assert (stats.ttft_samples, stats.itl_samples) == (20, 200)
    assert stats.stamp_error_ms == 0.0


def test_energy_and_time_are_parted_at_each_batchs_first_token() -> None:
    bench = Bench(boards=2)
    result, *_ = measure(planned(gpus=2, n=20, max_output_tokens=11), bench.rig)
    phases = result.phases
    assert phases is not None
    assert phases.prefill.time_s == pytest.approx(1.2)
    assert phases.decode.time_s == pytest.approx(10.8)
    assert (phases.prefill.tokens, phases.decode.tokens) == (result.input_tokens, 20 * 10)
    assert phases.decode.tokens_per_second == pytest.approx(200 / 10.8)
    in_window = [mark for mark in bench.marks if mark.phase in (Phase.PREFILL, Phase.DECODE, Phase.COOL)]
    for phase, metrics in ((Phase.PREFILL, phases.prefill), (Phase.DECODE, phases.decode)):
        truth_j = sum(
            gpu.true_energy_j(mark.at_s, until.at_s)
            for gpu in bench.gpus
            for mark, until in pairwise(in_window)
            if mark.phase is phase
        )
        assert metrics.energy_uncertainty_j is not None
        assert metrics.energy_j == pytest.approx(truth_j, abs=metrics.energy_uncertainty_j)
        assert metrics.energy_uncertainty_j < 0.15 * truth_j
    sum_j = (phases.prefill.energy_j or 0.0) + (phases.decode.energy_j or 0.0)
    assert sum_j == pytest.approx(result.total_energy_j, rel=1e-12)


def test_the_sidecar_holds_the_samples_the_energy_came_from() -> None:
    bench = Bench()
    result, parquet, *_ = measure(planned(), bench.rig)
    table = decode_timeseries(parquet)
    rows = [row for row in table.to_pylist() if row["in_window"]]
    assert result.sampler is not None
    assert len(rows) == result.sampler.samples
    assert rows[0]["timestamp_s"] == pytest.approx(0.0, abs=0.02)
    counted_j = (rows[-1]["energy_mj"] - rows[0]["energy_mj"]) / 1000
    assert counted_j == pytest.approx(result.total_energy_j, rel=0.03)
    assert {row["phase"] for row in rows} >= {"prefill", "decode"}


def test_a_model_that_is_loaded_already_is_not_loaded_again() -> None:
    bench = Bench()
    measure(planned(), bench.rig)
    bench.marks.clear()
    result, *_ = measure(planned(n=24), bench.rig)
    assert Phase.LOAD not in {mark.phase for mark in bench.marks}
    assert Phase.BASELINE not in {mark.phase for mark in bench.marks}
    assert result.energy_breakdown is not None
    cold, context, _ = result.energy_breakdown.idle
    assert cold.power_w == pytest.approx(70.0, rel=0.01), "the cold baseline is kept"
    assert context.age_s > 40, "and that with the model resident"


def test_idle_power_is_taken_again_when_it_is_old() -> None:
    bench = Bench()
    measure(planned(), bench.rig)
    result, *_ = measure(planned(baseline={"duration_seconds": 10, "max_age_seconds": 40}), bench.rig)
    assert result.energy_breakdown is not None
    assert result.energy_breakdown.idle[1].age_s < 40


@pytest.mark.parametrize(("duration_seconds", "after_seconds"), [(10.0, 0.0), (14.0, 7.0)])
def test_idle_power_is_taken_for_as_long_as_asked_before_the_window_and_after(
    duration_seconds: float, after_seconds: float
) -> None:
    baseline = {"duration_seconds": duration_seconds, "after_seconds": after_seconds}
    result, *_ = measure(planned(baseline=baseline), Bench().rig)
    assert result.energy_breakdown is not None
    taken = result.energy_breakdown.idle
    assert [(idle.kind, idle.when) for idle in taken[:2]] == [("cold", "before"), ("context", "before")]
    assert [idle.duration_s for idle in taken[:2]] == pytest.approx([duration_seconds] * 2)
    assert [idle.duration_s for idle in taken[2:]] == pytest.approx([after_seconds] if after_seconds else [])


def test_idle_power_that_moved_over_the_window_is_doubted_and_taken_again() -> None:
    clock = SimulatedClock()
    neighbour = ForeignProcess(pid=77, begin_s=1060.0, extra_w=60.0)
    rig = Rig((SimulatedGpu(0, clock, faults=Faults(foreign=(neighbour,))),), clock, node="here")
    result, *_ = measure(planned(), rig)
    codes = {warning.code for warning in result.measurement_warnings}
    assert {WarningCode.BASELINE_UNSTABLE, WarningCode.FOREIGN_PROCESS} <= codes
    result, *_ = measure(planned(), rig)
    assert result.energy_breakdown is not None
    assert result.energy_breakdown.idle[1].power_w == pytest.approx(175.0, rel=0.01)


def test_energy_off_starts_no_sampler_and_waits_for_nothing() -> None:
    bench = Bench()
    begun_s = bench.clock.monotonic()
    quick = planned(
        energy={"backend": "null"},
        synthetic={"run_seconds": 0.0},
        warmup={"enabled": False},
    )
    result, parquet, *_ = measure(quick, bench.rig)
    assert bench.clock.monotonic() == begun_s
    assert result.total_energy_j is None
    assert result.energy_adjusted_j is None
    assert result.baseline_power_w is None
    assert decode_timeseries(parquet).num_rows == 0
    assert WarningCode.ENERGY_OFF in codes(bench, quick)


def test_a_window_that_the_sensor_can_not_resolve_has_no_energy_and_says_so() -> None:
    bench = Bench()
    experiment = planned(synthetic={"run_seconds": 0.05}, warmup={"enabled": False})
    result, *_ = measure(experiment, bench.rig)
    assert result.total_energy_j is None
    assert result.avg_energy_per_token_j is None
    assert WarningCode.WINDOW_UNRESOLVED in {warning.code for warning in result.measurement_warnings}


def test_a_board_without_any_reading_yields_none() -> None:
    bench = Bench(sensor=SensorProfile(has_counter=False, has_power=False))
    result, *_ = measure(planned(), bench.rig)
    assert result.total_energy_j is None
    assert result.energy_per_device_j == (None,)
    assert result.baseline_power_w is None
    assert WarningCode.ENERGY_UNAVAILABLE in {warning.code for warning in result.measurement_warnings}


def test_power_serves_where_there_is_no_counter() -> None:
    bench = Bench(sensor=SensorProfile(has_counter=False, window_s=0.1))
    result, *_ = measure(planned(), bench.rig)
    start_s, end_s = bench.window_s()
    assert result.total_energy_j == pytest.approx(bench.gpus[0].true_energy_j(start_s, end_s), rel=0.03)
    assert result.energy_breakdown is not None
    assert result.energy_breakdown.energy_methods == ("power",)


def test_more_idle_than_total_stays_negative_with_a_warning() -> None:
    class Cooling(SimulatedGpu):
        """A board that draws far more when idle than when it works."""

        def read(self, *, slow: bool = True) -> Reading:
            reading = super().read(slow=slow)
            return reading._replace(
                energy_mj=None, instant_mw=None, power_mw=10_000 if self._busy else 90_000
            )

        def on_phase(self, mark: PhaseMark) -> None:
            self._busy = mark.phase in (Phase.PREFILL, Phase.DECODE)
            super().on_phase(mark)

        _busy = False

    clock = SimulatedClock()
    rig = Rig((Cooling(0, clock),), clock, node="here")
    result, *_ = measure(planned(), rig)
    assert result.energy_adjusted_j is not None
    assert result.energy_adjusted_j < -500
    assert WarningCode.NEGATIVE_ADJUSTED_ENERGY in {warning.code for warning in result.measurement_warnings}


def test_a_board_lost_in_the_window_fails_the_experiment() -> None:
    bench = Bench(sensor=SensorProfile(lost_at_s=1000.0 + 2 * (10 + 1.1) + 2 * 0.6 + 3 + 30 + 8))
    with pytest.raises(BoardLostError):
        measure(planned(), bench.rig)
    assert bench.rig.phases.current.phase in (Phase.PREFILL, Phase.DECODE, Phase.COOL)


def test_a_failing_run_stops_the_sampler() -> None:
    bench = Bench()
    with pytest.raises(BackendError):
        measure(planned(synthetic={"fail_at": "run"}, warmup={"enabled": False}), bench.rig)
    taken = len(bench.rig.latest())
    before = bench.rig.latest()
    bench.clock.sleep(5.0)
    assert bench.rig.latest() == before
    assert taken == 1


def test_computing_elsewhere_is_refused_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    model = bench.rig.load(planned().config, 1)
    monkeypatch.setattr(type(model), "device_uuids", property(lambda self: ("GPU-elsewhere",)))
    with pytest.raises(IdentityError, match="elsewhere"):
        measure(planned(), bench.rig)
    assert Phase.WARM_UP not in {mark.phase for mark in bench.marks}


def test_everything_about_a_simulated_result_says_so() -> None:
    bench = Bench()
    result, *_ = measure(planned(), bench.rig)
    assert result.simulated
    assert result.measured_on == "synthetic"
    assert result.environment_snapshot.devices[0].simulated
    assert {WarningCode.SIMULATED, WarningCode.SYNTHETIC_BACKEND} <= codes(bench, planned())
    assert "simulated" in result.reproducibility_notes


def test_the_effective_configuration_is_complete() -> None:
    result, *_ = measure(planned(), Bench().rig)
    assert result.effective_config.config["max_output_tokens"] == 128
    assert ExperimentConfig.model_validate(result.effective_config.config) == planned().config
    assert result.effective_config.backend["engine"] == "synthetic"


def test_without_boards_there_is_no_energy_and_a_warning() -> None:
    clock = SimulatedClock()
    result, *_ = measure(planned(gpus=0), Rig((), clock, node="here"))
    assert result.total_energy_j is None
    assert result.energy_per_device_j == ()
    assert result.energy_breakdown is None
    assert result.environment_snapshot.identity == "none"
    assert WarningCode.UNMETERED in {warning.code for warning in result.measurement_warnings}


def test_short_settings_are_said_to_be_short() -> None:
    experiment = planned(
        synthetic={"run_seconds": 4.0},
        baseline={"duration_seconds": 0.5},
        warmup={"n_warmup": 1, "thermal_floor_seconds": 0.0},
    )
    assert codes(Bench(), experiment) >= {
        WarningCode.SHORT_WINDOW,
        WarningCode.BASELINE_SHORT,
        WarningCode.WARM_UP_SHORT,
    }


def codes(bench: Bench, experiment: PlannedExperiment) -> set[WarningCode]:
    measured: Measured = measure(experiment, bench.rig)
    return {warning.code for warning in measured.result.measurement_warnings}
