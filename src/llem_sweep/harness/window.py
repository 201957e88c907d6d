"""The measured window: what runs in it, when it began and ended, and what is read after it."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from llem_sweep.backends.protocol import BatchTally, LoadedModel, Workload
from llem_sweep.harness.rig import Rig
from llem_sweep.phases import Phase
from llem_sweep.sampling.energy import needs_more
from llem_sweep.sampling.recording import Recording
from llem_sweep.sampling.sampler import Sampler

_ALIGN_LIMIT_S = 0.6
"""Longest wait for a tick of the energy counter: the slowest published tick (500 ms) and a margin."""


class Window(NamedTuple):
    """One measured window."""

    start_s: float
    """Monotonic time."""
    end_s: float
    started: datetime
    """Wall-clock time of ``start_s``."""
    tallies: tuple[BatchTally, ...]
    foreign_processes: frozenset[int]
    """Others seen on the boards just before and just after."""

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


def run_window(workload: Workload, model: LoadedModel, rig: Rig, sampler: Sampler) -> Window:
    """Run every batch once between two synchronisations, starting just after a tick of the counter."""
    foreign = rig.foreign_processes()
    model.synchronize()
    _align_to_tick(rig, sampler)
    started, start_s = rig.clock.now(), rig.clock.monotonic()
    tallies = []
    for index in range(workload.batches):
        tallies.append(workload.run_batch(index, rig.phases.mark))
        rig.steps += 1
    model.synchronize()
    end_s = rig.clock.monotonic()
    rig.phases.mark(Phase.COOL)
    return Window(start_s, end_s, started, tuple(tallies), foreign | rig.foreign_processes())


def cool(sampler: Sampler, window: Window, rig: Rig) -> Recording:
    """Go on sampling until the energy at the window's end is resolved, then stop.

    Raises BoardLostError when a board stopped answering at any time since the sampler was started.
    """
    while needs_more(sampler.recording(), window.end_s, rig.clock.monotonic()):
        sampler.check()
        rig.clock.sleep(sampler.period_s)
    return sampler.stop()


def _align_to_tick(rig: Rig, sampler: Sampler) -> None:
    before = [reading.energy_mj if reading else None for reading in sampler.latest()]
    if not before or before[0] is None:
        return
    deadline_s = rig.clock.monotonic() + _ALIGN_LIMIT_S
    while rig.clock.monotonic() < deadline_s:
        sampler.check()
        first = sampler.latest()[0]
        if first is not None and first.energy_mj != before[0]:
            return
        rig.clock.sleep(sampler.period_s / 4)
