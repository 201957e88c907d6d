"""Energy and idle power of several processes' boards together, by the rules for the boards of one process."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from llem_sweep.results.experiment import ExperimentResult
from llem_sweep.results.parts import EnergyBreakdown, IdlePower, MultiGPUMetrics
from llem_sweep.results.sums import Idle, in_quadrature, mean_idle, per, total

Results = Sequence[ExperimentResult]


def energy_fields(results: Results, durations_s: Sequence[float], output_tokens: int) -> dict[str, Any]:
    """Every energy of the whole, by field of the result; ``durations_s`` are the lengths of the windows."""
    total_j = total([result.total_energy_j for result in results])
    uncertainty_j = in_quadrature([result.energy_uncertainty_j for result in results])
    idle = _subtracted_idle(results, durations_s)
    adjusted_j = adjusted_uncertainty_j = None
    if total_j is not None and idle.energy is not None:
        adjusted_j = total_j - idle.energy.value
        if uncertainty_j is not None and idle.energy.half_width is not None:
            adjusted_uncertainty_j = math.hypot(uncertainty_j, idle.energy.half_width)
    power = idle.power
    return {
        "total_energy_j": total_j,
        "avg_energy_per_token_j": per(total_j, output_tokens),
        "baseline_power_w": power.value if power else None,
        "energy_adjusted_j": adjusted_j,
        "energy_uncertainty_j": uncertainty_j,
        "energy_adjusted_uncertainty_j": adjusted_uncertainty_j,
        "avg_energy_per_token_uncertainty_j": per(uncertainty_j, output_tokens),
        **{
            name: tuple(value for result in results for value in getattr(result, name))
            for name in (
                "energy_per_device_j",
                "energy_per_device_uncertainty_j",
                "device_energies",
                "sensors",
            )
        },
        "energy_breakdown": _breakdown(
            results, idle, total_j, uncertainty_j, adjusted_j, adjusted_uncertainty_j
        ),
        "multi_gpu": _multi_gpu(results, total_j, output_tokens),
    }


class _Subtracted(NamedTuple):
    """Idle power of all boards together that is subtracted; unknown unless all processes know the same kind."""

    kind: Literal["cold", "context"] | None
    power: Idle | None
    energy: Idle | None
    """Each process's idle power over its own window, summed."""
    every: tuple[IdlePower, ...]
    """All idle powers that every process has, each summed over the processes."""


def _subtracted_idle(results: Results, durations_s: Sequence[float]) -> _Subtracted:
    """Idle power by the rule for the boards of one process: before and after are summed over all boards, and their
    mean and half-width taken of the sums."""
    breakdowns = [result.energy_breakdown for result in results]
    known = [breakdown for breakdown in breakdowns if breakdown is not None]
    if len(known) < len(results):
        return _Subtracted(None, None, None, ())
    takes = [{(idle.kind, idle.when): idle for idle in breakdown.idle} for breakdown in known]
    common = [[each[take] for each in takes] for take in takes[0] if all(take in each for each in takes)]
    kinds = {breakdown.baseline_kind for breakdown in known}
    kind = kinds.pop() if len(kinds) == 1 else None
    powers, energies = [], []
    for idles in common:
        power_w = total([idle.power_w for idle in idles])
        if idles[0].kind != kind or power_w is None:
            continue
        powers.append((power_w, in_quadrature([idle.uncertainty_w for idle in idles])))
        pairs = list(zip(idles, durations_s, strict=True))
        energies.append(
            (
                math.fsum((idle.power_w or 0.0) * length_s for idle, length_s in pairs),
                in_quadrature([_times(idle.uncertainty_w, length_s) for idle, length_s in pairs]),
            )
        )
    every = tuple(map(_summed, common))
    if not powers:
        return _Subtracted(None, None, None, every)
    return _Subtracted(kind, mean_idle(*_columns(powers)), mean_idle(*_columns(energies)), every)


def _breakdown(
    results: Results,
    idle: _Subtracted,
    total_j: float | None,
    uncertainty_j: float | None,
    adjusted_j: float | None,
    adjusted_uncertainty_j: float | None,
) -> EnergyBreakdown | None:
    """Total energy and what of it is idle power; None unless every process metered boards."""
    known = [result.energy_breakdown for result in results if result.energy_breakdown is not None]
    if len(known) < len(results):
        return None
    methods = sorted({each.baseline_method for each in known if each.baseline_method is not None})
    stamps = [each.baseline_timestamp for each in known if each.baseline_timestamp is not None]
    ages = [each.baseline_cache_age_sec for each in known if each.baseline_cache_age_sec is not None]
    return EnergyBreakdown(
        raw_j=total_j,
        raw_uncertainty_j=uncertainty_j,
        adjusted_j=adjusted_j,
        adjusted_uncertainty_j=adjusted_uncertainty_j,
        baseline_power_w=idle.power.value if idle.power else None,
        baseline_uncertainty_w=idle.power.half_width if idle.power else None,
        baseline_kind=idle.kind,
        baseline_method="+".join(methods) or None,
        baseline_timestamp=min(stamps, default=None),
        baseline_cache_age_sec=max(ages, default=None),
        energy_methods=tuple(method for each in known for method in each.energy_methods),
        idle=idle.every,
        gain_error_pct=known[0].gain_error_pct,
    )


def _multi_gpu(results: Results, total_j: float | None, output_tokens: int) -> MultiGPUMetrics | None:
    per_device_j = tuple(energy_j for result in results for energy_j in result.energy_per_device_j)
    if len(per_device_j) < 2:
        return None
    return MultiGPUMetrics(
        num_gpus=len(per_device_j),
        energy_per_gpu_j=per_device_j,
        energy_total_j=total_j,
        energy_per_output_token_j=per(total_j, output_tokens),
    )


def _summed(idles: Sequence[IdlePower]) -> IdlePower:
    methods = sorted({method for idle in idles if idle.method for method in idle.method.split("+")})
    return IdlePower(
        kind=idles[0].kind,
        when=idles[0].when,
        power_w=total([idle.power_w for idle in idles]),
        uncertainty_w=in_quadrature([idle.uncertainty_w for idle in idles]),
        power_per_device_w=tuple(power_w for idle in idles for power_w in idle.power_per_device_w),
        method="+".join(methods) or None,
        timestamp=max(idle.timestamp for idle in idles),
        duration_s=min(idle.duration_s for idle in idles),
        age_s=max((idle.age_s for idle in idles), key=abs),
    )


def _columns(
    pairs: Sequence[tuple[float, float | None]],
) -> tuple[list[float], list[float | None]]:
    return [value for value, _ in pairs], [half_width for _, half_width in pairs]


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
