"""What makes a number doubtful, said with its figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from llem_sweep.config.experiment import BaselineConfig, ExperimentConfig, SamplingConfig, WarmupConfig
from llem_sweep.config.measurement import MeasurementConfig
from llem_sweep.harness.evidence import Identity, has_drifted, why_not_idle
from llem_sweep.harness.phases import prefill_doubt
from llem_sweep.harness.warmup_doubts import Doubt, steady_state_doubts, warm_up_doubts
from llem_sweep.results.environment import BoardInfo
from llem_sweep.results.parts import PhaseBreakdown, WarmupResult
from llem_sweep.results.warnings import MeasurementWarning, WarningCode
from llem_sweep.sampling.account import Account, Evidence
from llem_sweep.sampling.summary import WindowSummary
from llem_sweep.sampling.watch import Watch

SHORT_WINDOW_S = 10.0
"""Below this the sensors, not the model, dominate the number."""
SHORT_BASELINE_S = 10.0
FEW_SAMPLES = 20
WIDE_BOUND = 0.05
UNSTABLE_BASELINE = 0.05
GAP_PERIODS = 10
"""A gap of more sampling periods than this is a fault of the sampler."""
DRIFT_C = 3.0
"""A board's leakage makes its power move by a fraction of a percent per degree."""
CLOCK_CHANGE = 0.05
THROTTLED_S = 0.05
"""Less time held down than this, by the boards' counters, is their resolution."""


class Circumstances(NamedTuple):
    """All that doubts are raised from besides the samples; a stored result holds every part of it."""

    warmup: WarmupConfig
    baseline: BaselineConfig
    sampling: SamplingConfig
    energy_off: bool
    simulated: bool
    synthetic: bool
    off_board: bool
    boards: tuple[BoardInfo, ...]
    identity: Identity
    warm: WarmupResult
    measurement: MeasurementConfig = MeasurementConfig()
    neighbours: tuple[str, ...] = ()


class Samples(NamedTuple):
    """The samples, and what was made of them."""

    evidence: Evidence
    account: Account
    summary: WindowSummary
    watch: Watch
    """Of the window."""


def doubts(
    about: Circumstances, samples: Samples, phases: PhaseBreakdown | None
) -> tuple[MeasurementWarning, ...]:
    """Every doubt about one result, in the order: what was measured, how, and on what."""
    found: list[Doubt] = [*_what_was_measured(about)]
    if about.boards and not about.energy_off:
        found += [*_energy(samples), *_window(about, samples), *_baseline(about, samples)]
        if doubt := prefill_doubt(phases):
            found.append(doubt)
    steady = about.measurement.window == "steady_state"
    found += (
        steady_state_doubts(about.warm, samples.evidence)
        if steady
        else warm_up_doubts(about.warmup, about.warm)
    )
    found += [*_board(about, samples), *_alone(about, samples)]
    return tuple(MeasurementWarning.of(code, message) for code, message in found)


FETCH = "fetch of "
"""What the name of a fetch among an experiment's neighbours begins with."""


def shared_node(neighbours: Sequence[str]) -> Doubt:
    """The doubt about an experiment that had others on its node, or a model that was fetched onto it."""
    number = len(neighbours)
    fetches = sum(name.startswith(FETCH) for name in neighbours)
    others = (
        [f"{number - fetches} other experiment{'s' * (number - fetches > 1)}"] if number > fetches else []
    )
    fetched = [f"{fetches} fetch{'es' * (fetches > 1)} of a model"] if fetches else []
    return WarningCode.SHARED_NODE, f"{' and '.join(others + fetched)} on this node meanwhile"


def energy_off(config: ExperimentConfig) -> bool:
    """Whether ``config`` asks for no energy at all."""
    return config.energy.backend == "null"


def _what_was_measured(about: Circumstances) -> Iterator[Doubt]:
    if about.simulated:
        yield WarningCode.SIMULATED, "simulated: power and energy come from a simulated board"
    if about.synthetic:
        yield WarningCode.SYNTHETIC_BACKEND, "synthetic: no model was run"
    if not about.boards:
        yield WarningCode.UNMETERED, "no board was assigned, so there is no energy"
    elif about.off_board:
        yield WarningCode.OFF_BOARD, "computed on the CPU while the assigned board was metered"
    if about.boards and about.energy_off:
        yield WarningCode.ENERGY_OFF, "energy.backend is null: no energy was measured"


def _energy(samples: Samples) -> Iterator[Doubt]:
    account = samples.account
    for device, energy in enumerate(account.devices):
        if energy.disagreement is not None:
            yield WarningCode.SENSOR_DISAGREEMENT, f"device {device}: {energy.disagreement}"
        if energy.energy_j is None:
            code = WarningCode.WINDOW_UNRESOLVED if energy.resolvable else WarningCode.ENERGY_UNAVAILABLE
            yield code, f"no energy for device {device}: {energy.reason}"
    total_j, uncertainty_j = account.total_j, account.total_uncertainty_j
    if total_j and uncertainty_j is not None and uncertainty_j > WIDE_BOUND * abs(total_j):
        yield (
            WarningCode.WIDE_BOUND,
            f"{total_j:.1f} J is known to ± {uncertainty_j:.1f} J, more than {WIDE_BOUND:.0%}",
        )


def _window(about: Circumstances, samples: Samples) -> Iterator[Doubt]:
    duration_s, summary = samples.evidence.window.duration_s, samples.summary
    if duration_s < SHORT_WINDOW_S:
        yield (
            WarningCode.SHORT_WINDOW,
            f"the window lasted {duration_s:.2f} s, less than {SHORT_WINDOW_S:g} s",
        )
    if summary.samples_per_device < FEW_SAMPLES:
        yield (
            WarningCode.FEW_SAMPLES,
            f"{summary.samples_per_device} samples in the window, fewer than {FEW_SAMPLES}",
        )
    limit_s = GAP_PERIODS * samples.evidence.recordings["window"].period_s
    if summary.longest_gap_s is not None and summary.longest_gap_s > limit_s:
        yield (
            WarningCode.SAMPLER_GAP,
            f"{summary.longest_gap_s:.3f} s without a sample, more than {limit_s:.3f} s",
        )
    if about.sampling.sidecar_hz is not None:
        yield (
            WarningCode.SIDECAR_THINNED,
            f"the samples were thinned to {about.sampling.sidecar_hz} per second and device:"
            " the energy can't be computed from them again",
        )


def _baseline(about: Circumstances, samples: Samples) -> Iterator[Doubt]:
    evidence, account = samples.evidence, samples.account
    if account.baseline_w is None:
        reason = "no reading of idle power" if about.baseline.enabled else "switched off"
        yield WarningCode.BASELINE_MISSING, f"no baseline ({reason}), so no adjusted energy"
        return
    for span in evidence.spans:
        if span.kind != account.subtracted or span.when != "before":
            continue
        if span.duration_s < SHORT_BASELINE_S:
            yield (
                WarningCode.BASELINE_SHORT,
                f"idle power was taken for {span.duration_s:.1f} s, less than {SHORT_BASELINE_S:g} s",
            )
    if account.subtracted is not None and (why := why_not_idle(evidence, account.subtracted)):
        yield WarningCode.BASELINE_NOT_IDLE, why
    if account.subtracted == "cold":
        yield WarningCode.BASELINE_COLD, "idle power without a context was subtracted"
    yield from _unstable(account)
    if account.adjusted_j is not None and account.adjusted_j < 0:
        yield (
            WarningCode.NEGATIVE_ADJUSTED_ENERGY,
            f"{account.adjusted_j:.3f} J: less than idle at {account.baseline_w:.1f} W",
        )


def _unstable(account: Account) -> Iterator[Doubt]:
    if account.subtracted is None or account.baseline_w is None:
        return
    used = [idle for idle in account.idle if idle.kind == account.subtracted]
    if has_drifted(account, account.subtracted):
        seen = ", ".join(
            f"{idle.power_w:.1f} W {idle.span.when}" for idle in used if idle.power_w is not None
        )
        yield WarningCode.BASELINE_UNSTABLE, f"idle power changed over the window: {seen}"
    elif (account.baseline_uncertainty_w or 0.0) > UNSTABLE_BASELINE * account.baseline_w:
        yield (
            WarningCode.BASELINE_UNSTABLE,
            f"idle power is {account.baseline_w:.1f} ± {account.baseline_uncertainty_w:.1f} W",
        )


def _board(about: Circumstances, samples: Samples) -> Iterator[Doubt]:
    summary, seen = samples.summary, samples.watch
    held_s = seen.thermal_throttle_s or 0.0
    if summary.thermal_throttle or held_s > THROTTLED_S:
        yield WarningCode.THERMAL_THROTTLE, f"clocks held down by heat {_how_long(held_s, summary)}"
    held_s = seen.power_throttle_s or 0.0
    if summary.power_throttle or held_s > THROTTLED_S:
        yield WarningCode.POWER_THROTTLE, f"clocks held down by power {_how_long(held_s, summary)}"
    if seen.temperature_rise_c is not None and abs(seen.temperature_rise_c) > DRIFT_C:
        yield (
            WarningCode.THERMAL_DRIFT,
            f"a board's temperature moved by {seen.temperature_rise_c:+.1f} °C within the window",
        )
    if seen.clock_change is not None and abs(seen.clock_change) > CLOCK_CHANGE:
        yield (
            WarningCode.CLOCK_CHANGE,
            f"a board's SM clock moved by {seen.clock_change:+.0%} within the window",
        )
    if seen.ecc_errors:
        yield WarningCode.ECC_ERRORS, f"{seen.ecc_errors} uncorrected memory errors"
    for board in about.boards:
        if board.persistence_mode is False:
            yield WarningCode.PERSISTENCE_OFF, f"persistence mode is off on {board.uuid}"


def _how_long(held_s: float, summary: WindowSummary) -> str:
    return f"for {held_s:.1f} s by the boards' counters (reasons sampled: {summary.throttle_reasons or 0:#x})"


def _alone(about: Circumstances, samples: Samples) -> Iterator[Doubt]:
    if samples.watch.foreign:
        pids = ", ".join(map(str, sorted(samples.watch.foreign)))
        yield WarningCode.FOREIGN_PROCESS, f"other processes on the board during the window: {pids}"
    if samples.watch.mig:
        yield WarningCode.MIG, "a board is in MIG mode: energy and power are the whole board's"
    if about.neighbours:
        yield shared_node(about.neighbours)
    if about.identity == "assigned" and about.boards and not about.simulated:
        yield WarningCode.IDENTITY_ASSIGNED, "the backend doesn't say which boards it computed on"
