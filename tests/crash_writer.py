"""A run to be killed: commits every experiment that its folder still lacks.

``steps OUT`` has a child work on a sweep's folder of its own and killed just before its file operation number 0,
then another before number 1, and so on until one lives to its end; prints each folder and fate. ``loop DIR``
resumes DIR and prints each experiment it has committed. ``changes OUT`` is like ``steps``, over a folder of
failures that is extended and whose failures are retried.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from factories import START, make_failed, make_plan, make_result_of
from llem_sweep.clock import SimulatedClock
from llem_sweep.plan.types import SweepPlan
from llem_sweep.results.outcome import Completed
from llem_sweep.store.folder import SweepFolder
from llem_sweep.store.records import RunSettings

PLAN = make_plan(3)
LONG_PLAN = make_plan(400)
EXTENDED = make_plan(5)
SETTINGS = RunSettings(None, True, None, "0.1.0")
OPERATIONS = {"open", "os.mkdir", "os.rename", "os.rmdir", "os.remove", "os.truncate"}


def create(output: Path, plan: SweepPlan) -> Path:
    """A new sweep's folder under ``output``."""
    with SweepFolder.create(output, plan, SETTINGS, "model: m\n", SimulatedClock(wall=START)) as folder:
        return folder.path


def work(folder: SweepFolder, say: bool = False) -> None:
    """Commit what isn't settled yet; the second experiment of a plan fails once before it completes."""
    for number, planned in enumerate(folder.plan.experiments):
        key = planned.experiment_id
        if key in folder.settled():
            continue
        attempt = folder.attempts().get(key, 0) + 1
        if number == 1 and attempt == 1:
            folder.commit(planned, attempt, make_failed(), final=False, worker="w")
            attempt += 1
        folder.commit(
            planned, attempt, Completed(make_result_of(planned), b"samples"), final=True, worker="w"
        )
        if say:
            print(key, flush=True)


def fail(path: Path) -> None:
    """Have every experiment of a folder fail."""
    with SweepFolder.open(path) as folder:
        for planned in folder.plan.experiments:
            folder.commit(planned, 1, make_failed(), final=True, worker="w")


def change(folder: SweepFolder) -> None:
    """Extend a folder, and have all that failed in it retried."""
    folder.extend(EXTENDED, "model: m\nn: 5\n")
    folder.retry(set(folder.settled()))
    folder.keep_surroundings({"torch": ("1.0",)})


def die_at(operation: int) -> None:
    """Kill this process just before its file operation number ``operation``."""
    left = operation

    def count(event: str, _: tuple[object, ...]) -> None:
        nonlocal left
        if event in OPERATIONS:
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    sys.addaudithook(count)


def steps(output: Path, prepare: Callable[[Path], None], act: Callable[[SweepFolder], None]) -> None:
    for operation in itertools.count():
        path = create(output, PLAN)
        prepare(path)
        child = os.fork()
        if child == 0:
            with SweepFolder.open(path) as folder:
                die_at(operation)
                act(folder)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status)
        print(path, "killed" if killed else "lived", flush=True)
        if not killed:
            return


def loop(path: Path) -> None:
    with SweepFolder.open(path) as folder:
        print("open", flush=True)
        work(folder, say=True)


if __name__ == "__main__":
    if sys.argv[1] == "steps":
        steps(Path(sys.argv[2]), lambda path: None, work)
    elif sys.argv[1] == "changes":
        steps(Path(sys.argv[2]), fail, change)
    else:
        loop(Path(sys.argv[2]))
