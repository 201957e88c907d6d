from __future__ import annotations

import pytest

from llem_sweep.plan.board_power import design_power_w


@pytest.mark.parametrize(
    ("board", "power_w"),
    [
        ("NVIDIA H100 80GB HBM3", 700),
        ("NVIDIA H100 PCIe", 350),
        ("NVIDIA H200", 700),
        ("NVIDIA H200 NVL", 600),
        ("NVIDIA A100-SXM4-80GB", 400),
        ("NVIDIA A100 80GB PCIe", 300),
        ("NVIDIA A10", 150),
        ("NVIDIA A10G", 300),
        ("NVIDIA L4", 72),
        ("NVIDIA L40S", 350),
        ("Tesla V100-SXM2-32GB", 300),
        ("Tesla T4", 70),
        ("NVIDIA GeForce RTX 4090", 450),
        ("NVIDIA A100X", None),
        ("NVIDIA GB200", None),
        ("Simulated GPU", None),
        ("", None),
        (None, None),
    ],
)
def test_known_boards_have_their_design_power_and_others_none(
    board: str | None, power_w: float | None
) -> None:
    assert design_power_w(board) == power_w
