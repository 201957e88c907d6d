"""The nested parts of a result. Unknown is None, never 0."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime

from llem_sweep.results.base import JsonDict, ResultModel
from llem_sweep.results.work import Compilation, HardwareUtilisation, MemoryUse


class MethodEnergy(ResultModel):
    """Energy of one device over the window by one method."""

    method: str
    """counter, mean_power or power."""
    energy_j: float
    """Energy by this method."""
    uncertainty_j: float
    """Half-width at ``energy_coverage`` of the result."""


class DeviceEnergy(ResultModel):
    """Energy of one device over the window."""

    energy_j: float | None
    """Energy of the device over the window."""
    uncertainty_j: float | None
    """Half-width at ``energy_coverage``."""
    method: str | None
    """The method whose value this is."""
    methods: tuple[MethodEnergy, ...] = ()
    """Every method that the board's readings allow, the one chosen first."""
    reason: str | None = None
    """Why ``energy_j`` is None."""


class HostEnergy(ResultModel):
    """Energy of the node's CPU packages and their memory over the window, whoever computed there.

    It belongs to the node: workers that share one state the same joules, so it is never summed over workers, nor
    mixed into the energy of GPUs. The uncertainties bound the timing of the readings alone.
    """

    package_j: float | None
    """All CPU packages of the node."""
    package_uncertainty_j: float | None
    """Half-width that holds the truth, given that a counter never falls."""
    dram_j: float | None
    """The memory of all packages; many CPUs don't tell it."""
    dram_uncertainty_j: float | None
    """Half-width around ``dram_j``, like that of the packages."""
    domains: tuple[str, ...] = ()
    """The counters that were read, for example ``package-0`` and ``package-0/dram``."""
    reason: str | None = None
    """Why an energy is None, and what to do about it."""


class IdlePower(ResultModel):
    """Idle power of all boards over one stretch of time."""

    kind: Literal["cold", "context"]
    """cold: no context of ours on the boards; context: model resident, nothing running."""
    when: Literal["before", "after"]
    """Relative to the window."""
    power_w: float | None
    """Sum over the boards; None when any of them is unknown."""
    uncertainty_w: float | None
    """Half-width at ``energy_coverage``: sensor timing and the spread over the stretch."""
    power_per_device_w: tuple[float | None, ...]
    """Idle power of each device."""
    method: str | None
    """How its energy was computed, as in ``energy_methods``."""
    timestamp: AwareDatetime
    """Of its end."""
    duration_s: float
    """Length of the stretch."""
    age_s: float
    """From its end to the start of the window; negative after the window."""


class EnergyBreakdown(ResultModel):
    """Total energy and what of it is idle power."""

    raw_j: float | None
    """``total_energy_j``."""
    adjusted_j: float | None
    """``raw_j - baseline_power_w * duration``; may be negative."""
    baseline_power_w: float | None
    """Idle power of all boards together."""
    baseline_method: str | None
    """For example ``cold/counter``."""
    baseline_timestamp: AwareDatetime | None
    """Of the baseline's end."""
    baseline_cache_age_sec: float | None
    """From the end of the baseline to the start of the window."""
    energy_methods: tuple[str | None, ...] = ()
    """How each device's energy was computed, in device order."""
    raw_uncertainty_j: float | None = None
    """Half-width around ``raw_j``."""
    adjusted_uncertainty_j: float | None = None
    """Half-width around ``adjusted_j``."""
    baseline_uncertainty_w: float | None = None
    """Half-width around ``baseline_power_w``."""
    baseline_kind: Literal["cold", "context"] | None = None
    """Which idle power was subtracted."""
    idle: tuple[IdlePower, ...] = ()
    """Every idle power taken for this result, whichever was subtracted."""
    gain_error_pct: tuple[float, float] | None = None
    """Published range of the boards' own gain error, which no uncertainty here includes."""


class ThermalThrottleInfo(ResultModel):
    """What held the clocks down inside the window, from the sampled reasons and the boards' own counters."""

    thermal: bool
    """Whether heat held clocks down."""
    power: bool
    """Whether a power limit did."""
    throttled_fraction: float
    """Share of samples with any thermal or power reason set, 0 to 1."""
    reasons_mask: int
    """All NVML clock-event reasons seen, or-ed."""
    power_throttle_s: float | None = None
    """Time held down by power of the board held longest, by its cumulative counter; None where it has none."""
    thermal_throttle_s: float | None = None
    """The same by heat."""


class WarmupResult(ResultModel):
    """How the warm-up went."""

    converged: bool | None
    """None when convergence wasn't asked for."""
    final_cv: float | None
    """Coefficient of variation of the latest ``window_size`` latencies."""
    iterations_completed: int
    """Warm-up batches that were run."""
    target_cv: float
    """``final_cv`` at which latencies count as converged."""
    max_prompts: int
    """The most batches it may take to converge."""
    latencies_ms: tuple[float, ...]
    """Latency of every warm-up batch, synchronised."""
    thermal_floor_wait_s: float
    """Time under load spent after the warm-up itself, to reach the thermal floor and to settle."""
    settled: bool | None = None
    """Whether temperature and power had settled when the window opened; None where it wasn't asked, or no board
    tells."""
    temperature_slope_c_per_s: float | None = None
    """Of the board that changed most, over the last seconds before the window."""
    power_slope_pct_per_s: float | None = None
    """The same for power, in percent of it."""


class LatencyStatistics(ResultModel):
    """Latencies in ms, by stamps of every decoding step in the window; waiting for earlier batches isn't in any.

    ttft: from the start of a request's batch to its first token. itl: from one token of a request to the next.
    tpot: a request's mean of these. e2e_latency: from the start of its batch to its last token.
    """

    ttft_mean_ms: float | None = None
    ttft_median_ms: float | None = None
    ttft_p95_ms: float | None = None
    ttft_p99_ms: float | None = None
    itl_mean_ms: float | None = None
    itl_median_ms: float | None = None
    itl_p95_ms: float | None = None
    itl_p99_ms: float | None = None
    tpot_mean_ms: float | None = None
    tpot_median_ms: float | None = None
    tpot_p95_ms: float | None = None
    tpot_p99_ms: float | None = None
    e2e_latency_mean_ms: float | None = None
    e2e_latency_median_ms: float | None = None
    e2e_latency_p95_ms: float | None = None
    e2e_latency_p99_ms: float | None = None
    ttft_samples: int | None = None
    """Requests with a token."""
    itl_samples: int | None = None
    """Pairs of neighbouring tokens."""
    tpot_samples: int | None = None
    """Requests with two tokens or more."""
    e2e_latency_samples: int | None = None
    """Requests with a token."""
    stamp_error_ms: float | None = None
    """How far any time may be off, either way: from the events of a GPU to the host's clock; 0 on the CPU."""


class ExtendedEfficiencyMetrics(ResultModel):
    """Memory, utilisation, batches and the energy of other units of work."""

    memory_used_max_mb: float | None = None
    """Largest sum over the boards of memory in use, whole boards, inside the window."""
    sm_utilisation_mean_pct: float | None = None
    """Mean over samples and boards of NVML's GPU utilisation, inside the window."""
    batch_count: int | None = None
    """Batches; with continuous batching, passes of the model."""
    effective_batch_size: float | None = None
    """Requests in a batch, in the mean; with continuous batching, those that a pass gave a token to."""
    padding_ratio: float | None = None
    """Padded positions over all positions of the inputs."""
    energy_per_request_j: float | None = None
    """``total_energy_j`` by requests."""
    energy_per_input_token_j: float | None = None
    """``total_energy_j`` by input tokens."""
    energy_per_total_token_j: float | None = None
    """``total_energy_j`` by input and output tokens."""
    hardware: HardwareUtilisation | None = None
    memory: MemoryUse | None = None
    compilation: Compilation | None = None
    """None where nothing is compiled."""


class PhaseMetrics(ResultModel):
    """One phase of the window, over all of its batches."""

    time_s: float
    """Of several processes the mean."""
    tokens: int
    """Of prefill the prompts', padding not counted; of decode the output tokens but for each request's first."""
    tokens_per_second: float | None
    """``tokens`` by ``time_s``."""
    energy_j: float | None
    """Over all boards; None when any is unknown."""
    energy_uncertainty_j: float | None
    """Half-width at ``energy_coverage``."""
    energy_per_token_j: float | None
    """``energy_j`` by ``tokens``."""


class PrefillWindow(ResultModel):
    """Prefill by a window of its own after the run: all batches up to their first token, again and again.

    Half-widths are at ``energy_coverage``. The energy of prefill is without the gaps between a first token and the
    next batch's start, in which the boards draw something from nothing to what prefill draws: half of their share
    is taken off, and added to the half-width.
    """

    repetitions: int | None
    """How often all batches were run in it; of several processes, known where all did equally often."""
    time_s: float
    """Of the window; of several processes the mean, here and below."""
    gap_s: float
    """What of it isn't prefill."""
    energy_j: float | None
    """Of the window over all boards, gaps included; None when any is unknown."""
    energy_uncertainty_j: float | None
    """Half-width around ``energy_j``."""
    energy_per_device_j: tuple[float | None, ...]
    """The same for each device."""
    energy_per_device_uncertainty_j: tuple[float | None, ...]
    """Half-width around each device's energy."""
    time_per_run_s: float
    """Prefill of all batches once."""
    energy_per_run_j: float | None
    """Energy of that."""
    energy_per_run_uncertainty_j: float | None
    """Half-width around ``energy_per_run_j``."""
    prefill: PhaseMetrics
    """Prefill of as many batches as the measured window holds, to be held against the split's."""
    difference_j: float | None = None
    """Its energy less the split's."""
    difference_uncertainty_j: float | None = None
    """Both half-widths in quadrature: how far they may differ if prefill drew the same in both windows."""
    agrees: bool | None = None
    """Whether they differ by no more; None where one of them is unknown."""
    temperature_change_c: float | None = None
    """How much warmer a board was than in the measured window, in the mean; of the board that differs most."""
    power_throttle: bool | None = None
    """Whether power held clocks down in it, by the sampled reasons; None where no board tells."""
    thermal_throttle: bool | None = None
    """The same by heat."""
    foreign_pids: tuple[int, ...] = ()
    """Other processes on the boards meanwhile, as far as the driver tells of them."""
    reason: str | None = None
    """Why energies are None."""


class PhaseBreakdown(ResultModel):
    """The window parted at the first token of each batch: both times and both energies sum to the window's."""

    prefill: PhaseMetrics
    """From a batch's start to its first token."""
    decode: PhaseMetrics
    """From there to the start of the next batch or the window's end."""
    closure_j: float | None = None
    """What the energies are more than the total when each is taken from the energy counter's ticks wholly inside
    its phase alone; None where some phase shows no such tick."""
    closure_uncertainty_j: float | None = None
    """Half-width at ``energy_coverage`` within which it would be if power were steady around each change."""
    reason: str | None = None
    """Why the energies are None."""
    prefill_window: PrefillWindow | None = None
    """Prefill by itself; None unless ``measurement.prefill_window`` was set."""


class FurtherFile(ResultModel):
    """A file beside the result."""

    name: str
    """Of the file, without a folder."""
    sha256: str
    """Of its bytes."""


class MultiGPUMetrics(ResultModel):
    """The result's energies by the names that v2 of the schema had."""

    num_gpus: int
    """Devices metered."""
    energy_per_gpu_j: tuple[float | None, ...]
    """``energy_per_device_j`` of the result."""
    energy_total_j: float | None
    """``total_energy_j`` of the result."""
    energy_per_output_token_j: float | None
    """``avg_energy_per_token_j`` of the result."""


class SteadyStateWindow(ResultModel):
    """Which part of the run was measured, steady state or otherwise; it begins and ends where batches do."""

    start_s: float
    """From the start of the run, which is that of its first batch."""
    end_s: float
    """From the start of the run."""
    run_s: float | None = None
    """Length of the whole run."""


class AggregationMetadata(ResultModel):
    """How several processes' results became one."""

    method: str
    """data: each ran its part of the requests; tensor: each ran its part of the model."""
    num_processes: int
    """Processes that were put together."""
    temporal_overlap_verified: bool
    """Whether ``overlap`` is large enough for the processes to have been measured at the same time."""
    gpu_attribution_verified: bool
    """Whether every board was metered by one process alone; false where there is no board."""
    warnings: tuple[str, ...] = ()
    """What is doubtful about putting these processes together, as in ``measurement_warnings``."""
    overlap: float | None = None
    """Share of the time from the first start to the last end that lies in every process's window, 0 to 1."""


class ProcessResult(ResultModel):
    """One process's part of an aggregated result, over its own window."""

    process: int
    """From 0."""
    requests: int
    input_tokens: int
    output_tokens: int
    """In tensor mode every process counts all tokens, and the whole result counts them once."""
    batch_count: int | None
    """As in ``extended_metrics``."""
    iterations: int | None = None
    """How often it ran its part of the workload."""
    total_inference_time_sec: float
    avg_tokens_per_second: float
    total_energy_j: float | None
    energy_uncertainty_j: float | None
    baseline_power_w: float | None
    energy_adjusted_j: float | None
    energy_adjusted_uncertainty_j: float | None
    energy_per_device_j: tuple[float | None, ...]
    device_uuids: tuple[str, ...]
    """Boards that it metered."""
    identity: Literal["assigned", "confirmed", "none"]
    """As in ``environment_snapshot``."""
    host_energy: HostEnergy | None
    """Energy of the whole node over this process's window."""
    warmup_result: WarmupResult | None
    window_start_s: float
    """Start of its window in monotonic time, the same clock for all processes."""
    window_end_s: float
    """The same for its end."""
    start_time: AwareDatetime
    end_time: AwareDatetime


class EffectiveConfig(ResultModel):
    """What was actually run."""

    config: JsonDict
    """Every field of the configuration, defaults written out."""
    backend: JsonDict
    """What the backend made of it: arguments passed, attention in use, device, data type."""


class SamplerInfo(ResultModel):
    """What the sampler did and cost."""

    period_s: float
    """Time between two samples, as scheduled."""
    samples: int
    """Samples inside the window, per device."""
    longest_gap_s: float | None
    """Longest time in the window without a sample of some board, its ends counted."""
    cpu_time_s: float | None
    """CPU time of the sampler itself over the recording."""


Methodology = Literal["total", "steady_state", "windowed"]
