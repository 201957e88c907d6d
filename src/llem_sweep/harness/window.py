"""The measured window: what runs in it, when it began and ended, and what is read after it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from llem_sweep.backends.protocol import Batches, BatchTally, LoadedModel
from llem_sweep.config.measurement import MeasurementConfig
from llem_sweep.harness.beginning import Beginning, run_of
from llem_sweep.harness.rig import Rig
from llem_sweep.phases import Phase
from llem_sweep.sampling.account import Span
from llem_sweep.sampling.energy import needs_more
from llem_sweep.sampling.recording import Recording
from llem_sweep.sampling.run import Part
from llem_sweep.sampling.sampler import Sampler
from llem_sweep.sampling.selection import part_of

_GOLDEN_RATIO = 0.6180339887498949
_ALIGN_LIMIT_S = 0.6
"""Longest wait for a tick of the energy counter: the slowest published tick (500 ms) and a margin."""


class Window(NamedTuple):
    """The measured window: a run, or the part of it that counts."""

    start_s: float
    """Monotonic time."""
    end_s: float
    started: datetime
    """Wall-clock time of ``start_s``."""
    tallies: tuple[BatchTally, ...]
    ends_s: tuple[float, ...]
    """Monotonic time of the end of each batch."""
    iterations: int
    """How often the workload was run."""
    part: Part | None = None
    """What of the run it is, where it is only a part."""

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


def run_window(
    workload: Batches,
    model: LoadedModel,
    rig: Rig,
    sampler: Sampler,
    cycle: int = 1,
    least_s: float = 0.0,
    beginning: Beginning | None = None,
    *,
    tokens_count: bool = True,
) -> Window:
    """Run every batch once, and all of them again until ``least_s`` seconds have passed since the start or the
    window's ``beginning``, between two synchronisations, starting just after a tick of the counter or, of several
    processes, at the time that they agree on.

    Repeats of a configuration (``cycle``) start at other points between two ticks, spread by the golden ratio:
    work that keeps step with the sensor would otherwise be seen from the same side every time (SC'24, arXiv
    2312.02741). Processes that start together meet their boards' ticks wherever these happen to be.

    With ``tokens_count`` its output tokens are the experiment's, for whoever watches.
    """
    model.synchronize()
    if rig.gang.size > 1:
        rig.clock.sleep(rig.gang.meet("window") - rig.clock.monotonic())
    else:
        _align_to_tick(rig, sampler)
        rig.clock.sleep((cycle - 1) * _GOLDEN_RATIO % 1 * tick_s(rig))
    started, start_s = rig.clock.now(), rig.clock.monotonic()
    tallies: list[BatchTally] = []
    ends_s: list[float] = []
    iterations, begun_s = 0, start_s
    while True:
        for index in range(workload.batches):
            tallies.append(tally := workload.run_batch(index, rig.phases.mark))
            rig.steps += 1
            ends_s.append(now_s := rig.clock.monotonic())
            if tokens_count:
                rig.run_tokens, rig.run_s = rig.run_tokens + tally.output_tokens, now_s - start_s
            if least_s and beginning is not None:
                beginning.look(start_s, tallies, ends_s)
        iterations += 1
        until_s = beginning.until_s(start_s, least_s) if beginning is not None else start_s + least_s
        # Processes that need each other agree on the end, so that none is left alone with a batch.
        if not least_s or rig.gang.agree(now_s >= until_s):
            break
        # A workload that takes no time at all would spin here and starve the sampler.
        rig.clock.sleep(0.001 - (now_s - begun_s))
        begun_s = rig.clock.monotonic()
    model.synchronize()
    ends_s[-1] = end_s = rig.clock.monotonic()
    rig.phases.mark(Phase.COOL)
    return Window(start_s, end_s, started, tuple(tallies), tuple(ends_s), iterations)


def narrowed(whole: Window, config: MeasurementConfig, sampler: Sampler, rig: Rig) -> Window:
    """The part of the run ``whole`` that ``config`` asks for. Raises WindowError where there is none."""
    if config.window == "total":
        return whole
    # Every sample up to the run's end is there then, as it will be when the window is found again.
    _resolve(sampler, whole.end_s, rig)
    part = part_of(run_of(whole.start_s, whole.tallies, whole.ends_s), config, sampler.recording())
    return whole._replace(
        start_s=part.start_s,
        end_s=part.end_s,
        started=whole.started + timedelta(seconds=part.start_s - whole.start_s),
        tallies=whole.tallies[part.first : part.last],
        ends_s=whole.ends_s[part.first : part.last],
        part=part,
    )


def cool(sampler: Sampler, run: Window, rig: Rig, idle_s: float) -> tuple[Recording, Span | None]:
    """Go on sampling until the energy at the run's end is resolved, and for ``idle_s`` of idle time with the
    model resident; then stop. The recording, and the idle time if there was any.

    Raises BoardLostError when a board stopped answering at any time since the sampler was started.
    """
    _resolve(sampler, run.end_s, rig)
    if not idle_s:
        return sampler.stop(), None
    start_s = rig.phases.mark(Phase.CONTEXT).at_s
    rig.clock.sleep(idle_s)
    end_s = rig.clock.monotonic()
    _resolve(sampler, end_s, rig)
    return sampler.stop(), Span("context", "after", "window", start_s, end_s)


def _resolve(sampler: Sampler, end_s: float, rig: Rig) -> None:
    while needs_more(sampler.recording(), end_s, rig.clock.monotonic()):
        sampler.check()
        rig.clock.sleep(sampler.period_s)


def tick_s(rig: Rig) -> float:
    """Time between updates of the first board's counter or, without one, power."""
    timings = [
        timing
        for sensors in rig.sensors[:1]
        for timing in (sensors.counter, sensors.power)
        if timing is not None
    ]
    return timings[0].update_period_s if timings else 0.0


def _align_to_tick(rig: Rig, sampler: Sampler) -> None:
    before = _first_update(sampler)
    if before is None:
        return
    deadline_s = rig.clock.monotonic() + _ALIGN_LIMIT_S
    while rig.clock.monotonic() < deadline_s:
        sampler.check()
        if _first_update(sampler) != before:
            return
        rig.clock.sleep(sampler.period_s / 4)


def _first_update(sampler: Sampler) -> int | None:
    """What changes with an update of the first board: its counter or, without one, its power reading."""
    first = next(iter(sampler.latest()), None)
    if first is None:
        return None
    return first.energy_mj if first.energy_mj is not None else first.power_mw
