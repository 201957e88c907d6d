"""The sections of several processes' results, each made into one; see :mod:`llem_sweep.results.aggregation`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from llem_sweep.results.environment import EnvironmentSnapshot, ThermalInfo
from llem_sweep.results.experiment import ExperimentResult
from llem_sweep.results.parts import (
    ExtendedEfficiencyMetrics,
    HostEnergy,
    SamplerInfo,
    ThermalThrottleInfo,
    WarmupResult,
)
from llem_sweep.results.sums import per, total
from llem_sweep.results.warnings import MeasurementWarning, WarningCode
from llem_sweep.results.work import Compilation, FlopsBreakdown, HardwareUtilisation, MemoryUse, share_of_peak

Results = Sequence[ExperimentResult]
_NODE_ONCE = (
    "the node's energy belongs to each process's own window (process_results): it isn't summed over processes"
)


def carried_warnings(results: Results) -> tuple[MeasurementWarning, ...]:
    """Every process's doubts, each code once: with one message where all say the same, else each with its own."""
    said: dict[WarningCode, dict[int, list[str]]] = {}
    for rank, result in enumerate(results):
        for warning in result.measurement_warnings:
            said.setdefault(warning.code, {}).setdefault(rank, []).append(warning.message)
    found = []
    for code, by_rank in said.items():
        messages = {rank: ", ".join(own) for rank, own in by_rank.items()}
        if len(messages) == len(results) and len(set(messages.values())) == 1:
            text = messages[0]
        else:
            text = "; ".join(f"process {rank}: {message}" for rank, message in messages.items())
        found.append(MeasurementWarning.of(code, text))
    return tuple(found)


def host_energy(results: Results) -> HostEnergy | None:
    """Unknown of the union of the windows, and never a sum: all processes are on one node."""
    known = [result.host_energy for result in results if result.host_energy is not None]
    if not known:
        return None
    return HostEnergy(
        package_j=None,
        package_uncertainty_j=None,
        dram_j=None,
        dram_uncertainty_j=None,
        domains=known[0].domains,
        reason=_NODE_ONCE,
    )


def environment(results: Results) -> EnvironmentSnapshot:
    """The first process's, with the boards of all."""
    snapshots = [result.environment_snapshot for result in results]
    first = snapshots[0]
    identities = {snapshot.identity for snapshot in snapshots}
    thermal = ThermalInfo(
        start_c=_largest(snapshot.hardware.thermal.start_c for snapshot in snapshots),
        max_c=_largest(snapshot.hardware.thermal.max_c for snapshot in snapshots),
    )
    return first.model_copy(
        update={
            "devices": tuple(board for snapshot in snapshots for board in snapshot.devices),
            # No more can be said of all boards than of the one of which least is known.
            "identity": next(each for each in ("none", "assigned", "confirmed") if each in identities),
            "hardware": first.hardware.model_copy(update={"thermal": thermal}),
        }
    )


def sampler(results: Results) -> SamplerInfo | None:
    """The processes' samplers: the fewest samples, the longest gap, and what all of them cost."""
    known = [result.sampler for result in results if result.sampler is not None]
    if len(known) < len(results):
        return None
    return SamplerInfo(
        period_s=max(each.period_s for each in known),
        samples=min(each.samples for each in known),
        longest_gap_s=_largest(each.longest_gap_s for each in known),
        cpu_time_s=total([each.cpu_time_s for each in known]),
    )


def throttle(results: Results) -> ThermalThrottleInfo | None:
    """What held any board down, and for how long the one held longest."""
    known = [result.thermal_throttle for result in results if result.thermal_throttle is not None]
    if len(known) < len(results):
        return None
    mask = 0
    for each in known:
        mask |= each.reasons_mask
    return ThermalThrottleInfo(
        thermal=any(each.thermal for each in known),
        power=any(each.power for each in known),
        throttled_fraction=max(each.throttled_fraction for each in known),
        reasons_mask=mask,
        power_throttle_s=_largest(each.power_throttle_s for each in known),
        thermal_throttle_s=_largest(each.thermal_throttle_s for each in known),
    )


def warm_up(results: Results) -> WarmupResult | None:
    """All processes' warm-up: converged and settled where every one was, and otherwise the furthest from it."""
    known = [result.warmup_result for result in results if result.warmup_result is not None]
    if len(known) < len(results):
        return None
    first = known[0]
    return WarmupResult(
        converged=_all([each.converged for each in known]),
        final_cv=_largest(each.final_cv for each in known),
        iterations_completed=sum(each.iterations_completed for each in known),
        target_cv=first.target_cv,
        max_prompts=first.max_prompts,
        latencies_ms=tuple(latency for each in known for latency in each.latencies_ms),
        thermal_floor_wait_s=max(each.thermal_floor_wait_s for each in known),
        settled=_all([each.settled for each in known]),
        temperature_slope_c_per_s=_furthest(each.temperature_slope_c_per_s for each in known),
        power_slope_pct_per_s=_furthest(each.power_slope_pct_per_s for each in known),
    )


def flops(counted: Results) -> FlopsBreakdown | None:
    """Operations of all processes whose work counts; all have the same model."""
    known = [result.flops_breakdown for result in counted if result.flops_breakdown is not None]
    if len(known) < len(counted):
        return None
    sums = {
        name: total([getattr(each, name) for each in known])
        for name in ("prefill_flops", "decode_flops", "computed_prefill_flops", "computed_decode_flops")
    }
    unknown = next((each for each in known if each.reason), None)
    return (unknown or known[0]).model_copy(update=sums)


def hardware(results: Results, flops: float | None, time_s: float) -> HardwareUtilisation | None:
    """The work of all processes, ``flops`` and what each of them read, against the peaks of all their boards."""
    extended = [result.extended_metrics for result in results]
    known = [each.hardware for each in extended if each is not None and each.hardware is not None]
    if len(known) < len(results):
        return None
    read, peak_flops, peak_bytes = (
        total([getattr(each, name) for each in known])
        for name in ("bytes_read", "peak_flops_per_s", "peak_bytes_per_s")
    )
    reasons = [each.reason for each in known if each.reason]
    sources = [each.peaks_source for each in known if each.peaks_source]
    return HardwareUtilisation(
        model_flops_utilisation=share_of_peak(flops, peak_flops, time_s),
        memory_bandwidth_utilisation=share_of_peak(read, peak_bytes, time_s),
        product_type=known[0].product_type,
        bytes_read=read,
        peak_flops_per_s=peak_flops,
        peak_bytes_per_s=peak_bytes,
        peaks_source="; ".join(dict.fromkeys(sources)) or None,
        reason="; ".join(dict.fromkeys(reasons)) or None,
    )


def memory(results: Results) -> MemoryUse | None:
    """Memory of all processes, which each hold their own."""
    extended = [result.extended_metrics for result in results]
    known = [each.memory for each in extended if each is not None and each.memory is not None]
    if len(known) < len(results):
        return None
    sums = {
        name: total([getattr(each, name) for each in known])
        for name in ("model_memory_mb", "peak_memory_mb", "inference_memory_mb", "kv_cache_mb")
    }
    devices = [device for each in known for device in each.devices]
    reason = next((each.reason for each in known if each.reason), None)
    return MemoryUse(**sums, devices=tuple(devices), reason=reason)


def compilation(extended: Sequence[ExtendedEfficiencyMetrics]) -> Compilation | None:
    """What all processes compiled, at the same time."""
    known = [each.compilation for each in extended if each.compilation is not None]
    if not known or len(known) < len(extended):
        return None
    return Compilation(graphs=sum(each.graphs for each in known), seconds=max(each.seconds for each in known))


def extended(
    results: Results,
    work: Mapping[str, int],
    total_j: float | None,
    utilised: HardwareUtilisation | None,
    *,
    tensor: bool,
) -> ExtendedEfficiencyMetrics | None:
    """Efficiency of the whole: memory is the sum of each process's largest use, utilisation the boards' mean."""
    known = [result.extended_metrics for result in results if result.extended_metrics is not None]
    if len(known) < len(results):
        return None
    counts = [each.batch_count for each in (known[:1] if tensor else known)]
    batches = sum(count or 0 for count in counts) if None not in counts else None
    boards = sum(len(result.environment_snapshot.devices) for result in results)
    utilisation = total(
        [
            _times(each.sm_utilisation_mean_pct, len(result.environment_snapshot.devices))
            for each, result in zip(known, results, strict=True)
        ]
    )
    return ExtendedEfficiencyMetrics(
        memory_used_max_mb=total([each.memory_used_max_mb for each in known]),
        sm_utilisation_mean_pct=per(utilisation, boards),
        batch_count=batches,
        effective_batch_size=per(_places(known[:1] if tensor else known), batches or 0),
        padding_ratio=_padding(results[:1] if tensor else results),
        energy_per_request_j=per(total_j, work["requests"]),
        energy_per_input_token_j=per(total_j, work["input_tokens"]),
        energy_per_total_token_j=per(total_j, work["total_tokens"]),
        hardware=utilised,
        memory=memory(results),
        compilation=compilation(known),
    )


def _places(known: Sequence[ExtendedEfficiencyMetrics]) -> float | None:
    """Requests counted once for every batch that they were in."""
    return total([_times(each.effective_batch_size, each.batch_count or 0) for each in known])


def _padding(results: Results) -> float | None:
    """Padded positions over all positions: their number follows from each process's share and its tokens."""
    padded = 0
    for result in results:
        ratio = result.extended_metrics.padding_ratio if result.extended_metrics else None
        if ratio is None or ratio >= 1:
            return None
        padded += round(result.input_tokens * ratio / (1 - ratio))
    return per(float(padded), padded + sum(result.input_tokens for result in results))


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _largest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _furthest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), key=abs, default=None)


def _all(values: Sequence[bool | None]) -> bool | None:
    if False in values:
        return False
    return None if None in values else True
