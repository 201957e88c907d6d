"""Makes the pictures of the terminal in docs/images: the program runs, its screen is photographed.

Nothing is composed: ``llem-sweep`` runs the grid beside this file on simulated boards, on a pseudo-terminal; what
stands on the screen becomes a page of text that Chromium photographs at twice the size. Of the closing lines the
picture has those from the table to the first failure.

    python docs/pictures/terminal.py

Needs Chromium (Debian's ``chromium``) and takes about five minutes. The live view is photographed at 80 and 140
columns, light and dark, once experiments have failed and others are being measured, the closing table at the end.
"""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from palette import with_palette
from real_terminal import RealTerminal

HERE = Path(__file__).resolve().parent
IMAGES = HERE.parent / "images"
GRID = HERE / "grid.yaml"
SIMULATED_GPUS = 6
LIMIT_S = 240.0
CHARACTER_PX, LINE_PX, MARGIN_PX = 8.43, 18, 12
"""Of DejaVu Sans Mono at 14 px."""


class Shade(NamedTuple):
    """What a terminal has where a program asks for nothing."""

    ink: str
    paper: str


LIGHT, DARK = Shade("#1f2328", "#ffffff"), Shade("#e6edf3", "#0d1117")


def main() -> None:
    """Make every picture."""
    with tempfile.TemporaryDirectory() as folder:
        narrow = live(folder, "narrow", 80, 34, {"live-80": LIGHT, "live-80-dark": DARK})
        narrow.press("\x03")
        narrow.follow(1.0)
        narrow.press("\x03")
        narrow.ended(LIMIT_S)
        terminal = live(folder, "wide", 140, 24, {"live-140": LIGHT, "live-140-dark": DARK})
        # As high as the closing lines are, so that all of them are seen.
        terminal.resize(140, 90)
        terminal.ended(LIMIT_S)
        for name, shade in {"closing-140": LIGHT, "closing-140-dark": DARK}.items():
            photograph(name, terminal, shade, "Made by", " cycles 2, 3: ")


def live(folder: str, output: str, columns: int, lines: int, pictures: dict[str, Shade]) -> RealTerminal:
    """The sweep, its results in ``folder``, photographed once enough of it is to be seen."""
    command = ["env", "-C", folder, sys.executable, "-m", "llem_sweep", str(GRID), "--output", output]
    command += ["--simulate-gpus", str(SIMULATED_GPUS)]
    environ = os.environ | {"TERM": "xterm-256color", "PYTHONUTF8": "1"}
    environ.pop("NO_COLOR", None)
    terminal = RealTerminal(command, columns, lines, environ)
    terminal.wait_for(worth_seeing, LIMIT_S)
    terminal.settle()
    for name, shade in pictures.items():
        photograph(name, terminal, shade, " done, ")
    return terminal


def worth_seeing(terminal: RealTerminal) -> bool:
    """Whether two have failed, a third is done, and workers are at several phases."""
    text = terminal.text
    done = re.search(r"(\d+) of \d+ done, (\d+) failed", text)
    phases = {phase for phase in ("load", "baseline", "warm-up", "settle", "measure") if f" {phase}" in text}
    rates = len(re.findall(r"measure(?:: \w+)? .*?\d W", text))
    return done is not None and int(done[1]) >= 8 and int(done[2]) >= 2 and len(phases) >= 3 and rates >= 2


Cell = tuple[str, str, bool]
"""Character, colour (``default`` or six hexadecimal digits), and whether it is bold."""


def cells(terminal: RealTerminal) -> Iterator[list[Cell]]:
    """The screen, line by line."""
    screen = terminal.screen
    for number in range(screen.lines):
        line = screen.buffer[number]
        yield [(line[column].data, line[column].fg, line[column].bold) for column in range(screen.columns)]


def between(rows: Sequence[list[Cell]], first: str, beyond: str) -> list[list[Cell]]:
    """The lines from the one that says ``first`` to the one before ``beyond``, without empty ones at their end."""
    texts = ["".join(cell[0] for cell in row).rstrip() for row in rows]
    start = next(number for number, text in enumerate(texts) if first in text)
    end = next((number for number, text in enumerate(texts) if beyond in text), len(rows))
    while end > start and not texts[end - 1]:
        end -= 1
    return list(rows[start:end])


def page(rows: Sequence[Sequence[Cell]], columns: int, shade: Shade) -> str:
    """The screen as a page of text."""
    lines = "\n".join("".join(spans(row)) for row in rows)
    return (
        "<!doctype html><meta charset=utf-8><style>"
        f"html{{background:{shade.paper}}}body{{margin:{MARGIN_PX}px;color:{shade.ink}}}"
        f"pre{{margin:0;font:14px/{LINE_PX}px 'DejaVu Sans Mono',monospace;width:{columns}ch}}"
        f"</style><pre>{lines}</pre>"
    )


def spans(row: Sequence[Cell]) -> Iterator[str]:
    """A line, characters that look alike together."""
    for (colour, bold), alike in groupby(row, key=lambda cell: cell[1:]):
        text = html.escape("".join(cell[0] for cell in alike))
        style = ("" if colour == "default" else f"color:#{colour};") + ("font-weight:bold" if bold else "")
        yield f'<span style="{style}">{text}</span>' if style else text


def photograph(
    name: str, terminal: RealTerminal, shade: Shade, first: str, beyond: str = "nothing but the end"
) -> None:
    """Keep as a picture what stands on the screen, from the line that says ``first`` to that before ``beyond``."""
    rows, columns = between(list(cells(terminal)), first, beyond), terminal.screen.columns
    width = round(columns * CHARACTER_PX) + 2 * MARGIN_PX
    height = len(rows) * LINE_PX + 2 * MARGIN_PX
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "screen.html"
        source.write_text(page(rows, columns, shade), encoding="utf-8")
        subprocess.run(
            [
                "chromium",
                "--headless",
                "--no-sandbox",
                "--hide-scrollbars",
                f"--user-data-dir={folder}/profile",
                "--force-device-scale-factor=2",
                f"--window-size={width},{height}",
                f"--screenshot={IMAGES / name}.png",
                source.as_uri(),
            ],
            check=True,
            capture_output=True,
        )
    picture = IMAGES / f"{name}.png"
    picture.write_bytes(with_palette(picture.read_bytes()))
    print(picture.name, f"{picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    main()
