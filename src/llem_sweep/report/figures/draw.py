"""Specifications drawn as SVG and PDF by vl-convert, which needs neither a browser nor a network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from llem_sweep.errors import EnvironmentUnfitError
from llem_sweep.report.figures.style import Drawing, Spec, config

FORMATS = ("svg", "pdf")
_COMPUTED = {
    "url",
    "href",
    "expr",
    "signal",
    "calculate",
    "filter",
    "labelExpr",
    "test",
    "condition",
    "params",
}
"""Keys of Vega-Lite whose text is fetched or computed; no figure needs them."""
_FIRST_GUESS_PT, _LEAST_PANEL_PT, _CLOSE_PT = 200.0, 40.0, 0.5
_GUESSES = 4
_SIZE = re.compile(r'^(<svg [^>]*?width=")([\d.]+)(" height=")([\d.]+)(")')


def draw(drawing: Drawing, formats: tuple[str, ...] = FORMATS) -> dict[str, bytes]:
    """``drawing`` in each of ``formats`` by the name of its file. The same drawing gives the same SVG.

    Raises EnvironmentUnfitError where vl-convert isn't installed.
    """
    refuse_computed(drawing.spec)
    spec = _fitted(drawing)
    return {f"{drawing.name}.{kind}": _svg(spec) if kind == "svg" else _pdf(spec) for kind in formats}


def refuse_computed(spec: Spec) -> None:
    """Raise ValueError where ``spec`` would have anything fetched or computed."""
    if found := sorted(set(_keys(spec)) & _COMPUTED):
        raise ValueError(f"a figure may hold no {', '.join(found)}")


def _keys(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for key, value in part.items():
            yield key
            yield from _keys(value)
    elif isinstance(part, list):
        for value in part:
            yield from _keys(value)


def _fitted(drawing: Drawing) -> Spec:
    """The specification with panels as wide as the figure's width leaves them beside axes and labels.

    What is beside them is found by drawing: more than once, since a legend wider than its panel hides it.
    """
    panel_pt = _FIRST_GUESS_PT
    for _ in range(_GUESSES):
        spec = drawing.spec | {"config": config(panel_pt)}
        missing_pt = drawing.width_pt - _width(_rendered(spec))
        if abs(missing_pt) < _CLOSE_PT:
            break
        panel_pt = max(_LEAST_PANEL_PT, panel_pt + missing_pt)
    return drawing.spec | {"config": config(panel_pt)}


def _width(svg: str) -> float:
    found = _SIZE.match(svg)
    assert found is not None, "vl-convert begins an SVG with its size"
    return float(found.group(2))


def _rendered(spec: Spec) -> str:
    text: str = _converter().vegalite_to_svg(spec, allowed_base_urls=[])
    return text


def _svg(spec: Spec) -> bytes:
    """With its size in points: without a unit, readers take a point for a pixel of 1/96 inch."""
    return _SIZE.sub(r"\1\2pt\3\4pt\5", _rendered(spec)).encode()


def _pdf(spec: Spec) -> bytes:
    data: bytes = _converter().vegalite_to_pdf(spec, allowed_base_urls=[])
    return data


def _converter() -> Any:
    try:
        import vl_convert
    except ImportError as exc:
        raise EnvironmentUnfitError(
            "figures are drawn by vl-convert, which isn't installed: pip install 'llem-sweep[figures]'"
        ) from exc
    return vl_convert
