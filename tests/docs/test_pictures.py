"""What makes the pictures in docs/images: PNGs with a palette, and a page of a terminal's screen."""

from __future__ import annotations

import random
import struct
import sys
import time
import zlib

import numpy as np
import pytest

import terminal
from palette import SIGNATURE, decoded, with_palette
from real_terminal import RealTerminal

WIDTH, CHANNELS = 7, 4


def png(rows: list[bytes]) -> bytes:
    """A PNG of ``rows``, row after row under another filter, as a straightforward encoder writes it."""
    lines, above = b"", bytes(WIDTH * CHANNELS)
    for number, row in enumerate(rows):
        kind = number % 5
        line = bytearray()
        for place, value in enumerate(row):
            left = row[place - CHANNELS] if place >= CHANNELS else 0
            up, corner = above[place], above[place - CHANNELS] if place >= CHANNELS else 0
            guess = left + up - corner
            near = min((left, up, corner), key=lambda each, guess=guess: abs(guess - each))  # type: ignore[misc]
            line.append((value - (0, left, up, (left + up) // 2, near)[kind]) & 255)
        lines += bytes([kind, *line])
        above = row
    head = struct.pack(">IIBBBBB", WIDTH, len(rows), 8, 6, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + name + data + bytes(4) for name, data in chunks
    )


def chunk(of: bytes, name: bytes) -> bytes:
    place = of.index(name)
    return of[place + 4 : place + 4 + struct.unpack(">I", of[place - 4 : place])[0]]


def shown(of: bytes) -> np.ndarray:
    """What a picture with a palette shows."""
    width, height = struct.unpack(">II", chunk(of, b"IHDR")[:8])
    rows = np.frombuffer(zlib.decompress(chunk(of, b"IDAT")), np.uint8).reshape(height, 1 + width)
    return np.frombuffer(chunk(of, b"PLTE"), np.uint8).reshape(-1, 3)[rows[:, 1:]]


def test_few_colours_are_kept_as_they_are_under_every_filter() -> None:
    chance = random.Random(7)
    pixels = [bytes(chance.randrange(256) for _ in range(CHANNELS)) for _ in range(40)]
    rows = [b"".join(chance.choices(pixels, k=WIDTH)) for _ in range(25)]
    truth = np.frombuffer(b"".join(rows), np.uint8).reshape(25, WIDTH, CHANNELS)[:, :, :3]
    assert np.array_equal(decoded(png(rows)), truth)
    assert np.array_equal(shown(with_palette(png(rows))), truth)


def test_many_colours_become_few_that_are_near() -> None:
    chance = random.Random(8)
    rows = [bytes(chance.randrange(256) for _ in range(WIDTH * CHANNELS)) for _ in range(100)]
    small = with_palette(png(rows))
    assert len(chunk(small, b"PLTE")) <= 3 * 256
    assert np.abs(shown(small).astype(int) - decoded(png(rows))).max() <= 64


def test_other_kinds_of_png_are_refused() -> None:
    rows = [bytes(WIDTH * CHANNELS)] * 2
    with pytest.raises(ValueError, match="colour type 3"):
        decoded(with_palette(png(rows)))


def test_a_screen_is_photographed_from_one_line_to_another_with_its_colours() -> None:
    program = "print('before'); print('\\x1b[1;38;5;28m<b>\\x1b[0m first'); print(); print('beyond')"
    on = RealTerminal([sys.executable, "-c", program], 20, 6, {"TERM": "xterm-256color"})
    assert on.ended() == 0
    rows = terminal.between(list(terminal.cells(on)), "first", "beyond")
    page = terminal.page(rows, 20, terminal.LIGHT)
    assert '<span style="color:#008700;font-weight:bold">&lt;b&gt;</span> first' in page
    assert "before" not in page
    assert "beyond" not in page


def test_a_terminal_that_shows_nothing_in_time_says_what_it_shows() -> None:
    program = "import time; print('so far', flush=True); time.sleep(60)"
    on = RealTerminal([sys.executable, "-c", program], 20, 3, {})
    on.wait_for(lambda each: "so far" in each.text)
    begun_s = time.monotonic()
    with pytest.raises(TimeoutError, match="so far"):
        on.wait_for(lambda each: "more" in each.text, 0.2)
    assert time.monotonic() - begun_s < 5
    on.press("\x03")
    assert on.ended() != 0
