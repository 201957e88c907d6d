"""Student's t, for intervals from a few repeats."""

from __future__ import annotations

_TABLE = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
"""Standard table, to its three decimals."""
_NORMAL = 1.959964


def student_t(degrees: int) -> float:
    """Two-sided 95 % point of Student's t with ``degrees`` of freedom, at least 1; within 0.0005.

    Beyond the table by the expansion in 1/n around the normal point (Abramowitz and Stegun 1964, 26.7.5).
    """
    if degrees in _TABLE:
        return _TABLE[degrees]
    z, n = _NORMAL, float(degrees)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / n + second / n**2 + third / n**3
