"""Bringing model and board to the state that they will be measured in."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from llem_sweep.backends.protocol import Batches, BatchTally, LoadedModel
from llem_sweep.config.experiment import WarmupConfig
from llem_sweep.harness.rig import Rig
from llem_sweep.phases import Phase
from llem_sweep.results.parts import WarmupResult
from llem_sweep.sampling.sampler import Sampler
from llem_sweep.sampling.settling import Settling, settling

_JUDGE_EVERY_S = 1.0


class WarmUp(NamedTuple):
    """What was run before the window."""

    result: WarmupResult
    requests: int


def warm_up(workload: Batches, model: LoadedModel, config: WarmupConfig, rig: Rig) -> WarmUp:
    """Run the experiment's own batches in turn, ``n_warmup`` of them or until their latency has converged.

    Convergence means that the coefficient of variation of the latest ``window_size`` latencies is at most
    ``cv_threshold``. Each latency (ms) is synchronised.
    """
    rig.phases.mark(Phase.WARM_UP)
    latencies_ms: list[float] = []
    requests = 0
    while config.enabled and not rig.gang.agree(_enough(latencies_ms, config)):
        latency_s, tally = _run_one(workload, model, rig, len(latencies_ms))
        latencies_ms.append(1000 * latency_s)
        requests += tally.requests
    judged = config.enabled and config.convergence_detection
    result = WarmupResult(
        converged=_converged(latencies_ms, config) if judged else None,
        final_cv=coefficient_of_variation(latencies_ms[-config.window_size :]),
        iterations_completed=len(latencies_ms),
        target_cv=config.cv_threshold,
        max_prompts=config.max_prompts,
        latencies_ms=tuple(latencies_ms),
        thermal_floor_wait_s=0.0,
    )
    return WarmUp(result, requests)


def settle(
    workload: Batches, model: LoadedModel, config: WarmupConfig, rig: Rig, warm: WarmUp, sampler: Sampler
) -> WarmUp:
    """Stay under load until the thermal floor is reached, counted from the start of the warm-up, and then until
    temperature and power have settled or ``settle_limit_seconds`` more have passed.

    The load is the experiment's own batches: an idle wait would let the clocks drop. A process of several stays
    under load until all of them have come that far.
    """
    floor_s = rig.phases.current.at_s + config.thermal_floor_seconds
    waits = config.enabled and config.thermal_floor_seconds > 0
    limit_s = floor_s + config.settle_limit_seconds
    begun_s = now_s = rig.phases.mark(Phase.SETTLE).at_s
    state, judged_s = Settling(None), -math.inf
    requests, index = warm.requests, 0
    while waits:
        if now_s >= floor_s and now_s >= judged_s + _JUDGE_EVERY_S:
            sampler.check()
            state, judged_s = settling(sampler.recording(), now_s), now_s
        if rig.gang.all_done(now_s >= floor_s and (state.settled is not False or now_s >= limit_s)):
            break
        latency_s, tally = _run_one(workload, model, rig, index)
        # A workload that takes no time at all would spin here and starve the sampler.
        rig.clock.sleep(0.001 - latency_s)
        requests += tally.requests
        index += 1
        now_s = rig.clock.monotonic()
    found = {
        "thermal_floor_wait_s": rig.clock.monotonic() - begun_s,
        "settled": state.settled,
        "temperature_slope_c_per_s": state.temperature_c_per_s,
        "power_slope_pct_per_s": state.power_pct_per_s,
    }
    return WarmUp(warm.result.model_copy(update=found), requests)


def coefficient_of_variation(values: Sequence[float]) -> float | None:
    """Sample standard deviation over mean; None below two values or at mean 0."""
    if len(values) < 2:
        return None
    mean = math.fsum(values) / len(values)
    return statistics.stdev(values) / mean if mean else None


def _run_one(workload: Batches, model: LoadedModel, rig: Rig, index: int) -> tuple[float, BatchTally]:
    """Run one batch without marking its phases; its synchronised latency in seconds, and what it did."""
    model.synchronize()
    begun_s = rig.clock.monotonic()
    tally = workload.run_batch(index % workload.batches, lambda phase: None)
    model.synchronize()
    rig.steps += 1
    return rig.clock.monotonic() - begun_s, tally


def _enough(latencies_ms: Sequence[float], config: WarmupConfig) -> bool:
    if not config.convergence_detection:
        return len(latencies_ms) >= config.n_warmup
    if len(latencies_ms) >= config.max_prompts:
        return True
    return len(latencies_ms) >= max(config.min_prompts, config.n_warmup) and _converged(latencies_ms, config)


def _converged(latencies_ms: Sequence[float], config: WarmupConfig) -> bool:
    if len(latencies_ms) < config.window_size:
        return False
    cv = coefficient_of_variation(latencies_ms[-config.window_size :])
    return cv is not None and cv <= config.cv_threshold
