from __future__ import annotations

import io

import pytest
from rich.color import Color
from rich.text import Text

from llem_sweep.cli.colours import BAD, DOUBT, GOOD
from llem_sweep.cli.commands import console_on


def luminance(colour: Color) -> float:
    """Relative luminance as WCAG 2 defines it."""
    parts = [part / 255 for part in colour.get_truecolor()]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("name", [GOOD, DOUBT, BAD])
def test_every_colour_can_be_read_on_white_and_on_black(name: str) -> None:
    colour = Color.parse(name)
    assert 16 <= (colour.number or 0) <= 231, "a colour of its own, not one of the terminal's"
    assert 1.05 / (luminance(colour) + 0.05) > 3.8
    assert (luminance(colour) + 0.05) / 0.05 > 3.8


@pytest.mark.parametrize(
    ("environ", "coloured"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "screen-256color"}, True),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, True),
        ({"TERM": "xterm"}, False),
        ({"TERM": "linux"}, False),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_colours_are_left_out_where_they_would_be_the_terminal_s_own(
    environ: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    console_on(stream).print(Text("word", GOOD))
    assert ("38;5;28" in stream.getvalue()) is coloured
    assert "word" in stream.getvalue()
