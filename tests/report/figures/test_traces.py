"""Power and temperature over time."""

from __future__ import annotations

from drawn import H100, Picture
from llem_sweep.report.figures.style import LeftOut
from llem_sweep.report.figures.traces import POINTS, trace
from llem_sweep.report.page.timelines import Band, BoardLines, Line, Timeline, timeline
from llem_sweep.report.points import Kind
from report_pages import make_sidecar

KIND = Kind("board", False, (H100,))
POWER = Line((-2.0, -1.0, -1.0, 0.0, 1.0, 2.0), (70.0, 71.0, None, 300.0, 310.0, 305.0))
WARMTH = Line((-2.0, 2.0), (40.0, 55.0))


def test_lines_phases_and_window_are_drawn() -> None:
    figure = trace("folder", "n=1, cycle 1", KIND, timeline(make_sidecar(boards=2), POINTS))
    picture = Picture(figure)
    assert len(picture.marks("line")) == 4, "power and temperature of two boards"
    phases = {each["phase"] for each in picture.values("rect") if "phase" in each}
    assert phases == {"baseline", "prefill", "decode"}
    assert {"Power (W)", "Temperature (°C)", "GPU 0", "GPU 1", "n=1, cycle 1", H100} <= set(picture.texts)
    windows = [each for each in picture.values("rect") if "phase" not in each]
    assert {(float(each["start"]) < 0.1, float(each["end"])) for each in windows} == {(True, 10.0)}


def test_nothing_is_drawn_over_what_wasnt_sampled() -> None:
    lines = Timeline((BoardLines(0, "u", POWER, WARMTH),), (Band("decode", 0.0, 2.0),), (0.0, 2.0), "power_w")
    picture = Picture(trace("folder", "x", KIND, lines))
    assert len(picture.marks("line")) == 3, "power in two pieces, and temperature"


def test_a_simulated_board_is_called_that() -> None:
    lines = Timeline((BoardLines(0, "u", POWER, Line((), ())),), (), None, "instant_power_w")
    picture = Picture(trace("folder", "x", Kind("simulated", True, ("Simulated GPU",)), lines))
    assert "SIMULATED boards: no measurement" in picture.texts
    assert "Instantaneous power (W)" in picture.texts
    assert "Temperature (°C)" not in picture.texts


def test_without_power_there_is_no_figure() -> None:
    nothing = Line((), ())
    found = trace("f", "x", KIND, Timeline((BoardLines(0, "u", nothing, WARMTH),), (), None, "power_w"))
    assert found == LeftOut("timeline_f", "its samples hold no power")
