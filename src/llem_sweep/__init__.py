"""Distributed sweeps that measure what LLM inference costs in energy.

Public names are loaded on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llem_sweep.analysis import compare
    from llem_sweep.config.experiment import ExperimentConfig
    from llem_sweep.config.load import load_sweep
    from llem_sweep.config.sweep import SweepConfig
    from llem_sweep.errors import (
        BackendError,
        BoardLostError,
        ClusterError,
        ConfigError,
        DamagedError,
        DeviceError,
        DeviceFaultError,
        EnvironmentUnfitError,
        GangError,
        GpuMemoryError,
        HubUnreachableError,
        IdentityError,
        LlemSweepError,
        ModelLoadError,
        ModelRefusedError,
        NoGpuError,
        OutputError,
        ResumeError,
        StoreError,
        WindowError,
    )
    from llem_sweep.plan.expand import plan_sweep
    from llem_sweep.results.experiment import ExperimentResult
    from llem_sweep.store.read import load_result, load_results
    from llem_sweep.store.write import save_result
    from llem_sweep.sweep import SweepResult, run_experiment, run_sweep
    from llem_sweep.verify import verify_results

_HOME = {
    "ExperimentConfig": "llem_sweep.config.experiment",
    "SweepConfig": "llem_sweep.config.sweep",
    "ExperimentResult": "llem_sweep.results.experiment",
    "SweepResult": "llem_sweep.sweep",
    "compare": "llem_sweep.analysis",
    "load_sweep": "llem_sweep.config.load",
    "plan_sweep": "llem_sweep.plan.expand",
    "run_sweep": "llem_sweep.sweep",
    "run_experiment": "llem_sweep.sweep",
    "load_result": "llem_sweep.store.read",
    "load_results": "llem_sweep.store.read",
    "save_result": "llem_sweep.store.write",
    "verify_results": "llem_sweep.verify",
    "BackendError": "llem_sweep.errors",
    "BoardLostError": "llem_sweep.errors",
    "ClusterError": "llem_sweep.errors",
    "ConfigError": "llem_sweep.errors",
    "DamagedError": "llem_sweep.errors",
    "DeviceError": "llem_sweep.errors",
    "DeviceFaultError": "llem_sweep.errors",
    "EnvironmentUnfitError": "llem_sweep.errors",
    "GangError": "llem_sweep.errors",
    "GpuMemoryError": "llem_sweep.errors",
    "HubUnreachableError": "llem_sweep.errors",
    "IdentityError": "llem_sweep.errors",
    "LlemSweepError": "llem_sweep.errors",
    "ModelLoadError": "llem_sweep.errors",
    "ModelRefusedError": "llem_sweep.errors",
    "NoGpuError": "llem_sweep.errors",
    "OutputError": "llem_sweep.errors",
    "ResumeError": "llem_sweep.errors",
    "StoreError": "llem_sweep.errors",
    "WindowError": "llem_sweep.errors",
}

__all__ = [
    "BackendError",
    "BoardLostError",
    "ClusterError",
    "ConfigError",
    "DamagedError",
    "DeviceError",
    "DeviceFaultError",
    "EnvironmentUnfitError",
    "ExperimentConfig",
    "ExperimentResult",
    "GangError",
    "GpuMemoryError",
    "HubUnreachableError",
    "IdentityError",
    "LlemSweepError",
    "ModelLoadError",
    "ModelRefusedError",
    "NoGpuError",
    "OutputError",
    "ResumeError",
    "StoreError",
    "SweepConfig",
    "SweepResult",
    "WindowError",
    "compare",
    "load_result",
    "load_results",
    "load_sweep",
    "plan_sweep",
    "run_experiment",
    "run_sweep",
    "save_result",
    "verify_results",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
