"""Real processes that form a gang: their meeting is a thread here, reached by a pipe from each."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from multiprocessing.connection import Connection
from typing import Any

from llem_sweep.clock import SystemClock
from llem_sweep.config.options import Parallelism
from llem_sweep.errors import GangError
from llem_sweep.execution.meeting import MeetingThread, Member

Work = Callable[..., Any]
LIMIT_S = 60.0


def in_processes(size: int, parallelism: Parallelism, work: Work, *arguments: Any) -> list[Any]:
    """What ``work(member, *arguments)`` returns in each of ``size`` new processes, in order of rank.

    ``work`` is a function of a module. Raises RuntimeError when a process doesn't return within ``LIMIT_S``.
    """
    spawn = multiprocessing.get_context("spawn")
    with closing(MeetingThread(size)) as meeting:
        pipes = [spawn.Pipe() for _ in range(size)]
        started = [
            spawn.Process(target=_run, args=(end, rank, size, parallelism, work, arguments), daemon=True)
            for rank, (_, end) in enumerate(pipes)
        ]
        results: dict[int, Any] = {}
        for process in started:
            process.start()
        for _, end in pipes:
            end.close()
        threads = [
            threading.Thread(target=_serve, args=(here, meeting, results, rank), daemon=True)
            for rank, (here, _) in enumerate(pipes)
        ]
        for thread in threads:
            thread.start()
        deadline_s = time.monotonic() + LIMIT_S
        for thread in threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))
        for process in started:
            process.join(5.0)
            process.kill()
        return _in_order(results, size)


def _in_order(results: dict[int, Any], size: int) -> list[Any]:
    missing = [rank for rank in range(size) if rank not in results]
    if missing:
        raise RuntimeError(f"processes {missing} returned nothing within {LIMIT_S:g} s")
    return [results[rank] for rank in range(size)]


def _serve(pipe: Connection, meeting: MeetingThread, results: dict[int, Any], rank: int) -> None:
    while True:
        try:
            method, arguments = pipe.recv()
        except EOFError:
            return
        if method is None:
            results[rank] = arguments
            return
        try:
            pipe.send((True, meeting(method, *arguments)))
        except GangError as error:
            pipe.send((False, str(error)))


def _run(
    pipe: Connection, rank: int, size: int, parallelism: Parallelism, work: Work, arguments: Sequence[Any]
) -> None:
    def call(method: str, *given: Any) -> Any:
        pipe.send((method, given))
        well, answer = pipe.recv()
        if not well:
            raise GangError(answer)
        return answer

    pipe.send((None, work(Member(rank, size, parallelism, call, SystemClock()), *arguments)))
