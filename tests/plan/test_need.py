from __future__ import annotations

from typing import Any

import pytest

from llem_sweep.plan.need import Need, fits


@pytest.mark.parametrize(
    ("offered", "asked", "right"),
    [
        ({}, {}, True),
        ({"gpus": 2}, {}, False),
        ({}, {"gpus": 2}, False),
        ({"processes": 2}, {}, False),
        ({"processes": 2, "parallelism": "tensor"}, {"processes": 2}, False),
        ({"accelerators": ("A100", "NVIDIA A100")}, {}, True),
        ({"accelerators": ("A100", "NVIDIA A100")}, {"accelerators": ("A100", "H100")}, True),
        ({"accelerators": ("L4",)}, {"accelerators": ("A100", "H100")}, False),
        ({}, {"accelerators": ("A100",)}, False),
    ],
)
def test_a_worker_runs_its_own_width_and_kind_of_board(
    offered: dict[str, Any], asked: dict[str, Any], right: bool
) -> None:
    assert fits(Need(**({"gpus": 1} | offered)), Need(**({"gpus": 1} | asked))) is right
