"""Figures as published: as many digits as their uncertainty has."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal
from typing import NamedTuple

from llem_sweep.report.points import Figure

_DIGITS = 2
"""Of an uncertainty: more say nothing (GUM, JCGM 100:2008, 7.2.6)."""
_UNBOUNDED_DIGITS = 3
_NOISE = 1e-12
"""A bound smaller than this part of its value comes from the arithmetic."""
_CONTEXT = Context(prec=60, rounding=ROUND_HALF_UP)


class Rounded(NamedTuple):
    """A figure's digits, without exponents."""

    value: str
    half_width: str | None
    """None where nothing bounds the value."""

    def joined(self, sign: str = " ± ") -> str:
        """Both, for example ``0.180 ± 0.013``."""
        return self.value if self.half_width is None else f"{self.value}{sign}{self.half_width}"


def rounded(figure: Figure) -> Rounded:
    """``figure`` with its half-width to two digits, and its value to the same place.

    Without a half-width the value has three digits; with one of nothing, six.
    """
    value, half = figure
    if half is None:
        return Rounded(_significant(value, _UNBOUNDED_DIGITS), None)
    if half <= abs(value) * _NOISE:
        return Rounded(_significant(value, 6), "0")
    exact = Decimal(repr(half))
    place = Decimal(1).scaleb(exact.adjusted() - _DIGITS + 1)
    bound = exact.quantize(place, context=_CONTEXT)
    if bound.adjusted() > exact.adjusted():
        place = place.scaleb(1)
        bound = exact.quantize(place, context=_CONTEXT)
    return Rounded(_plain(Decimal(repr(value)).quantize(place, context=_CONTEXT)), _plain(bound))


def significant(value: float, digits: int = 3) -> str:
    """A number for people, with ``digits`` digits that count, and never fewer before the point than it has."""
    nearest = float(f"{value:.{digits}g}")
    return f"{value:,.0f}" if abs(nearest) >= 10**digits else f"{value:#.{digits}g}".rstrip(".")


def _significant(value: float, digits: int) -> str:
    exact = Decimal(repr(value))
    if not exact:
        return "0"
    place = Decimal(1).scaleb(exact.adjusted() - digits + 1)
    # Digits before the point are kept: 1,234 W as 1230 would look like a measurement of four digits.
    return _plain(exact.quantize(min(place, Decimal(1)), context=_CONTEXT))


def _plain(number: Decimal) -> str:
    text = format(number, "f")
    return text.removeprefix("-") if not number else text
