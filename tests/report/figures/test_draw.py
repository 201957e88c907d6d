"""SVG and PDF: sizes, sameness, and that nothing from outside is fetched or computed."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from drawn import H100, Picture, grid, names, picture_of, row
from llem_sweep.errors import EnvironmentUnfitError
from llem_sweep.printable import printable
from llem_sweep.report.figures import draw as drawing
from llem_sweep.report.figures.bars import devices, energy_per_token, phases
from llem_sweep.report.figures.draw import draw, refuse_computed
from llem_sweep.report.figures.heatmap import heatmap
from llem_sweep.report.figures.pareto import pareto
from llem_sweep.report.figures.specs import of_sweep
from llem_sweep.report.figures.style import DOUBLE_PT, SINGLE_PT, Drawing
from llem_sweep.report.points import points
from llem_sweep.report.summary import BoardEnergy

HOSTILE = (
    "<script>alert(1)</script>",
    "]]>&amp;'\"",
    "datum['x'] + signal",
    "a\\n\\u0041${x}",
    "#{datum.x}",
    "x\x1b[31m\u202e\ud800\n",
)
BOARD = BoardEnergy("node", "GPU-12345678", H100, 1e4, 3, 0, "board", False)


def all_of(rows: list[dict[str, Any]], boards: tuple[BoardEnergy, ...] = (BOARD,)) -> list[Drawing]:
    found = points(rows)
    figures = of_sweep(found, boards, names(found))
    assert all(isinstance(each, Drawing) for each in figures)
    return [each for each in figures if isinstance(each, Drawing)]


def test_figures_are_as_wide_as_columns_of_a_paper_in_points() -> None:
    for figure in all_of(grid(models=("org/m", "org/another-model-of-a-long-name"))):
        files = draw(figure)
        found = re.match(rb'<svg [^>]*width="([\d.]+)pt"', files[f"{figure.name}.svg"])
        assert found
        assert float(found.group(1)) == pytest.approx(figure.width_pt, abs=1.0)
        assert figure.width_pt in (SINGLE_PT, DOUBLE_PT)
        pdf = files[f"{figure.name}.pdf"]
        assert pdf.startswith(b"%PDF")
        assert len(re.findall(rb"/Type /Page\b", pdf)) == 1
        box = re.search(rb"/MediaBox \[0 0 ([\d.]+) ", pdf)
        assert box
        assert float(box.group(1)) == pytest.approx(figure.width_pt, abs=1.0)
        assert b"+LiberationSans" in pdf, "the font is embedded"


def test_text_is_nine_points_or_eight() -> None:
    for figure in all_of(grid()):
        sizes = set(re.findall(rb'font-size="([^"]+)"', draw(figure, ("svg",))[f"{figure.name}.svg"]))
        assert sizes <= {b"9px", b"8px"}, "of the figure's own units, which are points"


def test_the_same_sweep_gives_the_same_bytes() -> None:
    rows = grid(models=("org/m", "org/n"), cycles=3)
    once = [draw(each, ("svg",)) for each in all_of(rows)]
    assert once == [draw(each, ("svg",)) for each in all_of(rows)]


@pytest.mark.parametrize("make", [pareto, energy_per_token, phases, heatmap])
@pytest.mark.parametrize("hostile", HOSTILE)
def test_names_are_text(make: Any, hostile: str) -> None:
    rows = grid(models=(hostile, "org/m"), precisions=("bf16", hostile), device_names=[hostile])
    picture = picture_of(make, rows, {hostile: hostile, "org/m": "m"})
    assert "script" not in picture.tags
    assert any(each.startswith(printable(hostile)[:8]) for each in picture.texts)
    assert printable(hostile) in picture.texts, "as the heading, whole"


@pytest.mark.parametrize("hostile", HOSTILE)
def test_names_of_fields_are_text(hostile: str) -> None:
    column = f"config.{hostile.replace('.', '')}"
    rows = [row(measurement_config_hash=str(n), **{column: n}) for n in (1, 2)]
    texts = picture_of(pareto, rows).texts
    assert printable(hostile.replace(".", "")).replace("_", " ") in texts


@pytest.mark.parametrize("hostile", HOSTILE)
def test_names_of_boards_are_text(hostile: str) -> None:
    picture = Picture(devices([BOARD._replace(node=hostile, name=hostile)]))
    assert "script" not in picture.tags
    assert any(each.startswith(f"{printable(hostile)[:6]}") for each in picture.texts)


@pytest.mark.parametrize("key", ["url", "href", "expr", "signal", "calculate", "labelExpr", "params"])
def test_nothing_that_would_be_fetched_or_computed_is_drawn(key: str) -> None:
    spec = {"vconcat": [{"layer": [{"encoding": {"x": {key: "datum.x"}}}]}]}
    with pytest.raises(ValueError, match=key):
        draw(Drawing("figure", spec, SINGLE_PT))


def test_no_figure_asks_for_any_of_that() -> None:
    for figure in all_of(grid(models=HOSTILE, precisions=("bf16", "url"))):
        refuse_computed(figure.spec)


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """An address that answers with a table, and the paths that it was asked for."""
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"x\n1\n")

        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Silent."""

    with HTTPServer(("127.0.0.1", 0), Answer) as listening:
        Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}/data.csv", asked
        listening.shutdown()


def test_the_converter_itself_reaches_no_network(
    server: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, asked = server
    spec = {"data": {"url": address}, "mark": "point", "encoding": {"x": {"field": "x"}}}
    monkeypatch.setattr(drawing, "refuse_computed", lambda spec: None)
    with pytest.raises(ValueError, match="not allowed"):
        draw(Drawing("figure", spec, SINGLE_PT))
    assert asked == []


def test_without_the_converter_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(EnvironmentUnfitError, match=re.escape("pip install 'llem-sweep[figures]'")):
        draw(all_of(grid())[0])
