"""Which batches of a run are measured: pure, stated when the run has ended and computed again by verification.

A window that is only a part of a run begins and ends where batches do, so that its tokens and its energy belong to
exactly the same stretch of time, and no batch is shared out by guess.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right

from llem_sweep.config.measurement import MeasurementConfig
from llem_sweep.errors import WindowError
from llem_sweep.sampling.recording import Recording
from llem_sweep.sampling.run import Part, Run
from llem_sweep.sampling.settling import COVERED, POWER_PCT_PER_S, SPAN_S, is_flat, relative, settling
from llem_sweep.sampling.watch import Slope, slope

THROUGHPUT_PCT_PER_S = POWER_PCT_PER_S
"""A board that works at another pace draws another power, so that one limit serves for both."""
_FEWEST_BATCHES = 5
"""Throughput is judged over so many batches at least, however long they take."""
JUDGE_EVERY_S = 1.0
"""The starts of batches that are looked at lie so far apart at least."""
SAME_S = 1e-6
"""A batch that ends so shortly after a moment ends at it."""


def part_of(run: Run, config: MeasurementConfig, recording: Recording) -> Part:
    """The part of ``run`` that ``config`` asks for, by its batches and by what ``recording`` saw until their ends.

    Raises WindowError where there is none.
    """
    if config.window == "steady_state":
        return _steady(run, recording)
    if config.window == "windowed":
        return _between(run, config.start_seconds, config.end_seconds)
    return Part(run, 0, len(run.batches))


def _between(run: Run, start_s: float, end_s: float | None) -> Part:
    """The whole batches between two times from the start of the run."""
    asked_s = start_s if end_s is None else end_s
    if asked_s > run.duration_s + SAME_S:
        name = "start_seconds" if end_s is None else "end_seconds"
        longer = "the length that the window is to have" if end_s is None else f"more than {asked_s:g}"
        raise WindowError(
            f"measurement.{name} is {asked_s:g}, but the run lasted {run.duration_s:.2f} s: set"
            f" measurement.min_duration_seconds to {longer}, or {name} to less"
        )
    bounds_s = run.bounds_s
    first = bisect_left(bounds_s, run.start_s + start_s - SAME_S)
    last = len(run.batches)
    if end_s is not None:
        last = bisect_right(bounds_s, run.start_s + end_s + SAME_S) - 1
    if last <= first:
        raise WindowError(
            f"no whole batch lies between {start_s:g} and {asked_s if end_s else run.duration_s:g} s of the run,"
            f" whose {len(run.batches)} batches lasted {run.duration_s / len(run.batches):.2f} s each on average:"
            " widen the window, or make the batches smaller"
        )
    return Part(run, first, last)


def _steady(run: Run, recording: Recording) -> Part:
    """From the first batch that begins in steady state."""
    judged_s = -math.inf
    for first, at_s in enumerate(run.bounds_s[:-1]):
        if at_s < judged_s + JUDGE_EVERY_S:
            continue
        judged_s = at_s
        if is_steady(run, first, recording):
            return Part(run, first, len(run.batches))
    raise WindowError(
        f"no steady state in the {run.duration_s:.1f} s of the run: temperature, power and throughput had settled"
        f" over {SPAN_S:g} s before the start of no batch; raise measurement.min_duration_seconds or"
        " warmup.settle_limit_seconds"
    )


def is_steady(run: Run, first: int, recording: Recording) -> bool:
    """Whether the boards and the throughput have settled at the start of batch ``first``, by what was before it.

    Temperature and power are judged as they are at the end of a warm-up (:func:`settling`), over the seconds
    before that start, which may lie in the warm-up. Throughput is judged by the same rule once enough of the run
    has passed; where no board tells anything it decides alone. That a transient has ended where a slope can't be
    told from none is the rule of Kelton and Law, "A new approach for dealing with the startup problem in discrete
    event simulation", Naval Research Logistics Quarterly 30 (1983).
    """
    rate = throughput(run, first)
    steady = None if rate is None else is_flat(rate, THROUGHPUT_PCT_PER_S)
    verdicts = {settling(recording, run.bounds_s[first]).settled, steady}
    return True in verdicts and False not in verdicts


def throughput(run: Run, first: int) -> Slope | None:
    """Slope of the output tokens per second before batch ``first``, in percent of their mean per second.

    Each batch is one value at its end, over the last :data:`SPAN_S` or five batches, whichever is longer. None
    while less has passed of the run.
    """
    bounds_s = run.bounds_s
    begin = min(bisect_left(bounds_s, bounds_s[first] - SPAN_S), first - _FEWEST_BATCHES)
    if begin < 0 or bounds_s[first] - bounds_s[begin] < COVERED * SPAN_S:
        return None
    ends_s, rates = [], []
    for number in range(begin, first):
        length_s = bounds_s[number + 1] - bounds_s[number]
        if length_s > 0:
            ends_s.append(bounds_s[number + 1])
            rates.append(run.batches[number].output_tokens / length_s)
    return relative(slope(ends_s, rates), rates)
