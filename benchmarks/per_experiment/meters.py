"""Processor time and memory of a run's processes, read while it goes on."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple

import psutil

from llem_sweep.execution.progress import Progress
from llem_sweep.sweep import SilentView

MEMORY_MARK = 500
"""Experiments after which the driver's memory is first read: what the plan and Ray take is there by then."""
WORKER = "GpuWorker"
"""In the title of every worker's process."""
_MIB = 1 << 20


class Cpu(NamedTuple):
    """Processor time per experiment, in milliseconds."""

    thread_ms: float
    """The driver's own thread."""
    driver_ms: float
    """The driver's whole process, Ray's threads in it included."""
    workers_ms: float
    """Every worker."""
    ray_ms: float
    """Ray's own processes: raylet, GCS, agents, and the actor that workers push their state to."""

    @property
    def all_ms(self) -> float:
        """Of all processes."""
        return self.driver_ms + self.workers_ms + self.ray_ms


class Memory(NamedTuple):
    """Resident memory of the driver's process, in MiB."""

    at_mark_mib: float
    """At experiment :data:`MEMORY_MARK`."""
    last_mib: float
    """When the last experiment was settled."""
    closed_mib: float
    """After the closing summary."""

    @property
    def growth_mib(self) -> float:
        """From the mark to the end, whichever end is the larger."""
        return max(self.last_mib, self.closed_mib) - self.at_mark_mib


class Spent(NamedTuple):
    """Processor seconds so far."""

    thread_s: float
    driver_s: float
    workers_s: float
    ray_s: float


def spent(worker: str) -> Spent:
    """What this process and its descendants have used; workers are those whose title contains ``worker``."""
    driver = psutil.Process()
    workers: list[psutil.Process] = []
    others: list[psutil.Process] = []
    for process in driver.children(recursive=True):
        try:
            (workers if worker in " ".join(process.cmdline()) else others).append(process)
        except psutil.NoSuchProcess:
            continue
    return Spent(time.thread_time(), _cpu_s([driver]), _cpu_s(workers), _cpu_s(others))


def per_experiment(first: Spent, last: Spent, experiments: int) -> Cpu:
    """Processor time between two looks, divided by the experiments settled between them."""
    return Cpu(*(1000 * (after - before) / experiments for before, after in zip(first, last, strict=True)))


def resident_mib() -> float:
    """Resident memory of this process."""
    return float(psutil.Process().memory_info().rss) / _MIB


class SweepMeter(SilentView):
    """Watches a sweep. The driver's thread calls it, so that thread's processor time can be read there.

    The first look is when all workers are there and a tenth is settled, the last when 19 in 20 are: looking has a
    price of its own, which is paid at the beginning and the end.
    """

    def __init__(self) -> None:
        self._first: tuple[int, Spent] | None = None
        self._last: tuple[int, Spent] | None = None
        self._at_mark_mib: float | None = None
        self._last_mib = 0.0

    def update(self, progress: Progress) -> None:
        """A look, where it is time for one."""
        done = progress.done
        if self._first is None and done >= progress.total / 10 and _all_there(progress):
            self._first = done, spent(WORKER)
        elif self._last is None and done >= progress.total * 0.95:
            self._last = done, spent(WORKER)
        if self._at_mark_mib is None and done >= MEMORY_MARK:
            self._at_mark_mib = resident_mib()
        if done == progress.total:
            self._last_mib = resident_mib()

    @property
    def cpu(self) -> Cpu | None:
        """None when the sweep was over before it could be looked at twice."""
        if self._first is None or self._last is None or self._last[0] == self._first[0]:
            return None
        return per_experiment(self._first[1], self._last[1], self._last[0] - self._first[0])

    def memory(self, closed_mib: float) -> Memory | None:
        """None for a sweep that is no longer than the mark."""
        if self._at_mark_mib is None:
            return None
        return Memory(self._at_mark_mib, self._last_mib, closed_mib)


def _all_there(progress: Progress) -> bool:
    return all(worker.board != "starting" for worker in progress.workers)


def _cpu_s(processes: Iterable[psutil.Process]) -> float:
    seconds = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        seconds += times.user + times.system
    return seconds
