"""Student's t against published values."""

from __future__ import annotations

import pytest

from llem_sweep.results.student import student_t


@pytest.mark.parametrize(
    ("degrees", "expected"),
    [
        (1, 12.7062),
        (2, 4.3027),
        (9, 2.2622),
        (10, 2.2281),
        (12, 2.1788),
        (20, 2.0860),
        (30, 2.0423),
        (120, 1.9799),
    ],
)
def test_the_published_points(degrees: int, expected: float) -> None:
    assert student_t(degrees) == pytest.approx(expected, abs=6e-4)


def test_it_falls_with_every_degree() -> None:
    values = [student_t(degrees) for degrees in range(1, 200)]
    assert values == sorted(values, reverse=True)
