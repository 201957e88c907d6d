"""The launcher file, held against Ray's own checker and against what the sweep needs of a cluster."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from jsonschema import ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config

from deploy_files import ROOT, pins, ray_environment


@pytest.fixture(scope="module")
def written() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    return loaded


@pytest.fixture(scope="module")
def prepared(written: dict[str, Any]) -> dict[str, Any]:
    prepared: dict[str, Any] = prepare_config(copy.deepcopy(written))
    return prepared


def test_ray_accepts_the_file(prepared: dict[str, Any]) -> None:
    validate_config(prepared)


def test_ray_s_checker_would_notice_an_unknown_key(prepared: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        validate_config(prepared | {"max_wrokers": 3})


def test_the_head_has_no_gpu_and_the_workers_start_from_zero(prepared: dict[str, Any]) -> None:
    head = prepared["available_node_types"][prepared["head_node_type"]]
    assert head["resources"].get("GPU", 0) == 0
    workers = {
        name: kind
        for name, kind in prepared["available_node_types"].items()
        if name != prepared["head_node_type"]
    }
    assert all(kind["min_workers"] == 0 for kind in workers.values())
    assert all(kind["resources"]["GPU"] > 0 for kind in workers.values())
    assert sum(kind["max_workers"] for kind in workers.values()) == prepared["max_workers"] > 0


def test_every_node_installs_the_package_from_the_pins_that_are_mounted(prepared: dict[str, Any]) -> None:
    mounted = next(remote for remote, local in prepared["file_mounts"].items() if local == ".")
    install = f"pip install -c {mounted}/constraints.txt {mounted}"
    assert install in prepared["head_setup_commands"]
    assert install in prepared["worker_setup_commands"]


def test_the_images_hold_the_ray_that_is_pinned(written: dict[str, Any]) -> None:
    for image in (written["docker"]["head_image"], written["docker"]["worker_image"]):
        assert image.startswith(f"rayproject/ray:{pins()['ray']}-py311-")


def test_stopped_nodes_are_not_kept_and_the_dashboard_stays_on_localhost(prepared: dict[str, Any]) -> None:
    assert prepared["provider"]["cache_stopped_nodes"] is False
    (start,) = [command for command in prepared["head_start_ray_commands"] if "ray start" in command]
    assert "--dashboard-host=127.0.0.1" in start
    assert not any("--dashboard-host" in command for command in prepared["worker_start_ray_commands"])


def test_every_node_has_the_same_authentication_and_health_checks(written: dict[str, Any]) -> None:
    options = [
        option.removeprefix("--env=") for option in written["docker"]["run_options"] if "--env=" in option
    ]
    assert dict(option.split("=") for option in options) == ray_environment()
    assert not {"head_run_options", "worker_run_options"} & set(written["docker"])


def test_the_folder_of_results_stays_behind_and_the_package_of_that_name_does_not(
    written: dict[str, Any],
) -> None:
    assert (ROOT / "src/llem_sweep/results").is_dir()
    assert "/results" in written["rsync_exclude"]
    assert "results" not in written["rsync_exclude"]
