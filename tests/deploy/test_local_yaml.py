"""The launcher file for machines that are there already."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from jsonschema import ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config

from deploy_files import ROOT

SOURCED = "source ~/llem-sweep/deploy/ray.env"


@pytest.fixture(scope="module")
def written() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "local.yaml").read_text())
    return loaded


@pytest.fixture(scope="module")
def prepared(written: dict[str, Any]) -> dict[str, Any]:
    prepared: dict[str, Any] = prepare_config(copy.deepcopy(written))
    return prepared


def test_ray_accepts_the_file_and_would_notice_an_unknown_key(prepared: dict[str, Any]) -> None:
    validate_config(prepared)
    with pytest.raises(ValidationError):
        validate_config(prepared | {"max_wrokers": 3})


def test_every_machine_named_is_a_worker_for_good(prepared: dict[str, Any]) -> None:
    machines = prepared["provider"]["worker_ips"]
    (kind,) = prepared["available_node_types"].values()
    assert kind["min_workers"] == kind["max_workers"] == prepared["max_workers"] == len(machines)


def test_every_start_of_ray_has_the_shared_environment(prepared: dict[str, Any]) -> None:
    starts = [
        command
        for command in prepared["head_start_ray_commands"] + prepared["worker_start_ray_commands"]
        if "ray start" in command
    ]
    assert len(starts) == 2
    assert all(command.index(SOURCED) < command.index("ray start") for command in starts)


def test_every_machine_has_the_token_for_its_user_alone(prepared: dict[str, Any]) -> None:
    assert "~/.ray/auth_token" in prepared["file_mounts"]
    for commands in (prepared["head_setup_commands"], prepared["worker_setup_commands"]):
        assert "chmod 600 ~/.ray/auth_token" in commands


def test_the_dashboard_stays_on_localhost(prepared: dict[str, Any]) -> None:
    (start,) = [command for command in prepared["head_start_ray_commands"] if "ray start" in command]
    assert "--dashboard-host=127.0.0.1" in start
    assert not any("--dashboard-host" in command for command in prepared["worker_start_ray_commands"])


def test_every_machine_installs_the_package_from_the_pins_that_are_copied(prepared: dict[str, Any]) -> None:
    (copied,) = [remote for remote, local in prepared["file_mounts"].items() if local == "."]
    install = f"{copied}/.venv/bin/pip install -c {copied}/constraints.txt {copied}"
    assert install in prepared["head_setup_commands"]
    assert install in prepared["worker_setup_commands"]
