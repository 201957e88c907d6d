"""The result of one experiment."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime
from pydantic_core import PydanticSerializationError

from llem_sweep.results.base import ResultModel
from llem_sweep.results.environment import EnvironmentSnapshot
from llem_sweep.results.parts import (
    AggregationMetadata,
    DeviceEnergy,
    EffectiveConfig,
    EnergyBreakdown,
    ExtendedEfficiencyMetrics,
    FurtherFile,
    HostEnergy,
    LatencyStatistics,
    Methodology,
    MultiGPUMetrics,
    PhaseBreakdown,
    ProcessResult,
    SamplerInfo,
    SteadyStateWindow,
    ThermalThrottleInfo,
    WarmupResult,
)
from llem_sweep.results.sensors import BoardSensors
from llem_sweep.results.verdict import Verdict
from llem_sweep.results.warnings import MeasurementWarning
from llem_sweep.results.work import FlopsBreakdown

SCHEMA_VERSION: Literal["3.3"] = "3.3"
SchemaVersion = Literal["3.2", "3.3"]
"""Of results that can be read: within a major version, fields are only added, and unknown where they weren't."""

MeasuredOn = Literal["board", "off-board", "simulated", "synthetic"]


def measured_on(*, synthetic: bool, simulated: bool, off_board: bool) -> MeasuredOn:
    """What an energy is of: the furthest from a measurement that applies."""
    if synthetic:
        return "synthetic"
    if simulated:
        return "simulated"
    return "off-board" if off_board else "board"


class ExperimentResult(ResultModel):
    """One experiment, measured. Frozen; unknown fields raise; unknown values are None.

    Lists per device are in the order of ``environment_snapshot.devices``. Energy and every rate belong to the
    one window from ``start_time`` to ``end_time``, whose length is ``total_inference_time_sec``. Of several
    processes that is the union of their windows, and each board's energy is over its own process's
    (:mod:`llem_sweep.results.aggregation`).
    """

    schema_version: SchemaVersion = SCHEMA_VERSION
    """Of this format."""
    experiment_id: str
    """Hash of the configuration, where it departs from the defaults, and of the cycle."""
    measurement_config_hash: str
    """16 hex digits, equal for all cycles of one configuration."""
    cycle: int = 1
    """Which repeat of its configuration this is, from 1."""
    backend: str
    """Name of the backend: pytorch, synthetic, or that of a plug-in."""
    backend_version: str
    """Versions of the libraries that computed, as the backend states them."""
    model: str
    """As in the configuration."""
    simulated: bool
    """True when any board of this result is simulated: its energy is no measurement."""
    synthetic: bool = False
    """True when the backend computes nothing."""
    off_board: bool = False
    """True when the work ran elsewhere than on the boards metered, or no board was."""
    measured_on: MeasuredOn
    """board: a real board that computed; the other three are kept apart from measurements everywhere. Follows from
    the three above (:func:`measured_on`)."""
    measurement_methodology: Methodology = "total"
    """Which part of the run the window is, as in ``measurement.window`` of the configuration."""
    steady_state_window: SteadyStateWindow | None = None
    """That part, where it isn't total by definition."""
    iterations: int | None = None
    """How often the workload was run, each time as a whole; of several processes, known where all of them ran it
    equally often. Tokens, requests and energy count what of all that lies in the window."""

    input_tokens: int
    """Prompt tokens in the window, padding not counted."""
    output_tokens: int
    """Generated tokens, up to and including the first end-of-sequence of each request."""
    total_tokens: int
    """Input and output tokens."""
    requests: int
    """Requests in the window."""
    total_energy_j: float | None
    """Sum of ``energy_per_device_j``; None when any of them is unknown."""
    total_inference_time_sec: float
    """Length of the measured window, monotonic; tokenisation and padding are outside it."""
    avg_tokens_per_second: float
    """Output tokens per second of the window."""
    avg_energy_per_token_j: float | None
    """Energy per output token."""
    total_flops: float | None = None
    """Useful operations of both phases; see ``flops_breakdown``."""
    flops_per_output_token: float | None = None
    """All of them, prefill included, by output tokens."""
    flops_per_input_token: float | None = None
    """All of them, decoding included, by input tokens."""
    flops_per_second: float | None = None
    """All of them by ``total_inference_time_sec``."""
    flops_breakdown: FlopsBreakdown | None = None

    baseline_power_w: float | None
    """Idle power of all boards together that is subtracted; of the kind in ``energy_breakdown.baseline_kind``."""
    energy_adjusted_j: float | None
    """``total_energy_j`` less what idling would have used in the same time; may be negative."""
    energy_per_device_j: tuple[float | None, ...]
    """Energy of each device over the window; None where it isn't known."""
    energy_breakdown: EnergyBreakdown | None
    energy_uncertainty_j: float | None = None
    """Half-width of the interval around ``total_energy_j`` that holds the truth with ``energy_coverage``: sensor
    timing alone; the boards' gain error is stated in ``energy_breakdown.gain_error_pct``."""
    energy_adjusted_uncertainty_j: float | None = None
    """Half-width around ``energy_adjusted_j``, at ``energy_coverage``."""
    avg_energy_per_token_uncertainty_j: float | None = None
    """Half-width around ``avg_energy_per_token_j``, at ``energy_coverage``."""
    energy_per_device_uncertainty_j: tuple[float | None, ...] = ()
    """Half-width around each device's energy, at ``energy_coverage``."""
    energy_coverage: float | None = None
    """Probability with which each half-width is meant to hold the truth, 0 to 1."""
    energy_estimator: str | None = None
    """Version of the estimators: within one, the stored samples give every energy again bit for bit."""
    device_energies: tuple[DeviceEnergy, ...] = ()
    """Every method's value for each device."""
    sensors: tuple[BoardSensors, ...] = ()
    """How each device's readings follow its power."""
    multi_gpu: MultiGPUMetrics | None = None
    host_energy: HostEnergy | None = None
    """Energy of the node's processors; None where it wasn't to be read, as beside simulated boards."""
    sampler: SamplerInfo | None = None

    environment_snapshot: EnvironmentSnapshot
    measurement_warnings: tuple[MeasurementWarning, ...] = ()
    verdict: Verdict | None = None
    """Whether it is publishable; ``llem-sweep verify`` finds it anew from the samples instead of trusting this."""
    neighbours: tuple[str, ...] = ()
    """Ids of the experiments that were under way on the same node at any time during this one, loading and warm-up
    included, and ``fetch of`` each model that was brought onto the node meanwhile."""
    warmup_excluded_samples: int | None = None
    """Requests run before the window: those of the warm-up, and of the run where the window is its later part."""
    reproducibility_notes: str = ""
    """Seed, weights, and what the numbers leave out, in words."""
    timeseries: str | None = None
    """File name of the sidecar, beside ``result.json``."""
    timeseries_sha256: str | None = None
    """Of the sidecar's bytes."""
    further_files: tuple[FurtherFile, ...] | None = None
    """What else was stored beside ``result.json``: ``requests.parquet``, where the backend stamps its steps, and
    ``outputs.parquet`` with ``save_outputs``."""
    start_time: AwareDatetime
    """Of the window, by the node's wall clock."""
    end_time: AwareDatetime
    """``total_inference_time_sec`` after ``start_time``."""
    effective_config: EffectiveConfig
    process_results: tuple[ProcessResult, ...] = ()
    aggregation: AggregationMetadata | None = None
    thermal_throttle: ThermalThrottleInfo | None = None
    warmup_result: WarmupResult | None = None
    latency_stats: LatencyStatistics | None = None
    phases: PhaseBreakdown | None = None
    """Prefill and decode; None where the backend stamps no steps."""
    extended_metrics: ExtendedEfficiencyMetrics | None = None

    def __reduce__(self) -> tuple[object, ...]:
        # As JSON, which is exact (results hold nothing that isn't): as objects, its parts take three times as long
        # to pack, and twice as long to unpack.
        try:
            return ExperimentResult.model_validate_json, (self.model_dump_json(),)
        except PydanticSerializationError:
            # Storing it will fail and say why; being sent isn't the place.
            return _restored, (self.__getstate__(),)


def _restored(state: dict[Any, Any]) -> ExperimentResult:
    result = ExperimentResult.__new__(ExperimentResult)
    result.__setstate__(state)
    return result
