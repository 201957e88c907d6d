"""Side by side with the PyPI package zeus, unmodified, on the stand-in NVML library and in real time."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from llem_sweep.device.traces import Constant
from standin.truth import of_generation
from truth.section import Given, Section, rms, table
from truth.standin_process import run_on, why_not

ZEUS = Path(__file__).parents[2] / "build" / "zeus"
"""Zeus has a place of its own: with the AMD binding that it brings, Ray fails on machines without an AMD board."""
WINDOWS = 80
LENGTHS_S = (0.5, 3.0)
LOW_W, HIGH_W = 200.0, 500.0
PERIOD_S = 0.7
IDLE_W = 71.3
LEAST_RATIO = 5.0
MOST_ERROR = 0.05
TITLE = "Beside Zeus"
_OFFSETS = {"counter_offset_s": 0.0137, "power_offset_s": 0.0571, "instant_offset_s": 0.0313}
HEAD = (
    "load",
    "window opens",
    "n",
    "Zeus, rms error",
    "Zeus, bias",
    "Zeus, worst",
    "ours, rms error",
    "ours, bias",
    "ours, worst",
    "inside our bound",
    "Zeus / ours, rms",
)


class Both(NamedTuple):
    """One window, measured in both ways; each with the truth of its own window, in joules."""

    follows: bool
    """Whether the load is inside the window alone."""
    at_tick: bool
    """Whether the window opened just after a tick."""
    length_s: float
    ours_j: float | None
    bound_j: float | None
    our_true_j: float
    zeus_j: float
    zeus_true_j: float

    @property
    def our_error(self) -> float:
        """Relative to the truth; the whole of it where no energy was found."""
        return (self.ours_j or 0.0) / self.our_true_j - 1

    @property
    def zeus_error(self) -> float:
        """The same for Zeus."""
        return self.zeus_j / self.zeus_true_j - 1

    @property
    def inside(self) -> bool:
        """Whether our bound holds the truth."""
        return abs(self.our_error) * self.our_true_j <= (self.bound_j or 0.0)


def measured(given: Given) -> Section:
    """All windows in a process on the stand-in library."""
    found = next(iter(distributions(name="zeus", path=[str(ZEUS)])), None)
    if found is None:
        return _uncompared(f"the PyPI package zeus isn't in {ZEUS}: `make bench` installs it there")
    versions = f"zeus {found.version}"
    if reason := why_not():
        return _uncompared(reason)
    standin = of_generation("hopper", (Constant(IDLE_W),), **_OFFSETS)
    windows = [Both(*each) for each in run_on(standin, "truth.side_by_side", given.seed, WINDOWS, also=ZEUS)]
    return Section(TITLE, _text(versions, given.seed, windows), shortfalls(windows))


def shortfalls(windows: Sequence[Both]) -> tuple[str, ...]:
    """What falls short of the limits."""
    short = [
        f"a window of {each.length_s:.3f} s is off by {each.our_error:+.2%} (Zeus: {each.zeus_error:+.2%})"
        for each in windows
        if abs(each.our_error) > MOST_ERROR
    ]
    if (ratio := _ratio(windows)) < LEAST_RATIO:
        short.append(f"the rms error is {ratio:.1f} x lower than Zeus's, not {LEAST_RATIO:g} x")
    return tuple(short)


def _uncompared(reason: str) -> Section:
    return Section(TITLE, ("Not compared.",), (reason,))


def _ratio(windows: Sequence[Both]) -> float:
    return rms([each.zeus_error for each in windows]) / rms([each.our_error for each in windows])


def _text(versions: str, seed: int, windows: Sequence[Both]) -> tuple[str, ...]:
    rows = [
        (load, opens, [each for each in windows if (each.follows, each.at_tick) == (follows, at_tick)])
        for follows, load in ((False, "free-running wave"), (True, "wave inside the window, idle outside"))
        for at_tick, opens in ((True, "just after a tick"), (False, "anywhere in a tick"))
    ]
    return (
        f"{len(windows)} windows of {LENGTHS_S[0]:g} to {LENGTHS_S[1]:g} s in real time (seed {seed}) under a"
        f" square wave of {HIGH_W - LOW_W:g} W ({LOW_W:g} and {HIGH_W:g} W, {PERIOD_S:g} s), on the stand-in"
        f" NVML library with a Hopper board's sensors and ticks of 100 ms; {versions}, unmodified, in the same"
        " process.",
        "",
        "Our window opens as every measurement's does: just after a tick in the first cycle, at other points"
        " between two ticks in repeats. Zeus's begins and ends within it, at the same work; opened just after a"
        " tick, a difference of two readings is short at its end alone, hence the bias. Each is judged by the"
        " exact integral over its own window, Zeus's from the middle of its first call to that of its last.",
        "",
        "Power that is flat between sharp steps, at most one to a tick, is what our estimate resolves best; the"
        " part on windows has other loads.",
        "",
        f"Limits: our rms error at least {LEAST_RATIO:g} x lower than Zeus's over all windows, and no window of"
        f" ours off by more than {MOST_ERROR:.0%}.",
        "",
        *table(HEAD, ([*label, *_figures(own)] for *label, own in [*rows, ("all", "", windows)])),
    )


def _figures(windows: Sequence[Both]) -> list[str]:
    cells = [str(len(windows))]
    for errors in ([each.zeus_error for each in windows], [each.our_error for each in windows]):
        cells += [f"{rms(errors):.2%}", f"{fmean(errors):+.2%}", f"{max(map(abs, errors)):.2%}"]
    return [*cells, f"{fmean(each.inside for each in windows):.0%}", f"{_ratio(windows):.1f}"]
