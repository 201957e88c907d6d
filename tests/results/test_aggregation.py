"""Several results made into one, held against sums done by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from factories import START, make_board, make_config, make_environment, make_result
from llem_sweep.errors import GangError
from llem_sweep.results.aggregation import SHARED, Part, aggregate
from llem_sweep.results.experiment import ExperimentResult
from llem_sweep.results.parts import (
    EnergyBreakdown,
    ExtendedEfficiencyMetrics,
    HostEnergy,
    IdlePower,
    LatencyStatistics,
    PhaseBreakdown,
    PrefillWindow,
)
from llem_sweep.results.phases import held_against, phase_metrics
from llem_sweep.results.requests import RequestLog, RequestRecord, pooled
from llem_sweep.results.warnings import MeasurementWarning, WarningCode
from llem_sweep.results.work import (
    Compilation,
    DeviceMemoryUse,
    FlopsBreakdown,
    HardwareUtilisation,
    MemoryUse,
)

TENSOR = make_config(n=8, synthetic={"num_processes": 2, "parallelism": "tensor"})


def idle(when: Any, power_w: float, uncertainty_w: float | None) -> IdlePower:
    return IdlePower(
        kind="context",
        when=when,
        power_w=power_w,
        uncertainty_w=uncertainty_w,
        power_per_device_w=(power_w,),
        method="counter",
        timestamp=START,
        duration_s=10.0,
        age_s=5.0 if when == "before" else -12.5,
    )


def part(
    rank: int,
    start_s: float = 100.0,
    end_s: float = 110.0,
    energy_j: float | None = 1000.0,
    before_w: float = 50.0,
    after_w: float = 50.0,
    **fields: Any,
) -> Part:
    """One board's result: 100 tokens/s and, by default, 1000 ± 3 J in 10 s above 50 ± 1 W of idle power."""
    length_s = end_s - start_s
    started = START + timedelta(seconds=start_s - 100.0)
    known: dict[str, Any] = {
        "requests": 4,
        "input_tokens": 400,
        "output_tokens": round(100 * length_s),
        "total_tokens": 400 + round(100 * length_s),
        "total_energy_j": energy_j,
        "energy_uncertainty_j": 3.0 if energy_j is not None else None,
        "energy_per_device_j": (energy_j,),
        "energy_per_device_uncertainty_j": (3.0 if energy_j is not None else None,),
        "baseline_power_w": (before_w + after_w) / 2,
        "total_inference_time_sec": length_s,
        "avg_tokens_per_second": 100.0,
        "start_time": started,
        "end_time": started + timedelta(seconds=length_s),
        "energy_breakdown": EnergyBreakdown(
            raw_j=energy_j,
            adjusted_j=None,
            baseline_power_w=(before_w + after_w) / 2,
            baseline_method="context/counter",
            baseline_timestamp=START,
            baseline_cache_age_sec=5.0,
            baseline_kind="context",
            idle=(idle("before", before_w, 1.0), idle("after", after_w, 1.0)),
        ),
        "environment_snapshot": make_environment([make_board(f"GPU-{rank}", rank)]),
        "neighbours": (),
        "process_results": (),
        "aggregation": None,
        "measurement_warnings": (),
        "latency_stats": None,
    }
    return Part(make_result(**(known | fields)), start_s, end_s)


def test_four_workers_of_100_tokens_a_second_make_400_in_the_time_of_one() -> None:
    whole = aggregate([part(rank) for rank in range(4)])
    assert whole.avg_tokens_per_second == 400.0
    assert whole.total_inference_time_sec == 10.0
    assert whole.output_tokens == 4000
    assert whole.requests == 16
    assert whole.total_energy_j == 4000.0
    assert whole.avg_energy_per_token_j == 1.0
    assert whole.energy_per_device_j == (1000.0,) * 4
    assert (whole.start_time, whole.end_time) == (START, START + timedelta(seconds=10))


def test_the_bound_of_independent_boards_grows_with_the_root_of_their_number() -> None:
    whole = aggregate([part(rank) for rank in range(4)])
    assert whole.energy_uncertainty_j == 6.0
    assert whole.avg_energy_per_token_uncertainty_j == 6.0 / 4000
    assert whole.baseline_power_w == 200.0
    # Four boards' idle power, 1 W each in quadrature, averaged over before and after.
    idle_w = (2.0**2 + 2.0**2) ** 0.5 / 2
    assert whole.energy_breakdown is not None
    assert whole.energy_breakdown.baseline_uncertainty_w == pytest.approx(idle_w)
    assert whole.energy_adjusted_j == 4000.0 - 200.0 * 10.0
    assert whole.energy_adjusted_uncertainty_j == pytest.approx((6.0**2 + (idle_w * 10.0) ** 2) ** 0.5)
    assert [(each.when, each.power_w) for each in whole.energy_breakdown.idle] == [
        ("before", 200.0),
        ("after", 200.0),
    ]


def test_idle_power_that_drifts_on_all_boards_alike_is_not_taken_for_independent() -> None:
    whole = aggregate([part(rank, before_w=50.0, after_w=54.0) for rank in range(4)])
    assert whole.energy_breakdown is not None
    # Half of the sums' difference: 216 - 200 W, not the 4 W that quadrature of 2 W each would give.
    assert whole.energy_breakdown.baseline_uncertainty_w == pytest.approx((8.0**2 + 2.0) ** 0.5)


def test_time_is_from_the_first_start_to_the_last_end_and_each_board_has_its_own_idle_time() -> None:
    whole = aggregate([part(0, 100.0, 110.0), part(1, 100.5, 109.5), part(2, 100.0, 109.0)])
    assert whole.total_inference_time_sec == 10.0
    assert whole.avg_tokens_per_second == (1000 + 900 + 900) / 10.0
    assert whole.energy_adjusted_j == pytest.approx(3000.0 - 50.0 * (10.0 + 9.0 + 9.0))
    assert whole.aggregation is not None
    assert whole.aggregation.overlap == pytest.approx((109.0 - 100.5) / 10.0)


@pytest.mark.parametrize(("late_s", "verified"), [(0.5, True), (2.0, False), (30.0, False)])
def test_windows_that_hardly_overlap_are_a_doubt(late_s: float, verified: bool) -> None:
    whole = aggregate([part(0), part(1, 100.0 + late_s, 110.0 + late_s)])
    assert whole.aggregation is not None
    assert whole.aggregation.temporal_overlap_verified is verified
    assert whole.total_inference_time_sec == 10.0 + late_s
    codes = [warning.code for warning in whole.measurement_warnings]
    assert codes == ([] if verified else [WarningCode.WINDOWS_APART])
    assert len(whole.aggregation.warnings) == len(codes)
    assert whole.verdict is not None
    assert whole.verdict.publishable is verified


def test_a_board_metered_twice_is_counted_twice_and_said_so() -> None:
    whole = aggregate([part(0), part(0)])
    assert whole.aggregation is not None
    assert not whole.aggregation.gpu_attribution_verified
    assert [warning.code for warning in whole.measurement_warnings] == [WarningCode.BOARD_COUNTED_TWICE]
    assert "GPU-0" in whole.measurement_warnings[0].message
    assert whole.verdict is not None
    assert not whole.verdict.publishable


def test_one_unknown_energy_leaves_the_sum_unknown() -> None:
    whole = aggregate([part(0), part(1, energy_j=None)])
    assert whole.energy_per_device_j == (1000.0, None)
    assert whole.total_energy_j is None
    assert whole.energy_uncertainty_j is None
    assert whole.energy_adjusted_j is None
    assert whole.avg_energy_per_token_j is None
    assert whole.verdict is not None
    assert not whole.verdict.publishable


def test_tokens_of_a_divided_model_count_once_and_energy_of_every_board() -> None:
    whole = aggregate([part(rank, config=TENSOR) for rank in range(2)])
    assert (whole.requests, whole.output_tokens, whole.avg_tokens_per_second) == (4, 1000, 100.0)
    assert whole.total_energy_j == 2000.0
    assert whole.avg_energy_per_token_j == 2.0
    assert whole.aggregation is not None
    assert whole.aggregation.method == "tensor"


def test_percentiles_are_never_averaged() -> None:
    stats = LatencyStatistics(ttft_p99_ms=5.0)
    parts = [part(rank, latency_stats=stats) for rank in range(2)]
    assert aggregate(parts).latency_stats is None
    log = pooled(
        [
            RequestLog((RequestRecord(0, 0, 7, 0.0, (first_s, first_s + 0.1)),) * number, 0.0)
            for first_s, number in ((0.2, 9), (1.0, 1))
        ],
        [100.0, 100.0],
    )
    pooled_stats = aggregate(parts, log).latency_stats
    assert pooled_stats is not None
    assert pooled_stats.ttft_mean_ms == pytest.approx(0.9 * 200 + 0.1 * 1000)
    assert pooled_stats.ttft_median_ms == pytest.approx(200)
    divided = aggregate([part(rank, config=TENSOR) for rank in range(2)], log).latency_stats
    assert divided is not None
    assert divided.ttft_samples == 9, "the second process ran the same requests"


def phases(prefill_s: float, prefill_j: float | None) -> PhaseBreakdown:
    return PhaseBreakdown(
        prefill=phase_metrics(prefill_s, 400, prefill_j, 3.0 if prefill_j is not None else None),
        decode=phase_metrics(10.0 - prefill_s, 600, 700.0, 4.0),
        closure_j=1.0,
        closure_uncertainty_j=3.0,
    )


def test_phases_of_processes_side_by_side_add_up() -> None:
    whole = aggregate([part(0, phases=phases(1.0, 300.0)), part(1, phases=phases(3.0, 500.0))]).phases
    assert whole is not None
    prefill, decode = whole.prefill, whole.decode
    assert (prefill.time_s, prefill.tokens, prefill.tokens_per_second) == (2.0, 800, 400.0)
    assert (prefill.energy_j, prefill.energy_per_token_j) == (800.0, 1.0)
    assert decode.energy_uncertainty_j == pytest.approx(4.0 * 2**0.5)
    assert (decode.time_s, decode.tokens_per_second) == (8.0, 150.0)
    assert whole.closure_j == 2.0
    assert whole.closure_uncertainty_j == pytest.approx(3.0 * 2**0.5)


def test_phases_of_a_divided_model_count_their_tokens_once() -> None:
    whole = aggregate([part(rank, config=TENSOR, phases=phases(1.0, 300.0)) for rank in range(2)]).phases
    assert whole is not None
    assert (whole.prefill.tokens, whole.prefill.energy_j, whole.prefill.energy_per_token_j) == (
        400,
        600.0,
        1.5,
    )


def test_a_phase_unknown_of_one_process_is_unknown_of_all() -> None:
    whole = aggregate([part(0, phases=phases(1.0, 300.0)), part(1, phases=phases(1.0, None))]).phases
    assert whole is not None
    assert (whole.prefill.energy_j, whole.decode.energy_j) == (None, 1400.0)
    assert aggregate([part(0, phases=phases(1.0, 300.0)), part(1, phases=None)]).phases is None


def with_own_prefill(split: PhaseBreakdown, prefill_j: float | None, **fields: Any) -> PhaseBreakdown:
    bound_j = 4.0 if prefill_j is not None else None
    own = PrefillWindow(
        repetitions=5,
        time_s=10.0,
        gap_s=0.5,
        energy_j=2000.0,
        energy_uncertainty_j=8.0,
        energy_per_device_j=(2000.0,),
        energy_per_device_uncertainty_j=(8.0,),
        time_per_run_s=1.9,
        energy_per_run_j=prefill_j,
        energy_per_run_uncertainty_j=bound_j,
        prefill=phase_metrics(1.9, 400, prefill_j, bound_j),
        temperature_change_c=1.0,
        thermal_throttle=False,
        foreign_pids=(4711,),
    ).model_copy(update=fields)
    return split.model_copy(update={"prefill_window": held_against(own, split.prefill)})


def test_prefill_by_itself_adds_up_and_is_compared_as_a_whole() -> None:
    first = with_own_prefill(phases(1.0, 300.0), 305.5)
    second = with_own_prefill(
        phases(3.0, 500.0), 506.0, repetitions=6, temperature_change_c=-3.0, thermal_throttle=True
    )
    assert first.prefill_window is not None
    assert second.prefill_window is not None
    # Half-widths of 3 and 4 J come to 5 J.
    assert (first.prefill_window.difference_uncertainty_j, first.prefill_window.agrees) == (5.0, False)
    within = with_own_prefill(phases(1.0, 300.0), 304.5).prefill_window
    assert within is not None
    assert within.agrees is True
    whole = aggregate([part(0, phases=first), part(1, phases=second)]).phases
    assert whole is not None
    own = whole.prefill_window
    assert own is not None
    assert (own.repetitions, own.time_s, own.gap_s, own.energy_j) == (None, 10.0, 0.5, 4000.0)
    assert own.energy_per_device_j == (2000.0, 2000.0)
    assert own.energy_uncertainty_j == pytest.approx(8.0 * 2**0.5)
    assert (own.prefill.tokens, own.prefill.energy_j, own.prefill.time_s) == (800, 811.5, 1.9)
    assert own.difference_j == pytest.approx(11.5)
    assert own.difference_uncertainty_j == pytest.approx(5.0 * 2**0.5)
    assert own.agrees is False
    assert (own.temperature_change_c, own.power_throttle, own.thermal_throttle) == (-3.0, None, True)
    assert own.foreign_pids == (4711,)
    divided = [part(rank, config=TENSOR, phases=first) for rank in range(2)]
    together = aggregate(divided).phases
    assert together is not None
    assert together.prefill_window is not None
    assert (together.prefill_window.repetitions, together.prefill_window.prefill.tokens) == (5, 400)


def test_prefill_by_itself_unknown_of_one_process_is_unknown_of_all() -> None:
    known = with_own_prefill(phases(1.0, 300.0), 305.0)
    without_energy = aggregate(
        [part(0, phases=known), part(1, phases=with_own_prefill(phases(1.0, 300.0), None))]
    ).phases
    assert without_energy is not None
    assert without_energy.prefill_window is not None
    assert without_energy.prefill_window.prefill.energy_j is None
    assert without_energy.prefill_window.agrees is None
    without = aggregate([part(0, phases=known), part(1, phases=phases(1.0, 300.0))]).phases
    assert without is not None
    assert without.prefill_window is None


def test_the_nodes_energy_is_not_summed_over_processes() -> None:
    node = HostEnergy(
        package_j=100.0,
        package_uncertainty_j=1.0,
        dram_j=None,
        dram_uncertainty_j=None,
        domains=("package-0",),
    )
    whole = aggregate([part(rank, host_energy=node) for rank in range(2)])
    assert whole.host_energy is not None
    assert whole.host_energy.package_j is None
    assert whole.host_energy.reason is not None
    assert [process.host_energy for process in whole.process_results] == [node, node]
    assert aggregate([part(rank, host_energy=None) for rank in range(2)]).host_energy is None


def test_every_process_s_doubts_are_carried_each_code_once() -> None:
    def warnings(*given: tuple[WarningCode, str]) -> dict[str, Any]:
        return {"measurement_warnings": tuple(MeasurementWarning.of(*each) for each in given)}

    both = (WarningCode.POWER_THROTTLE, "everywhere")
    whole = aggregate(
        [
            part(0, **warnings(both, (WarningCode.SAMPLER_GAP, "0.3 s"))),
            part(1, **warnings(both, (WarningCode.SAMPLER_GAP, "0.4 s"), (WarningCode.FEW_SAMPLES, "3"))),
        ]
    )
    assert [(warning.code, warning.message) for warning in whole.measurement_warnings] == [
        (WarningCode.POWER_THROTTLE, "everywhere"),
        (WarningCode.SAMPLER_GAP, "process 0: 0.3 s; process 1: 0.4 s"),
        (WarningCode.FEW_SAMPLES, "process 1: 3"),
    ]
    assert whole.verdict is not None
    assert {reason.split(":")[0] for reason in whole.verdict.because} == {"sampler_gap", "few_samples"}


def test_padding_is_pooled_by_positions() -> None:
    def padded(rank: int, ratio: float, batches: int, size: float) -> Part:
        metrics = ExtendedEfficiencyMetrics(
            padding_ratio=ratio, batch_count=batches, effective_batch_size=size
        )
        return part(rank, extended_metrics=metrics)

    whole = aggregate([padded(0, 0.0, 2, 2.5), padded(1, 0.5, 3, 4.0)])
    assert whole.extended_metrics is not None
    assert whole.extended_metrics.padding_ratio == 400 / 1200
    assert whole.extended_metrics.batch_count == 5
    assert whole.extended_metrics.effective_batch_size == (2 * 2.5 + 3 * 4.0) / 5


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"experiment_id": "f" * 16}, "experiment_id"),
        ({"simulated": True}, "simulated"),
        ({"environment_snapshot": make_environment([make_board()], node="another")}, "node"),
        ({"config": make_config(n=9)}, "effective_config"),
    ],
)
def test_results_that_do_not_belong_together_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(GangError, match=words):
        aggregate([part(0), part(1, **fields)])


def test_a_divided_model_that_answered_differently_is_refused() -> None:
    with pytest.raises(GangError, match="output_tokens"):
        aggregate([part(0, config=TENSOR), part(1, config=TENSOR, output_tokens=999)])


def test_idle_power_of_different_kinds_is_not_summed() -> None:
    other = part(1)
    cold = other.result.energy_breakdown
    assert cold is not None
    mixed = other.result.model_copy(
        update={"energy_breakdown": cold.model_copy(update={"baseline_kind": "cold"})}
    )
    whole = aggregate([part(0), other._replace(result=mixed)])
    assert whole.baseline_power_w is None
    assert whole.energy_adjusted_j is None
    assert WarningCode.BASELINE_MISSING in {warning.code for warning in whole.measurement_warnings}


def test_no_field_of_a_result_is_lost_or_taken_from_the_first_process_unseen() -> None:
    """Every field is either the same for all processes by demand, or made of all of them."""
    whole = aggregate([part(rank) for rank in range(2)])
    made = {
        name
        for name in ExperimentResult.model_fields
        if name not in SHARED and getattr(whole, name) not in (None, ())
    }
    left = set(ExperimentResult.model_fields) - set(SHARED) - made
    assert left == {
        "steady_state_window",
        "latency_stats",
        "timeseries",
        "timeseries_sha256",
        "further_files",
        "neighbours",
        "measurement_warnings",
    }


def flops(prefill: float | None, decode: float | None) -> FlopsBreakdown:
    return FlopsBreakdown(
        method="architecture/1",
        prefill_flops=prefill,
        decode_flops=decode,
        computed_prefill_flops=2e12,
        computed_decode_flops=None,
        parameters=1000,
        active_parameters=500,
        reason=None if prefill else "no idea",
    )


def test_operations_add_up_over_processes_that_share_the_requests() -> None:
    whole = aggregate(
        [part(0, flops_breakdown=flops(1e12, 3e12)), part(1, flops_breakdown=flops(2e12, 4e12))]
    )
    assert whole.flops_breakdown is not None
    assert (whole.flops_breakdown.prefill_flops, whole.flops_breakdown.decode_flops) == (3e12, 7e12)
    assert whole.flops_breakdown.computed_prefill_flops == 4e12
    assert whole.flops_breakdown.computed_decode_flops is None
    assert (whole.flops_breakdown.parameters, whole.flops_breakdown.active_parameters) == (1000, 500)
    assert whole.total_flops == 1e13
    assert whole.flops_per_second == 1e12
    assert whole.flops_per_output_token == 1e13 / 2000
    assert whole.flops_per_input_token == 1e13 / 800


def test_operations_of_a_divided_model_count_once() -> None:
    whole = aggregate([part(rank, config=TENSOR, flops_breakdown=flops(1e12, 3e12)) for rank in range(2)])
    assert whole.total_flops == 4e12
    assert whole.flops_per_second == 4e11


def test_operations_unknown_of_one_process_are_unknown_of_the_whole() -> None:
    known = part(0, flops_breakdown=flops(1e12, 3e12))
    whole = aggregate([known, part(1, flops_breakdown=flops(None, None))])
    assert (whole.total_flops, whole.flops_per_second) == (None, None)
    assert whole.flops_breakdown is not None
    assert whole.flops_breakdown.reason == "no idea"
    assert aggregate([known, part(1, flops_breakdown=None)]).flops_breakdown is None


def hardware(read: float | None, peak_flops: float | None) -> HardwareUtilisation:
    return HardwareUtilisation(
        model_flops_utilisation=0.5,
        memory_bandwidth_utilisation=0.5,
        product_type="bf16",
        bytes_read=read,
        peak_flops_per_s=peak_flops,
        peak_bytes_per_s=1e12,
        peaks_source="sheet",
        reason=None if read else "not counted",
    )


def utilised(read: float | None, peak_flops: float | None, **fields: Any) -> dict[str, Any]:
    extended = ExtendedEfficiencyMetrics(hardware=hardware(read, peak_flops))
    return {"extended_metrics": extended, "flops_breakdown": flops(1e12, 3e12)} | fields


def test_utilisation_of_processes_is_that_of_all_their_boards_over_the_time_of_all() -> None:
    whole = aggregate([part(0, **utilised(4e12, 1e12)), part(1, end_s=120.0, **utilised(6e12, 1e12))])
    assert whole.extended_metrics is not None
    found = whole.extended_metrics.hardware
    assert found is not None
    assert found.model_flops_utilisation == 8e12 / (2e12 * 20.0)
    assert found.memory_bandwidth_utilisation == 1e13 / (2e12 * 20.0)
    assert (found.bytes_read, found.peaks_source, found.reason) == (1e13, "sheet", None)


def test_a_divided_models_operations_count_once_and_what_its_parts_read_adds_up() -> None:
    whole = aggregate([part(rank, **utilised(4e12, 1e12, config=TENSOR)) for rank in range(2)])
    assert whole.extended_metrics is not None
    found = whole.extended_metrics.hardware
    assert found is not None
    assert found.model_flops_utilisation == 4e12 / (2e12 * 10.0)
    assert found.memory_bandwidth_utilisation == 8e12 / (2e12 * 10.0)


def test_utilisation_unknown_of_one_process_is_unknown_of_the_whole_with_its_reason() -> None:
    whole = aggregate([part(0, **utilised(4e12, 1e12)), part(1, **utilised(None, None))])
    assert whole.extended_metrics is not None
    found = whole.extended_metrics.hardware
    assert found is not None
    assert (found.model_flops_utilisation, found.memory_bandwidth_utilisation) == (None, None)
    assert found.reason == "not counted"


def test_what_processes_compile_at_the_same_time_adds_up_in_graphs_alone() -> None:
    def compiled(found: Compilation | None) -> dict[str, Any]:
        return {"extended_metrics": ExtendedEfficiencyMetrics(compilation=found)}

    one, other = Compilation(graphs=2, seconds=30.0), Compilation(graphs=1, seconds=41.0)
    whole = aggregate([part(0, **compiled(one)), part(1, **compiled(other))]).extended_metrics
    assert whole is not None
    assert whole.compilation == Compilation(graphs=3, seconds=41.0)
    partly = aggregate([part(0, **compiled(one)), part(1, **compiled(None))]).extended_metrics
    assert partly is not None
    assert partly.compilation is None


def test_memory_is_that_of_all_processes() -> None:
    def held(device: str, peak_mb: float | None) -> dict[str, Any]:
        memory = MemoryUse(
            model_memory_mb=100.0,
            peak_memory_mb=peak_mb,
            inference_memory_mb=None,
            kv_cache_mb=20.0,
            devices=(DeviceMemoryUse(device=device, model_mb=100.0, peak_mb=peak_mb),),
            reason=None if peak_mb else "no peak",
        )
        return {"extended_metrics": ExtendedEfficiencyMetrics(memory=memory), "config": TENSOR}

    whole = aggregate([part(0, **held("cuda:0", 300.0)), part(1, **held("cuda:1", 200.0))])
    assert whole.extended_metrics is not None
    memory = whole.extended_metrics.memory
    assert memory is not None
    assert (memory.model_memory_mb, memory.peak_memory_mb, memory.kv_cache_mb) == (200.0, 500.0, 40.0)
    assert [each.device for each in memory.devices] == ["cuda:0", "cuda:1"]
    partly = aggregate([part(0, **held("cuda:0", 300.0)), part(1, **held("cuda:1", None))]).extended_metrics
    assert partly is not None
    assert partly.memory is not None
    assert (partly.memory.peak_memory_mb, partly.memory.reason) == (None, "no peak")
