"""Power and temperature of one experiment over time, from its sidecar, in as few points as a plot can show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from llem_sweep.sampling.sidecar_reading import SidecarError

_COLUMNS = (
    "timestamp_s",
    "recording",
    "device",
    "gpu_index",
    "gpu_uuid",
    "phase",
    "in_window",
    "power_w",
    "instant_power_w",
    "temperature_c",
)
MOST_BANDS = 60
"""Stretches of phases shown one by one; of more, prefill and decode are taken together."""
_GAP_S = 3.0
"""A line isn't drawn over a longer time without samples."""


class Line(NamedTuple):
    """Readings over time; None where nothing is to be drawn between two of them."""

    times_s: tuple[float, ...]
    """From the start of the window, negative before it."""
    values: tuple[float | None, ...]


class BoardLines(NamedTuple):
    """One board of an experiment."""

    nvml_index: int
    uuid: str
    power: Line
    """In W."""
    temperature: Line
    """In °C."""


class Band(NamedTuple):
    """A stretch of one phase."""

    phase: str
    start_s: float
    end_s: float


class Timeline(NamedTuple):
    """What one experiment's boards did."""

    boards: tuple[BoardLines, ...]
    bands: tuple[Band, ...]
    window_s: tuple[float, float] | None
    """From the first sample of the measured window to the last."""
    reading: str
    """``power_w``, the board's average, or ``instant_power_w`` where it tells no other."""


def timeline(sidecar: bytes, most: int) -> Timeline:
    """The timeline in ``sidecar``, with about ``most`` points a line.

    Raises SidecarError for bytes that aren't such a file.
    """
    try:
        table = pq.read_table(pa.BufferReader(sidecar), columns=list(_COLUMNS))
    except (pa.ArrowException, OSError, KeyError) as error:
        raise SidecarError(f"the sidecar can't be read: {error}") from error
    if missing := set(_COLUMNS).difference(table.column_names):
        raise SidecarError(f"the sidecar has no {' and no '.join(sorted(missing))}: another version wrote it")
    table = table.sort_by([("device", "ascending"), ("timestamp_s", "ascending")])
    reading = "instant_power_w" if not pc.any(table["power_w"].is_valid()).as_py() else "power_w"
    boards, bands, window = [], tuple[Band, ...](), None
    for device in pc.unique(table["device"]).to_pylist():
        own = table.filter(pc.equal(table["device"], device))
        columns: dict[str, list[Any]] = {name: own[name].to_pylist() for name in _COLUMNS}
        boards.append(_board(columns, reading, most))
        if len(boards) == 1:
            bands, window = _bands(columns), _window(columns)
    return Timeline(tuple(boards), bands, window, reading)


def thinned(times_s: Sequence[float], values: Sequence[float], most: int) -> list[int]:
    """Which of ``values`` to draw: in each of some ``most / 2`` equal stretches of time, the least and the
    greatest, and the first and last of all. Every peak stays."""
    if len(values) <= most or most < 4:
        return list(range(len(values)))
    first, span = times_s[0], times_s[-1] - times_s[0]
    stretches = most // 2 - 1
    extremes: dict[int, tuple[int, int]] = {}
    for at, value in enumerate(values):
        stretch = min(stretches - 1, math.floor((times_s[at] - first) / span * stretches)) if span > 0 else 0
        low, high = extremes.get(stretch, (at, at))
        extremes[stretch] = (at if value < values[low] else low, at if value > values[high] else high)
    kept = {0, len(values) - 1}.union(*extremes.values())
    return sorted(kept)


def _board(columns: dict[str, list[Any]], reading: str, most: int) -> BoardLines:
    times_s = columns["timestamp_s"]
    return BoardLines(
        columns["gpu_index"][0],
        columns["gpu_uuid"][0],
        _line(times_s, columns[reading], most),
        _line(times_s, columns["temperature_c"], most // 2),
    )


def _line(times_s: Sequence[float], values: Sequence[float | None], most: int) -> Line:
    known = [(time_s, value) for time_s, value in zip(times_s, values, strict=True) if value is not None]
    if not known:
        return Line((), ())
    times, readings = zip(*known, strict=True)
    shown_s: list[float] = []
    shown: list[float | None] = []
    last = 0
    for at in thinned(times, readings, most):
        if any(times[n + 1] - times[n] > _GAP_S for n in range(last, at)):
            shown_s.append(round(times[at], 2))
            shown.append(None)
        shown_s.append(round(times[at], 2))
        shown.append(round(readings[at], 1))
        last = at
    return Line(tuple(shown_s), tuple(shown))


def _bands(columns: dict[str, list[Any]]) -> tuple[Band, ...]:
    """Stretches of phases, from the samples of one board; each lasts until the next one's first sample, unless
    nothing was sampled for a while."""
    stamps = list(zip(columns["timestamp_s"], columns["phase"], strict=True))
    bands = _stretches(stamps)
    if len(bands) > MOST_BANDS:
        inference = {"prefill", "decode"}
        together = "prefill and decode"
        bands = _stretches([(at_s, together if phase in inference else phase) for at_s, phase in stamps])
    return tuple(bands)


def _stretches(stamps: Sequence[tuple[float, str]]) -> list[Band]:
    bands: list[Band] = []
    for at_s, phase in stamps:
        if bands and at_s - bands[-1].end_s > _GAP_S:
            bands.append(Band(phase, round(at_s, 2), round(at_s, 2)))
            continue
        if bands:
            bands[-1] = bands[-1]._replace(end_s=round(at_s, 2))
        if not bands or bands[-1].phase != phase:
            bands.append(Band(phase, round(at_s, 2), round(at_s, 2)))
    return [band for band in bands if band.end_s > band.start_s]


def _window(columns: dict[str, list[Any]]) -> tuple[float, float] | None:
    inside = [
        at_s for at_s, within in zip(columns["timestamp_s"], columns["in_window"], strict=True) if within
    ]
    return (round(min(inside), 2), round(max(inside), 2)) if inside else None
