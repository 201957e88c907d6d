"""The timing of a board's sensors, found on the board itself.

Ticks and update periods show in any recording that samples faster than they come. Averaging windows and lags show
only where power changes by known steps (:mod:`llem_sweep.sampling.steps`); a window well longer than the counter's
tick shows in any varying load too, held against the counter. What isn't found stays as it is known for the board's
generation, and ``BoardSensors.measured`` names what was found.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from statistics import median
from typing import Literal, NamedTuple

from llem_sweep.results.sensors import BoardSensors, SensorTiming
from llem_sweep.sampling.averaging import (
    LONGEST_WINDOW_S,
    SHORTEST_WINDOW_S,
    Averaging,
    Cumulative,
    Edge,
    find_averaging,
    time_loaded,
)
from llem_sweep.sampling.periods import Grid, find_grid, updates_of
from llem_sweep.sampling.recording import Sample
from llem_sweep.sampling.updates import Point

ReadingName = Literal["counter", "power", "instant"]
READINGS: tuple[ReadingName, ...] = ("counter", "power", "instant")

_FIELDS: dict[ReadingName, str] = {"counter": "energy_mj", "power": "power_mw", "instant": "instant_mw"}
_LEAST_EXPLAINED = 0.9
"""A model that accounts for less of a reading's variance says nothing about its window."""
_WINDOW_MARGIN = 1.2
"""A window this close to the limits of the search may lie beyond them."""
_PASSIVE_TICKS = 3.0
"""Shortest window, in ticks of the counter, that the counter resolves."""
_STEADY_SPREAD = 0.2
"""Changes further from their grid than this share of its period, rms, tell no times of updates."""
_PASSIVE_CHANGES = 24
"""Fewer changes in a recording that wasn't made for it may fit a wrong period as well."""
_PASSIVE_SPREAD = 0.15
"""The same where nothing but noise moves the reading: stricter, since noise can look like anything."""


class Finding(NamedTuple):
    """What was found of one reading."""

    reading: ReadingName
    offered: bool
    timing: SensorTiming | None
    """Completed by what was known before; None where a window is neither known nor found."""
    measured: tuple[str, ...]
    """Which fields of ``timing`` were found here."""
    residual: float | None
    """Rms of the reading about the fitted response, as a share of the step."""
    note: str | None
    """Why something wasn't found."""


class Calibration(NamedTuple):
    """A board's sensors, and how each part of them was come by."""

    sensors: BoardSensors
    findings: tuple[Finding, ...]


def calibrate(
    samples: Sequence[Sample], edges: Sequence[Edge], known: BoardSensors, measured_at: datetime
) -> Calibration:
    """Timing of one board's readings from samples taken while its load was switched at ``edges``.

    ``samples`` are one board's, some milliseconds apart; ``known`` fills in what can't be found.
    """
    findings = tuple(_finding(reading, samples, edges, known) for reading in READINGS)
    return Calibration(_sensors(findings, known, measured_at), findings)


def refined(samples: Sequence[Sample], known: BoardSensors, measured_at: datetime) -> BoardSensors:
    """``known`` with the ticks and update periods that show in any recording of one board, such as a baseline's.

    Windows stay as they are. Sensors that were calibrated are returned as they are: that took finer samples.
    """
    if known.source in ("measured", "cached"):
        return known
    updates: dict[str, SensorTiming] = {}
    for reading in READINGS:
        before: SensorTiming | None = getattr(known, reading)
        grid = find_grid(points_of(samples, reading))
        if grid is None or len(grid.changes) < _PASSIVE_CHANGES:
            continue
        if grid.spread_s > _PASSIVE_SPREAD * grid.period_s:
            continue
        if before is not None:
            updates[reading] = before.model_copy(update={"update_period_s": grid.period_s})
        elif reading == "counter":
            updates[reading] = SensorTiming(update_period_s=grid.period_s)
    if not updates:
        return known
    measured = tuple(f"{reading}.update_period_s" for reading in updates)
    return known.model_copy(update={**updates, "measured": measured, "measured_at": measured_at})


def window_by_counter(samples: Sequence[Sample], reading: ReadingName) -> Averaging | None:
    """Averaging window of a power reading from any varying load, held against the energy counter's ticks.

    Between ticks the counter says nothing, so only windows of several ticks are found; None for shorter ones.
    """
    ticks = find_grid(points_of(samples, "counter"))
    points = points_of(samples, reading)
    grid = find_grid(points)
    if ticks is None or grid is None:
        return None
    at_ticks = updates_of(points_of(samples, "counter"), ticks)
    reference = Cumulative([tick.at_s for tick in at_ticks], [tick.value / 1000 for tick in at_ticks])
    inside = [u for u in updates_of(points, grid) if u.at_s >= at_ticks[0].at_s + LONGEST_WINDOW_S]
    found = find_averaging(inside, reference) if inside else None
    if found is None or found.explained < _LEAST_EXPLAINED:
        return None
    return found if found.window_s >= _PASSIVE_TICKS * ticks.period_s else None


def points_of(samples: Sequence[Sample], reading: ReadingName) -> list[Point]:
    """The values of one reading over time."""
    field = _FIELDS[reading]
    values = ((sample.at_s, getattr(sample.reading, field)) for sample in samples)
    return [Point(at_s, value) for at_s, value in values if value is not None]


def _finding(
    reading: ReadingName, samples: Sequence[Sample], edges: Sequence[Edge], known: BoardSensors
) -> Finding:
    before: SensorTiming | None = getattr(known, reading)
    points = points_of(samples, reading)
    if not points:
        return Finding(reading, False, None, (), None, "not offered by this board's driver")
    grid = find_grid(points)
    if grid is None:
        return Finding(reading, True, before, (), None, _why_no_period(points))
    if reading == "counter":
        return Finding(reading, True, _timing(before, grid), ("update_period_s",), None, None)
    found = _averaging(points, grid, edges)
    if isinstance(found, str):
        if before is None:
            return Finding(reading, True, None, (), None, found)
        return Finding(reading, True, _timing(before, grid), ("update_period_s",), None, found)
    timing = SensorTiming(update_period_s=grid.period_s, window_s=found.window_s, lag_s=max(0.0, found.lag_s))
    return Finding(reading, True, timing, ("update_period_s", "window_s", "lag_s"), found.residual, None)


def _timing(before: SensorTiming | None, grid: Grid) -> SensorTiming:
    known = before or SensorTiming(update_period_s=grid.period_s)
    return known.model_copy(update={"update_period_s": grid.period_s})


def _averaging(points: Sequence[Point], grid: Grid, edges: Sequence[Edge]) -> Averaging | str:
    """The reading's response to the steps, or why none can be told."""
    if not edges:
        return "window and lag need load that is switched: none was given"
    if grid.spread_s > _STEADY_SPREAD * grid.period_s:
        return "updates are too irregular to tell a window"
    found = find_averaging(updates_of(points, grid), time_loaded(edges, points[-1].at_s))
    if found is None or found.explained < _LEAST_EXPLAINED:
        share = f"{found.explained:.0%}" if found else "none"
        return f"does not follow the switched load ({share} of its variance explained)"
    if not SHORTEST_WINDOW_S * _WINDOW_MARGIN < found.window_s < LONGEST_WINDOW_S / _WINDOW_MARGIN:
        return f"window of {1000 * found.window_s:.0f} ms lies at the limit of what can be told"
    return found


def _why_no_period(points: Sequence[Point]) -> str:
    gap_s = median(b.at_s - a.at_s for a, b in pairwise(points)) if points[1:] else 0.0
    return f"no update period found (samples {1000 * gap_s:.1f} ms apart; it may be faster or hardly change)"


def _sensors(findings: Sequence[Finding], known: BoardSensors, measured_at: datetime) -> BoardSensors:
    timings: dict[str, SensorTiming | None] = {finding.reading: finding.timing for finding in findings}
    measured = tuple(f"{each.reading}.{field}" for each in findings for field in each.measured)
    whole = all(each.note is None for each in findings if each.offered) and bool(measured)
    return known.model_copy(
        update={
            **timings,
            "source": "measured" if whole else known.source,
            "measured": measured,
            "measured_at": measured_at if measured else known.measured_at,
        }
    )
