"""What makes a number doubtful that was measured after a warm-up."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from llem_sweep.config.experiment import WarmupConfig
from llem_sweep.results.parts import WarmupResult
from llem_sweep.results.warnings import WarningCode
from llem_sweep.sampling.account import Evidence
from llem_sweep.sampling.selection import throughput

SHORT_WARM_UP_S = 30.0

Doubt = tuple[WarningCode, str]


def warm_up_doubts(config: WarmupConfig, warm: WarmupResult) -> Iterator[Doubt]:
    """What is doubtful where the whole run was measured, or the part of it that the configuration names."""
    if not config.enabled:
        yield WarningCode.WARM_UP_OFF, "the window began without a warm-up"
        return
    if config.thermal_floor_seconds < SHORT_WARM_UP_S:
        yield (
            WarningCode.WARM_UP_SHORT,
            f"thermal floor of {config.thermal_floor_seconds:g} s, less than {SHORT_WARM_UP_S:g} s",
        )
    yield from _unconverged(warm)
    if warm.settled is False:
        yield (
            WarningCode.THERMAL_DRIFT,
            f"not settled when the window opened: {warm.temperature_slope_c_per_s or 0.0:+.3f} °C/s,"
            f" {warm.power_slope_pct_per_s or 0.0:+.2f} %/s of power",
        )


def steady_state_doubts(warm: WarmupResult, evidence: Evidence) -> Iterator[Doubt]:
    """What stays doubtful of the warm-up where the window begins in steady state.

    Whether there was a warm-up, how long it was under load and whether the boards had settled by its end don't
    matter: the window begins after 30 s under load over which they had, by the rule of the warm-up itself, and
    what moves later is doubted by the window's own samples. Latencies that didn't converge do matter where the
    window begins so early in the run that its throughput couldn't be judged: nobody has seen them do so since.
    """
    run = evidence.run
    if run is None or throughput(run, bisect_left(run.bounds_s, evidence.window.start_s)) is None:
        yield from _unconverged(warm)


def _unconverged(warm: WarmupResult) -> Iterator[Doubt]:
    if warm.converged is False:
        yield (
            WarningCode.WARM_UP_UNCONVERGED,
            f"coefficient of variation {warm.final_cv} after {warm.iterations_completed} batches,"
            f" above {warm.target_cv:g}",
        )
