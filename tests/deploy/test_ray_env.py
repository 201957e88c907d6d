"""What every node has to have in its environment."""

from __future__ import annotations

from deploy_files import ray_environment
from llem_sweep.execution.on_ray.cluster import HEALTH_CHECKS


def test_a_ray_started_by_hand_is_checked_like_one_that_a_sweep_starts() -> None:
    given = ray_environment()
    checks = {name: value for name, value in given.items() if "health_check" in name}
    assert checks == {f"RAY_{name}": str(value) for name, value in HEALTH_CHECKS.items()}
    assert given["RAY_AUTH_MODE"] == "token"
