"""What boards are allowed to draw, as published."""

from __future__ import annotations

import re

DESIGN_POWER_W: dict[str, float] = {
    "B200": 1000.0,
    "H200 NVL": 600.0,
    "H200": 700.0,
    "H100 NVL": 400.0,
    "H100 PCIe": 350.0,
    "H100 80GB HBM3": 700.0,
    "A100-SXM4": 400.0,
    "A100-PCIE-40GB": 250.0,
    "A100 80GB PCIe": 300.0,
    "A40": 300.0,
    "A30": 165.0,
    "A10G": 300.0,
    "A10": 150.0,
    "L40S": 350.0,
    "L40": 300.0,
    "L4": 72.0,
    "V100-SXM2": 300.0,
    "V100-PCIE": 250.0,
    "Tesla T4": 70.0,
    "RTX 6000 Ada": 300.0,
    "RTX A6000": 300.0,
    "RTX 4090": 450.0,
    "RTX 3090": 350.0,
}
"""Thermal design power in watts, by words that NVML's name of the board contains; of several the longest count."""


def design_power_w(board: str | None) -> float | None:
    """Power in watts that a board with this name is made for; None when it isn't known."""
    matches = [name for name in DESIGN_POWER_W if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", board or "")]
    return DESIGN_POWER_W[max(matches, key=len)] if matches else None
