"""PNGs of text made small: of true colours to a palette, which is a fifth of the size."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
Pixels = NDArray[np.uint8]
PALETTE = 256
_CHANNELS = {2: 3, 6: 4}
"""Of a pixel, by colour type: true colour, and that with transparency, which is left out."""


def with_palette(png: bytes) -> bytes:
    """``png``, 8 bits a channel and not interlaced, with at most 256 colours: as they are where there aren't more,
    else each channel with so few bits that there aren't. Raises ValueError for any other kind of PNG."""
    pixels = decoded(png)
    for bits in range(8, 0, -1):
        # The middle of what becomes one colour, but for black and white, which stay what they are.
        step = 255 // (2**bits - 1)
        kept = (np.round(pixels / step) * step).clip(0, 255).astype(np.uint8)
        packed = kept.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
        colours, indices = np.unique(packed, return_inverse=True)
        if len(colours) <= PALETTE:
            break
    height, width = len(pixels), len(pixels[0])
    rows = indices.reshape(height, width).astype(np.uint8)
    table = b"".join(int(colour).to_bytes(3, "big") for colour in colours)
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows), 9)
    return SIGNATURE + b"".join(
        _chunk(*each) for each in ((b"IHDR", head), (b"PLTE", table), (b"IDAT", data), (b"IEND", b""))
    )


def decoded(png: bytes) -> Pixels:
    """Rows of pixels of red, green and blue."""
    chunks = list(_chunks(png))
    width, height, depth, colour, *_, interlaced = struct.unpack(">IIBBBBB", chunks[0][1])
    if depth != 8 or colour not in _CHANNELS or interlaced:
        raise ValueError(f"a PNG of colour type {colour}, {depth} bits, interlaced {interlaced}")
    channels = _CHANNELS[colour]
    lines = zlib.decompress(b"".join(data for name, data in chunks if name == b"IDAT"))
    rows = np.frombuffer(lines, np.uint8).reshape(height, 1 + width * channels)
    above = np.zeros((width, channels), np.uint8)
    pixels: Pixels = np.empty((height, width, channels), np.uint8)
    for number, row in enumerate(rows):
        above = pixels[number] = _unfiltered(int(row[0]), row[1:].reshape(width, channels), above)
    return pixels[:, :, :3]


def _unfiltered(kind: int, row: Pixels, above: Pixels) -> Pixels:
    """A row as it was before it was filtered, by PNG's filters 0 to 4 (W3C PNG, section 9)."""
    if kind == 0:
        return row
    if kind == 1:
        return np.cumsum(row, axis=0, dtype=np.uint8)
    if kind == 2:
        return row + above
    columns = [
        _paeth(x, up) if kind == 4 else _average(x, up)
        for x, up in zip(row.T.tolist(), above.T.tolist(), strict=True)
    ]
    return np.array(columns, np.uint8).T


def _average(row: list[int], above: list[int]) -> list[int]:
    left, found = 0, []
    for value, up in zip(row, above, strict=True):
        left = (value + (left + up) // 2) & 255
        found.append(left)
    return found


def _paeth(row: list[int], above: list[int]) -> list[int]:
    left, corner, found = 0, 0, []
    for value, up in zip(row, above, strict=True):
        guess = left + up - corner
        # The nearest of the three; of several, the first.
        nearest = min(
            (abs(guess - left), 0, left), (abs(guess - up), 1, up), (abs(guess - corner), 2, corner)
        )[2]
        left, corner = (value + nearest) & 255, up
        found.append(left)
    return found


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = len(SIGNATURE)
    while place < len(png):
        (length,) = struct.unpack_from(">I", png, place)
        yield png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        place += 12 + length


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
