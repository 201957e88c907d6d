"""Sweeps in the middle of random faults: one seed, one sequence of faults."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from llem_sweep.results.outcome import FailureKind
from llem_sweep.store.records import load_failure

from .disk import Disk
from .driver_process import SILENCE
from .local_cluster import LocalCluster, kill_raylet, raylet_pid
from .processes import Process, children

NODES, GPUS = 3, 2
STALL_S = 3.0
"""Limit on an experiment without progress, small so that what hangs is found soon."""
SILENCE_S = 6.0
"""How long a worker may be silent, instead of half a minute."""
RUN_S = 0.3
QUIET_S = 120.0
"""A sweep that settles nothing for so long has stopped for good."""
WORKER, MEASURES = "GpuWorker", "GpuWorker.run"
"""What Ray calls the process of a worker, and one that has an experiment."""
CUT_SHORT = 3
"""Exit code of a sweep that has to be resumed."""


class Kind(StrEnum):
    """What is done to a sweep from outside."""

    DRIVER = "driver killed, then resumed"
    WORKER = "worker killed"
    RAYLET = "raylet killed, a new node joins"
    HANG = "measuring worker stopped for good"
    STORE = "disk full for a while"


class Inside(StrEnum):
    """What an experiment does to itself."""

    HANG = "call that never returns"
    DIE = "worker ends itself, once"


class Fault(NamedTuple):
    """Something to be done once so many experiments are settled."""

    kind: Kind
    settled: int
    delay_s: float
    which: float
    """0 to 1: where in the list of those that it may hit."""
    length_s: float
    """Of what passes."""


class Storm(NamedTuple):
    """What befell a sweep."""

    faults: Counter[str]
    """How many of each kind took place."""
    resumes: int
    stopped: int
    """Resumes of a sweep that had stopped by itself, with exit code 3."""
    wall_s: float

    def check(self, outcomes: Counter[str]) -> None:
        """Nothing was taken for hung that wasn't; some that hung may have been ended by another fault.

        Raises AssertionError.
        """
        hung = self.faults[Kind.HANG] + self.faults[Inside.HANG]
        timeouts = outcomes[f"failed: {FailureKind.TIMEOUT}"]
        assert timeouts <= hung, f"{timeouts} timeouts, but only {hung} were made to hang"


def plan_faults(seed: int, count: int, experiments: int) -> list[Fault]:
    """``count`` faults spread over a sweep; every kind comes up about as often.

    Hangs come last: most of them would be ended by the next fault before they are found.
    """
    dice = random.Random(seed)
    kinds = [list(Kind)[number % len(Kind)] for number in range(count)]
    dice.shuffle(kinds)
    kinds.sort(key=lambda kind: kind is Kind.HANG)
    moments = sorted(dice.sample(range(1, experiments - experiments // 10), count))
    return [
        Fault(kind, moment, dice.uniform(0.0, 0.5), dice.random(), dice.uniform(0.5, 3.0))
        for kind, moment in zip(kinds, moments, strict=True)
    ]


def write_grid(path: Path, seed: int, experiments: int, inside: Counter[str]) -> None:
    """A sweep of ``experiments`` points, of which ``inside`` says how many fail by themselves."""
    dice = random.Random(seed + 1)
    numbers = list(range(1, experiments + 1))
    faulty = dice.sample(numbers, inside.total())
    points: list[dict[str, Any]] = [{"n": n} for n in numbers if n not in faulty]
    for n, fault in zip(faulty, inside.elements(), strict=True):
        how: dict[str, Any] = (
            {"fail_at": "hang"} if fault == Inside.HANG else {"fail_at": "die", "fail_times": 1}
        )
        points.insert(dice.randrange(len(points)), {"n": n, "synthetic": {"run_seconds": RUN_S} | how})
    grid = {
        "model": "acme/made-up-7b",
        "backend": "synthetic",
        "baseline": {"enabled": False},
        "warmup": {"enabled": False},
        "synthetic": {"run_seconds": RUN_S},
        "execution": {
            "cycle_order": "interleaved",
            "stall_timeout_seconds": STALL_S,
            "fail_fast_after": 0,
        },
        "experiments": points,
    }
    path.write_text(yaml.safe_dump(grid, sort_keys=False))


class Chaos:
    """A sweep that is driven to its end whatever is done to it."""

    def __init__(self, cluster: LocalCluster, grid: Path, disk: Disk) -> None:
        """Begin the sweep of ``grid`` on ``disk``."""
        self._cluster = cluster
        self._disk = disk
        self._output = disk.folder
        self._driver = self._drive(grid, disk.folder)
        self._resumes = 0
        self._stopped = 0
        self._done: Counter[str] = Counter()
        self._ended = False

    def run(self, faults: list[Fault]) -> Storm:
        """Have every fault happen and the sweep end; AssertionError when it can't."""
        begin_s = time.monotonic()
        for fault in faults:
            if not self._wait(lambda due=fault.settled: self._settled() >= due):  # type: ignore[misc]
                break
            time.sleep(fault.delay_s)
            if self._strike(fault):
                self._done[fault.kind] += 1
        self._wait(lambda: False)
        self._done.update(self._inside())
        return Storm(self._done, self._resumes, self._stopped, time.monotonic() - begin_s)

    def _wait(self, true: Callable[[], bool]) -> bool:
        """Until it is true, resuming where a driver stopped; False when the sweep ended before."""
        settled, since_s = -1, time.monotonic()
        while not self._ended and not true():
            self._look()
            if (now := self._settled()) != settled:
                settled, since_s = now, time.monotonic()
            assert time.monotonic() - since_s < QUIET_S, f"nothing was settled for {QUIET_S:g} s"
            time.sleep(0.05)
        return not self._ended

    def _look(self) -> None:
        """Resume the sweep where its driver has stopped before the end."""
        code = self._driver.poll()
        if code is None or self._ended:
            return
        text, _ = self._driver.communicate()
        # An error that nobody caught ends a process with 1, too; Ray may have said something after our last line.
        told = any(line.startswith("completed ") for line in text.splitlines())
        self._ended = code in (0, 1) and told
        assert self._ended or code == CUT_SHORT, f"the driver ended with {code}:\n{text}"
        if not self._ended:
            self._stopped += 1
            self._resume()

    def _strike(self, fault: Fault) -> bool:
        """Whether there was something to hit."""
        if fault.kind is Kind.DRIVER:
            self._driver.kill()
            self._driver.communicate()
            self._resume()
        elif fault.kind is Kind.RAYLET:
            node = self._pick(self._cluster.nodes, fault)
            kill_raylet(node)
            self._cluster.nodes.remove(node)
            self._cluster.nodes.append(self._cluster.add(GPUS))
        elif fault.kind is Kind.STORE:
            self._shut(fault.length_s)
        elif fault.kind is Kind.WORKER:
            return self._signal(fault, WORKER, signal.SIGKILL)
        else:
            return self._signal(fault, MEASURES, signal.SIGSTOP)
        return True

    def _signal(self, fault: Fault, what: str, number: signal.Signals) -> bool:
        """Send a signal to a worker that ``what`` describes, where there is one to hit."""
        workers = self._workers(what)
        if not workers:
            return False
        try:
            os.kill(self._pick(workers, fault).pid, number)
        except ProcessLookupError:
            return False
        return True

    def _shut(self, length_s: float) -> None:
        """Keep the disk full, whatever the sweep lets go of meanwhile; a resume finds it full, too."""
        deadline_s = time.monotonic() + length_s
        try:
            while time.monotonic() < deadline_s:
                self._disk.fill(self._driver.pid)
                self._look()
                time.sleep(0.05)
        finally:
            self._disk.free(self._driver.pid)

    def _resume(self) -> None:
        self._resumes += 1
        folders = list(self._output.glob("*"))
        assert len(folders) == 1, folders
        self._driver = self._drive("--resume", folders[0])

    def _drive(self, *arguments: object) -> subprocess.Popen[str]:
        return self._cluster.drive(*arguments, **{SILENCE: str(SILENCE_S)})

    def _settled(self) -> int:
        """Outcomes so far; failed attempts that were tried again count too."""
        return sum(1 for _ in self._output.glob("*/*/result.json")) + sum(
            1 for _ in self._output.glob("*/*/failure.json")
        )

    def _workers(self, what: str, limit_s: float = 30.0) -> list[Process]:
        """Processes of workers that ``what`` describes, waiting for the first."""
        deadline_s = time.monotonic() + limit_s
        while not (found := [each for each in self._living() if what in each.command]):
            if time.monotonic() > deadline_s or self._driver.poll() is not None:
                break
            time.sleep(0.05)
        return found

    def _living(self) -> Iterator[Process]:
        for node in self._cluster.nodes:
            for child in children(raylet_pid(node)):
                if WORKER in child.command and child.state != "T":
                    yield child

    @staticmethod
    def _pick(among: list[Any], fault: Fault) -> Any:
        return among[int(fault.which * len(among))]

    def _inside(self) -> Counter[str]:
        """What experiments did to themselves, as their failed attempts tell."""
        struck: Counter[str] = Counter()
        for path in self._output.glob("*/*/failure.json"):
            record = load_failure(path.parent)
            does = record.config["synthetic"]["fail_at"]
            if does == "hang" and record.kind is FailureKind.TIMEOUT:
                struck[Inside.HANG] += 1
            elif does == "die" and record.kind is FailureKind.WORKER_LOST and record.attempt == 1:
                struck[Inside.DIE] += 1
        return struck
