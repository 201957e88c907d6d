"""Bytes of one number, by ``precision``."""

from __future__ import annotations

from llem_sweep.config.experiment import Precision

VALUE_BYTES: dict[Precision, int] = {"fp32": 4, "fp16": 2, "bf16": 2, "fp8": 2}
"""Of what is computed and cached: with weights in fp8 that is bf16."""
WEIGHT_BYTES: dict[Precision, int] = VALUE_BYTES | {"fp8": 1}
