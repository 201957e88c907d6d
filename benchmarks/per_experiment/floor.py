"""What can't be cheaper: Ray's own calls, and the disk's own syncs."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

import ray

from per_experiment.cost import Cost
from per_experiment.meters import per_experiment, spent

BYTES = {"timeseries": 5_600, "requests": 3_200, "result": 8_100}
"""Sizes of the files of an experiment of this benchmark."""
IDLE_S = 10.0


class BareWorker:
    """An actor that does nothing."""

    def __repr__(self) -> str:
        return "bare"

    def ready(self) -> None:
        """Answers once the actor is there."""

    def no_op(self, number: int) -> int:
        """The least that a call can be."""
        return number


def time_actors(what: str, gpus: int, calls: int) -> Cost:
    """``calls`` of a method that does nothing, on an actor a GPU, one in flight on each; nothing is persisted.

    Afterwards the actors are left idle for :data:`IDLE_S` seconds; Ray wakes each a hundred times a second.
    """
    begun_s = time.perf_counter()
    make: Any = ray.remote(BareWorker).options(num_cpus=1, num_gpus=1)
    actors = [make.remote() for _ in range(gpus)]
    ray.get([actor.ready.remote() for actor in actors])
    steady_s = time.perf_counter()
    before = spent("BareWorker")
    settled_s: list[float] = []
    left = iter(range(calls))
    flights: dict[Any, Any] = {
        actor.no_op.remote(number): actor for actor, number in zip(actors, left, strict=False)
    }
    while flights:
        ready, _ = ray.wait(list(flights), num_returns=1)
        for call in ready:
            ray.get(call)
            settled_s.append(time.perf_counter())
            actor = flights.pop(call)
            if (number := next(left, None)) is not None:
                flights[actor.no_op.remote(number)] = actor
    after = spent("BareWorker")
    rested_s = time.perf_counter()
    time.sleep(IDLE_S)
    idle_s = spent("BareWorker").workers_s - after.workers_s
    idle_cores = idle_s / (time.perf_counter() - rested_s)
    for actor in actors:
        ray.kill(actor)
    cpu = per_experiment(before, after, calls)
    return Cost(what, settled_s, steady_s, steady_s - begun_s, cpu=cpu, idle_cores=idle_cores)


class Disk(NamedTuple):
    """What durability asks of the disk alone for one experiment, in milliseconds."""

    median_ms: float
    """Wall time."""
    cpu_ms: float
    """Processor time, in the mean: what the file system computes. It may differ severalfold between folders of one
    disk, with how full the part of it is that a folder lies in."""


def time_disk(folder: Path, experiments: int = 200) -> Disk:
    """What one experiment asks of the disk that ``folder`` is on, which is made.

    A folder with as many files as an experiment has, of their sizes, each synced, then moved to its place and both
    folders synced: no code of ours, and nothing else going on.
    """
    folder.mkdir(parents=True)
    staging = folder / "staging"
    staging.mkdir()
    took_s = []
    begun_cpu_s = time.process_time()
    for number in range(experiments):
        begun_s = time.perf_counter()
        fresh = staging / str(number)
        fresh.mkdir()
        for name, size in BYTES.items():
            with (fresh / name).open("wb") as file:
                file.write(bytes(size))
                file.flush()
                os.fsync(file.fileno())
        place = fresh.rename(folder / str(number))
        for synced in (place, folder):
            descriptor = os.open(synced, os.O_RDONLY | os.O_DIRECTORY)
            os.fsync(descriptor)
            os.close(descriptor)
        took_s.append(time.perf_counter() - begun_s)
    cpu_s = time.process_time() - begun_cpu_s
    return Disk(1000 * statistics.median(took_s), 1000 * cpu_s / experiments)
