"""Rows as ``load_results`` gives them, for what is made of configurations."""

from __future__ import annotations

from typing import Any


def row(**fields: Any) -> dict[str, Any]:
    """A completed experiment with everything known; ``fields`` replace its columns."""
    return {
        "measurement_config_hash": "a",
        "model": "m",
        "backend": "pytorch",
        "config.pytorch.batch_size": 1,
        "config.precision": "bf16",
        "cycle": 1,
        "measured_on": "board",
        "simulated": False,
        "device_names": ["H100"],
        "avg_tokens_per_second": 100.0,
        "avg_energy_per_token_j": 2.0,
        "avg_energy_per_token_uncertainty_j": 0.03,
        "total_energy_j": 200.0,
        "energy_uncertainty_j": 3.0,
        "energy_adjusted_j": 150.0,
        "energy_adjusted_uncertainty_j": 12.0,
        "verdict.publishable": True,
        "measurement_methodology": "total",
        "energy_estimator": "2",
        "energy_breakdown.energy_methods": ["counter"],
        "energy_breakdown.baseline_kind": "cold",
        "energy_coverage": 0.95,
        "requests": 8,
        "input_tokens": 64,
        "output_tokens": 100,
    } | fields
