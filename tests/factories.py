"""Whole objects for tests, every optional part set, so that a part lost on the way shows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.sweep import ExecutionConfig, SweepConfig
from llem_sweep.plan.expand import plan_sweep
from llem_sweep.plan.types import PlannedExperiment, SweepPlan
from llem_sweep.results.environment import (
    BoardInfo,
    ContainerInfo,
    CpuInfo,
    CudaInfo,
    EnvironmentSnapshot,
    HardwareInfo,
    ThermalInfo,
)
from llem_sweep.results.experiment import ExperimentResult
from llem_sweep.results.outcome import Failed, FailureKind, Stage
from llem_sweep.results.parts import (
    AggregationMetadata,
    DeviceEnergy,
    EffectiveConfig,
    EnergyBreakdown,
    ExtendedEfficiencyMetrics,
    FurtherFile,
    HostEnergy,
    IdlePower,
    LatencyStatistics,
    MethodEnergy,
    MultiGPUMetrics,
    PhaseBreakdown,
    PhaseMetrics,
    PrefillWindow,
    ProcessResult,
    SamplerInfo,
    SteadyStateWindow,
    ThermalThrottleInfo,
    WarmupResult,
)
from llem_sweep.results.sensors import BoardSensors, SensorTiming
from llem_sweep.results.verdict import Verdict
from llem_sweep.results.warnings import MeasurementWarning, WarningCode
from llem_sweep.results.work import (
    Compilation,
    DeviceMemoryUse,
    FlopsBreakdown,
    HardwareUtilisation,
    MemoryUse,
)

START = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)
END = START + timedelta(seconds=12.5)
UUIDS = ("GPU-11111111-2222-3333-4444-555555555555", "GPU-66666666-7777-8888-9999-aaaaaaaaaaaa")


def make_config(**fields: Any) -> ExperimentConfig:
    """A configuration of the synthetic backend with ``fields`` set."""
    return ExperimentConfig.model_validate(
        {"model": "meta-llama/Llama-3.1-8B", "backend": "synthetic", **fields}
    )


def planned_synthetic(**fields: Any) -> PlannedExperiment:
    """An experiment of the synthetic backend, of no sweep, with ``fields`` set; it warms up for a batch alone."""
    known: dict[str, Any] = {
        "model": "acme/made-up-7b",
        "backend": "synthetic",
        "n": 16,
        "baseline": {"duration_seconds": 10.0},
        "warmup": {"n_warmup": 1, "thermal_floor_seconds": 0.0},
    }
    return PlannedExperiment("0" * 16, "1" * 16, ExperimentConfig.model_validate(known | fields), 1, {})


def make_board(uuid: str = UUIDS[0], index: int = 0, **fields: Any) -> BoardInfo:
    """A board with every fact known."""
    known: dict[str, Any] = {
        "name": "NVIDIA H100 80GB HBM3",
        "pci_bus_id": f"00000000:0{index}:00.0",
        "memory_total_mb": 85520.8,
        "power_limit_w": 700.0,
        "driver_version": "580.65.06",
        "cuda_driver_version": "13.0",
        "persistence_mode": True,
    }
    return BoardInfo(uuid=uuid, index=index, **(known | fields))


def make_environment(boards: Sequence[BoardInfo] | None = None, **fields: Any) -> EnvironmentSnapshot:
    """An environment of two boards with every fact known."""
    known: dict[str, Any] = {
        "node": "node7",
        "devices": (make_board(), make_board(UUIDS[1], 1)) if boards is None else tuple(boards),
        "identity": "confirmed",
        "nvml_library": "/usr/lib/libnvidia-ml.so.1",
        "hardware": HardwareInfo(
            cuda=CudaInfo(available=True, version="13.0", driver_version="580.65.06"),
            thermal=ThermalInfo(start_c=41.0, max_c=63.0),
            cpu=CpuInfo(model="EPYC 9554", logical_cores=128, threads=16, platform="Linux-6.8"),
            container=ContainerInfo(detected=True, runtime="docker"),
        ),
        "python_version": "3.11.9",
        "installed_packages": {"torch": "2.13.0", "transformers": "5.23.0"},
        "tool_version": "0.1.0",
        "cuda_version": "13.0",
    }
    return EnvironmentSnapshot(**(known | fields))


def make_result(**fields: Any) -> ExperimentResult:
    """A result with every optional part set; ``fields`` replace top-level ones."""
    config = fields.pop("config", None) or make_config(n=8, synthetic={"run_seconds": 12.5})
    known: dict[str, Any] = {
        "experiment_id": "0123456789abcdef",
        "measurement_config_hash": "fedcba9876543210",
        "cycle": 2,
        "backend": config.backend,
        "backend_version": "synthetic 1",
        "model": config.model,
        "simulated": False,
        "measured_on": "board",
        "steady_state_window": SteadyStateWindow(start_s=1.0, end_s=11.0, run_s=12.5),
        "iterations": 1,
        "input_tokens": 4096,
        "output_tokens": 1000,
        "total_tokens": 5096,
        "requests": 8,
        "total_energy_j": 5000.0,
        "total_inference_time_sec": 12.5,
        "avg_tokens_per_second": 80.0,
        "avg_energy_per_token_j": 5.0,
        "total_flops": 1e15,
        "flops_per_output_token": 1e12,
        "flops_per_input_token": 2e11,
        "flops_per_second": 8e13,
        "flops_breakdown": FlopsBreakdown(
            method="architecture/1",
            prefill_flops=8e14,
            decode_flops=2e14,
            computed_prefill_flops=9e14,
            computed_decode_flops=3e14,
            parameters=1_000_000_000,
            active_parameters=1_000_000_000,
            reason="none",
        ),
        "baseline_power_w": 140.0,
        "energy_adjusted_j": 3250.0,
        "energy_per_device_j": (3000.0, 2000.0),
        "environment_snapshot": make_environment(),
        "measurement_warnings": (MeasurementWarning.of(WarningCode.POWER_THROTTLE, "in 3 % of the samples"),),
        "verdict": Verdict(publishable=False, because=("made up",)),
        "neighbours": ("89abcdef01234567",),
        "timeseries_sha256": "0" * 64,
        "further_files": (FurtherFile(name="outputs.parquet", sha256="1" * 64),),
        "warmup_excluded_samples": 5,
        "reproducibility_notes": "none",
        "start_time": START,
        "end_time": END,
        "effective_config": EffectiveConfig(
            config=config.model_dump(mode="json"), backend={"dtype": "bfloat16", "threads": 16}
        ),
    }
    return ExperimentResult(**(known | _parts() | fields))


def _parts() -> dict[str, Any]:
    return {
        "energy_breakdown": EnergyBreakdown(
            raw_j=5000.0,
            adjusted_j=3250.0,
            baseline_power_w=140.0,
            baseline_method="cold/counter",
            baseline_timestamp=START - timedelta(seconds=90),
            baseline_cache_age_sec=60.0,
            energy_methods=("counter", "counter"),
            raw_uncertainty_j=12.0,
            adjusted_uncertainty_j=20.0,
            baseline_uncertainty_w=1.3,
            baseline_kind="cold",
            idle=(
                IdlePower(
                    kind="cold",
                    when="before",
                    power_w=140.0,
                    uncertainty_w=1.3,
                    power_per_device_w=(80.0, 60.0),
                    method="counter",
                    timestamp=START - timedelta(seconds=90),
                    duration_s=30.0,
                    age_s=60.0,
                ),
            ),
            gain_error_pct=(-6.0, 11.0),
        ),
        "energy_uncertainty_j": 12.0,
        "energy_adjusted_uncertainty_j": 20.0,
        "avg_energy_per_token_uncertainty_j": 0.012,
        "energy_per_device_uncertainty_j": (9.0, 8.0),
        "energy_coverage": 0.95,
        "energy_estimator": "1",
        "device_energies": tuple(
            DeviceEnergy(
                energy_j=energy_j,
                uncertainty_j=uncertainty_j,
                method="counter",
                methods=(MethodEnergy(method="counter", energy_j=energy_j, uncertainty_j=uncertainty_j),),
                reason="none",
            )
            for energy_j, uncertainty_j in ((3000.0, 9.0), (2000.0, 8.0))
        ),
        "sensors": (
            BoardSensors(
                counter=SensorTiming(update_period_s=0.1),
                power=SensorTiming(update_period_s=0.1, window_s=1.0),
                instant=SensorTiming(update_period_s=0.1, window_s=0.025),
                source="prior",
                generation="hopper",
                measured=("counter.update_period_s",),
                measured_at=START,
            ),
        )
        * 2,
        "multi_gpu": MultiGPUMetrics(
            num_gpus=2,
            energy_per_gpu_j=(3000.0, 2000.0),
            energy_total_j=5000.0,
            energy_per_output_token_j=5.0,
        ),
        "host_energy": HostEnergy(
            package_j=1500.0,
            package_uncertainty_j=4.0,
            dram_j=120.0,
            dram_uncertainty_j=0.5,
            domains=("package-0", "package-0/dram"),
            reason="none",
        ),
        "sampler": SamplerInfo(period_s=0.1, samples=125, longest_gap_s=0.12, cpu_time_s=0.02),
        "process_results": (
            ProcessResult(
                process=0,
                requests=8,
                input_tokens=4096,
                output_tokens=1000,
                batch_count=1,
                iterations=1,
                total_inference_time_sec=12.5,
                avg_tokens_per_second=80.0,
                total_energy_j=5000.0,
                energy_uncertainty_j=12.0,
                baseline_power_w=140.0,
                energy_adjusted_j=3250.0,
                energy_adjusted_uncertainty_j=20.0,
                energy_per_device_j=(3000.0, 2000.0),
                device_uuids=UUIDS,
                identity="confirmed",
                host_energy=None,
                warmup_result=None,
                window_start_s=1000.0,
                window_end_s=1012.5,
                start_time=START,
                end_time=END,
            ),
        ),
        "aggregation": AggregationMetadata(
            method="single",
            num_processes=1,
            temporal_overlap_verified=True,
            gpu_attribution_verified=True,
            warnings=("one process",),
            overlap=1.0,
        ),
        "thermal_throttle": ThermalThrottleInfo(
            thermal=False,
            power=True,
            throttled_fraction=0.03,
            reasons_mask=4,
            power_throttle_s=0.4,
            thermal_throttle_s=0.1,
        ),
        "warmup_result": WarmupResult(
            converged=True,
            final_cv=0.02,
            iterations_completed=5,
            target_cv=0.05,
            max_prompts=20,
            latencies_ms=(101.0, 100.0, 99.5, 100.5, 100.0),
            thermal_floor_wait_s=30.0,
            settled=True,
            temperature_slope_c_per_s=0.01,
            power_slope_pct_per_s=-0.02,
        ),
        "latency_stats": LatencyStatistics(
            ttft_mean_ms=50.0,
            ttft_median_ms=49.0,
            ttft_p95_ms=60.0,
            ttft_p99_ms=70.0,
            itl_mean_ms=12.0,
            itl_median_ms=11.0,
            itl_p95_ms=15.0,
            itl_p99_ms=20.0,
            tpot_mean_ms=12.1,
            tpot_median_ms=11.1,
            tpot_p95_ms=15.1,
            tpot_p99_ms=20.1,
            e2e_latency_mean_ms=1500.0,
            e2e_latency_median_ms=1490.0,
            e2e_latency_p95_ms=1700.0,
            e2e_latency_p99_ms=1800.0,
            ttft_samples=8,
            itl_samples=992,
            tpot_samples=8,
            e2e_latency_samples=8,
            stamp_error_ms=0.01,
        ),
        "phases": PhaseBreakdown(
            prefill=PhaseMetrics(
                time_s=1.5,
                tokens=4096,
                tokens_per_second=2730.7,
                energy_j=900.0,
                energy_uncertainty_j=8.0,
                energy_per_token_j=0.22,
            ),
            decode=PhaseMetrics(
                time_s=11.0,
                tokens=992,
                tokens_per_second=90.2,
                energy_j=4100.0,
                energy_uncertainty_j=9.0,
                energy_per_token_j=4.13,
            ),
            closure_j=0.7,
            closure_uncertainty_j=1.1,
            reason="none",
            prefill_window=PrefillWindow(
                repetitions=7,
                time_s=10.6,
                gap_s=0.1,
                energy_j=6300.0,
                energy_uncertainty_j=2.0,
                energy_per_device_j=(3200.0, 3100.0),
                energy_per_device_uncertainty_j=(1.4, 1.4),
                time_per_run_s=1.5,
                energy_per_run_j=896.0,
                energy_per_run_uncertainty_j=4.5,
                prefill=PhaseMetrics(
                    time_s=1.5,
                    tokens=4096,
                    tokens_per_second=2730.7,
                    energy_j=896.0,
                    energy_uncertainty_j=4.5,
                    energy_per_token_j=0.22,
                ),
                difference_j=-4.0,
                difference_uncertainty_j=9.2,
                agrees=True,
                temperature_change_c=2.0,
                power_throttle=False,
                thermal_throttle=False,
                foreign_pids=(4711,),
                reason="none",
            ),
        ),
        "extended_metrics": ExtendedEfficiencyMetrics(
            memory_used_max_mb=40000.0,
            sm_utilisation_mean_pct=88.0,
            batch_count=1,
            effective_batch_size=8.0,
            padding_ratio=0.1,
            energy_per_request_j=625.0,
            energy_per_input_token_j=1.2,
            energy_per_total_token_j=0.98,
            hardware=HardwareUtilisation(
                model_flops_utilisation=0.04,
                memory_bandwidth_utilisation=0.6,
                product_type="bf16",
                bytes_read=5e13,
                peak_flops_per_s=1.979e15,
                peak_bytes_per_s=6.7e12,
                peaks_source="made up",
                reason="none",
            ),
            memory=MemoryUse(
                model_memory_mb=16000.0,
                peak_memory_mb=20000.0,
                inference_memory_mb=4000.0,
                kv_cache_mb=3000.0,
                devices=(
                    DeviceMemoryUse(device="cuda:0", model_mb=8000.0, peak_mb=10000.0),
                    DeviceMemoryUse(device="cuda:1", model_mb=8000.0, peak_mb=10000.0),
                ),
                reason="none",
            ),
            compilation=Compilation(graphs=2, seconds=40.0),
        ),
    }


def make_plan(n: int = 3, name: str = "grid", n_cycles: int = 1, **sections: Any) -> SweepPlan:
    """A plan of ``n`` points that differ in ``synthetic.run_seconds``, or of what ``sections`` of a sweep say."""
    given: dict[str, Any] = {
        "shared": {"model": "meta-llama/Llama-3.1-8B", "backend": "synthetic"},
        "sweep": {"synthetic.run_seconds": [float(each) for each in range(n)]},
        # In the order of the file, so that a test can say which point is which.
        "execution": ExecutionConfig(n_cycles=n_cycles, cycle_order="sequential"),
    }
    return plan_sweep(SweepConfig(name=name, **(given | sections)))


def make_failed(**fields: Any) -> Failed:
    """A failure with every part set."""
    return Failed(Stage.RUN, FailureKind.ERROR, "it broke", "Traceback …", "the end")._replace(**fields)


def make_result_of(planned: PlannedExperiment, **fields: Any) -> ExperimentResult:
    """The result of ``planned``, which goes with any sidecar: it holds no digest of one."""
    fields = {"timeseries_sha256": None, "further_files": None, **fields}
    return make_result(
        config=planned.config,
        experiment_id=planned.experiment_id,
        measurement_config_hash=planned.config_hash,
        cycle=planned.cycle,
        **fields,
    )
