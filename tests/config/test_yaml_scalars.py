from __future__ import annotations

import math

import pytest

from llem_sweep.config.yaml_scalars import Scalar, resolve_plain


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5e-2", 0.05),
        ("1e-3", 0.001),
        ("1.", 1.0),
        (".5", 0.5),
        ("-2.5E+3", -2500.0),
        ("12", 12),
        ("-3", -3),
        ("08", 8),
        ("0o17", 15),
        ("0x1F", 31),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "2024-01-01"),
        ("e5", "e5"),
        (".", "."),
        (".inf", math.inf),
        ("-.INF", -math.inf),
    ],
)
def test_plain_words_mean_what_yaml_1_2_says(text: str, value: Scalar) -> None:
    resolved = resolve_plain(text)
    assert resolved == value
    assert type(resolved) is type(value)


def test_not_a_number_is_a_float() -> None:
    resolved = resolve_plain(".nan")
    assert isinstance(resolved, float)
    assert math.isnan(resolved)
