"""The names that users may rely on, and what it costs to import them."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import llem_sweep

NAMES = {
    "ExperimentConfig",
    "ExperimentResult",
    "SweepConfig",
    "SweepResult",
    "compare",
    "load_result",
    "load_results",
    "load_sweep",
    "plan_sweep",
    "run_experiment",
    "run_sweep",
    "save_result",
    "verify_results",
}
ERRORS = {
    "BackendError",
    "BoardLostError",
    "ClusterError",
    "ConfigError",
    "DamagedError",
    "DeviceError",
    "DeviceFaultError",
    "EnvironmentUnfitError",
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
    "WindowError",
}
HEAVY = {"torch", "transformers", "ray", "pyarrow", "pydantic", "pynvml", "rich", "yaml"}


def test_the_public_names_are_these() -> None:
    assert set(llem_sweep.__all__) == NAMES | ERRORS
    assert dir(llem_sweep) == sorted(NAMES | ERRORS)


@pytest.mark.parametrize("name", sorted(NAMES | ERRORS))
def test_every_public_name_is_there_under_its_own_name(name: str) -> None:
    assert getattr(llem_sweep, name).__name__ == name


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_every_public_error_can_be_caught_as_one(name: str) -> None:
    assert issubclass(getattr(llem_sweep, name), llem_sweep.LlemSweepError)


def test_no_error_is_left_private() -> None:
    from llem_sweep import errors

    raised = {
        name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Exception)
    }
    assert raised == ERRORS


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("load_sweep", ["path", "overrides"]),
        ("plan_sweep", ["sweep"]),
        (
            "run_sweep",
            [
                "sweep",
                "output",
                "resume",
                "extend",
                "accept_changes",
                "retry_failed",
                "simulate_gpus",
                "inline",
                "address",
                "allow_remote_code",
                "require_publishable",
                "view",
            ],
        ),
        ("run_experiment", ["config", "simulate_gpus"]),
        ("load_result", ["path"]),
        ("load_results", ["folder"]),
        ("verify_results", ["folder"]),
        ("compare", ["a", "b", "across"]),
        ("save_result", ["result", "output_dir", "timeseries_source"]),
    ],
)
def test_public_functions_keep_their_arguments(function: str, arguments: list[str]) -> None:
    assert list(inspect.signature(getattr(llem_sweep, function)).parameters) == arguments


def test_a_name_that_isnt_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'run_sweeps'"):
        llem_sweep.run_sweeps  # noqa: B018


def loaded_after(code: str) -> set[str]:
    """Those of ``HEAVY`` that a fresh interpreter has loaded after running ``code``."""
    command = [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return HEAVY & set(printed.splitlines()[-1].split())


def test_importing_the_package_loads_nothing() -> None:
    assert loaded_after("import llem_sweep; dir(llem_sweep)") == set()


def test_configuring_and_planning_load_neither_an_engine_nor_ray_nor_arrow() -> None:
    loaded = loaded_after(
        "from llem_sweep import SweepConfig, load_sweep, plan_sweep\n"
        "plan_sweep(SweepConfig(shared={'model': 'a/b'}, sweep={'n': [1, 2]}))"
    )
    assert loaded <= {"pydantic", "yaml"}


def test_reading_results_loads_neither_an_engine_nor_ray() -> None:
    loaded = loaded_after("from llem_sweep import ExperimentResult, load_result, load_results, save_result")
    assert not loaded & {"torch", "transformers", "ray", "pynvml"}


def test_running_loads_neither_an_engine_nor_ray_before_it_needs_them() -> None:
    assert not loaded_after("from llem_sweep import run_sweep, run_experiment") & {
        "torch",
        "transformers",
        "ray",
    }
