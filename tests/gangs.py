"""Gangs of threads in one process, each with a rig of its own in simulated time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from factories import planned_synthetic
from llem_sweep.clock import Clock, SimulatedClock
from llem_sweep.config.options import Parallelism
from llem_sweep.device.host_energy import HostMeter
from llem_sweep.device.simulated import simulated_boards
from llem_sweep.execution.meeting import MeetingThread, Member
from llem_sweep.harness.measure import measure
from llem_sweep.harness.rig import Rig
from llem_sweep.plan.need import need_of
from llem_sweep.plan.types import PlannedExperiment
from llem_sweep.results.outcome import Completed

Result = TypeVar("Result")
STAGGER_S = 0.5
"""Each process comes into being this much later than the one before."""


def planned(**fields: Any) -> PlannedExperiment:
    """An experiment of the synthetic backend, of four processes by default."""
    known: dict[str, Any] = {
        "n": 18,
        "synthetic": {"run_seconds": 12.0, "num_processes": 4},
        "warmup": {"n_warmup": 2, "thermal_floor_seconds": 0.0},
    }
    return planned_synthetic(**(known | fields))


def clock_of(rank: int) -> SimulatedClock:
    """The clock of a process; those of a gang tell the same time."""
    late_s = STAGGER_S * rank
    return SimulatedClock(1000.0 + late_s, datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=late_s))


def together(
    size: int, parallelism: Parallelism, work: Callable[[Member, Clock], Result], clocks: Any = clock_of
) -> list[Result]:
    """What ``work`` returned for each process of a gang, in order of rank."""
    with closing(MeetingThread(size)) as call, ThreadPoolExecutor(size) as threads:

        def one(rank: int) -> Result:
            clock = clocks(rank)
            return work(Member(rank, size, parallelism, call, clock), clock)

        return list(threads.map(one, range(size)))


def measured_together(
    experiment: PlannedExperiment,
    clocks: Any = clock_of,
    host: Callable[[Clock], HostMeter] | None = None,
) -> list[Completed]:
    """What each process of ``experiment`` measures: the first on simulated board 0, the next on 1, and so on."""
    need = need_of(experiment.config)

    def work(member: Member, clock: Clock) -> Completed:
        gpus = simulated_boards(range(member.rank, member.rank + need.gpus), clock)
        open_host = (lambda: host(clock)) if host is not None else None
        rig = Rig(gpus, clock, node="here", gang=member, host=open_host)
        further: dict[str, bytes] = {}
        measured = measure(experiment, rig, keep=further.__setitem__)
        return Completed(*measured, further)

    return together(need.processes, need.parallelism, work, clocks)
