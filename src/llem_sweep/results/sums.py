"""Sums of what may be unknown, and the bounds of sums: over boards and over processes alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


def total(values: Sequence[float | None]) -> float | None:
    """Exact sum; None when there is nothing to sum or any part is unknown."""
    known = [value for value in values if value is not None]
    return math.fsum(known) if known and len(known) == len(values) else None


def in_quadrature(values: Sequence[float | None]) -> float | None:
    """Uncertainty of a sum of independent parts; None like :func:`total`."""
    known = [value for value in values if value is not None]
    return math.hypot(*known) if known and len(known) == len(values) else None


def per(quantity: float | None, units: int) -> float | None:
    """``quantity`` per unit; None when it is unknown or there are no units."""
    return quantity / units if quantity is not None and units else None


class Idle(NamedTuple):
    """Idle power, or the energy of it, with its half-width."""

    value: float
    half_width: float | None


def mean_idle(values: Sequence[float], half_widths: Sequence[float | None]) -> Idle:
    """Mean of idle power taken before and after the window, of one at least.

    Its half-width is their own, averaged, and half of their difference, in quadrature, since idle power may have
    drifted from one to the other.
    """
    own = in_quadrature(half_widths)
    drift = (max(values) - min(values)) / 2
    half_width = math.hypot(own / len(values), drift) if own is not None else None
    return Idle(math.fsum(values) / len(values), half_width)
