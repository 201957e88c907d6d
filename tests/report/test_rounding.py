"""Figures have as many digits as their uncertainty."""

from __future__ import annotations

import pytest

from llem_sweep.report.points import Figure
from llem_sweep.report.rounding import rounded


@pytest.mark.parametrize(
    ("value", "half_width", "text"),
    [
        (0.18035, 0.00132, "0.1804 ± 0.0013"),
        (2041.04, 21.3, "2041 ± 21"),
        (2041.6, 6.04, "2041.6 ± 6.0"),
        (12345.6, 432.1, "12350 ± 430"),
        (1.0, 0.0996, "1.00 ± 0.10"),
        (9.9949, 0.0995, "9.99 ± 0.10"),
        (0.25, 0.125, "0.25 ± 0.13"),
        (-0.0001, 0.0123, "0.000 ± 0.012"),
        (-3.14159, 0.011, "-3.142 ± 0.011"),
        (5.0e-8, 1.2e-9, "0.0000000500 ± 0.0000000012"),
        (1e15, 2.5e13, "1000000000000000 ± 25000000000000"),
        (100.0, 0.0, "100.000 ± 0"),
        (100.0, 1e-14, "100.000 ± 0"),
        (0.123456, None, "0.123"),
        (1234.56, None, "1235"),
        (0.0, None, "0"),
        (0.0, 0.5, "0.00 ± 0.50"),
    ],
)
def test_a_value_ends_where_the_two_digits_of_its_uncertainty_do(
    value: float, half_width: float | None, text: str
) -> None:
    assert rounded(Figure(value, half_width)).joined() == text
