from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest

from llem_sweep.cli.plain import HEARTBEAT_S, PlainView, QuietView
from llem_sweep.clock import SimulatedClock
from llem_sweep.execution.progress import STARTING, FailureNote, Progress, WorkerState
from llem_sweep.phases import Phase

START = Progress(8, 0, 0, 1, elapsed_s=0.0, remaining_s=None, workers=(), recent_failures=())
NOTE = FailureNote("precision=fp32", "load", "out of memory\n\x1b[2J")


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(wall=datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC))


def test_updates_that_change_nothing_write_nothing(clock: SimulatedClock) -> None:
    stream = io.StringIO()
    view = PlainView(stream, clock)
    for _ in range(20):
        view.update(START)
        clock.sleep(1.0)
    assert stream.getvalue() == ""


def test_silence_is_broken_by_a_sign_of_life(clock: SimulatedClock) -> None:
    stream = io.StringIO()
    view = PlainView(stream, clock)
    for _ in range(int(4 * HEARTBEAT_S * 5)):
        clock.sleep(0.2)
        view.update(START)
    assert stream.getvalue().count("0 of 8 done, 1 running") == 4


def test_a_sign_of_life_tells_what_the_workers_are_at(clock: SimulatedClock) -> None:
    stream = io.StringIO()
    view = PlainView(stream, clock)
    phases = (Phase.LOAD, Phase.DECODE, Phase.PREFILL, Phase.CONTEXT, Phase.IDLE)
    workers = tuple(WorkerState(f"n/{number}", "GPU", phase=phase) for number, phase in enumerate(phases))
    clock.sleep(HEARTBEAT_S)
    view.update(START._replace(workers=(*workers, WorkerState("n/5", STARTING))))
    assert stream.getvalue().endswith("; workers: 1 load, 2 measure, 1 baseline, 1 idle, 1 starting\n")


def test_a_finished_experiment_is_a_line_with_its_time(clock: SimulatedClock) -> None:
    stream = io.StringIO()
    view = PlainView(stream, clock)
    view.update(START)
    view.update(START._replace(done=1, remaining_s=70.0, elapsed_s=10.0, learnt=True))
    (line,) = stream.getvalue().splitlines()
    stamp = clock.now().astimezone().strftime("%H:%M:%S")
    assert line == f"{stamp}  1 of 8 done, 1 running; 10 s so far, about 1 min 10 s left"


def test_a_message_is_one_line_whatever_is_in_it(clock: SimulatedClock) -> None:
    stream = io.StringIO()
    view = PlainView(stream, clock)
    view.failed(NOTE)
    view.message("two\nlines")
    failure, message = stream.getvalue().splitlines()
    assert failure.endswith(r"  failed: precision=fp32 (load): out of memory\n\x1b[2J")
    assert message.endswith(r"  two\nlines")


def test_a_failure_counts_as_a_change_once(clock: SimulatedClock) -> None:
    stream = io.StringIO()
    view = PlainView(stream, clock)
    once = START._replace(failed=1, recent_failures=(NOTE,))
    for progress in (START, once, once):
        view.update(progress)
    (line,) = stream.getvalue().splitlines()
    assert "0 of 8 done, 1 failed, 1 running" in line


def test_only_a_verbose_view_tells_what_workers_begin(clock: SimulatedClock) -> None:
    busy = WorkerState("node7/gpu0", "Simulated GPU", model="tiny", experiment="precision=fp32")
    progress = START._replace(workers=(busy,))
    terse, verbose = io.StringIO(), io.StringIO()
    for stream, view in (
        (terse, PlainView(terse, clock)),
        (verbose, PlainView(verbose, clock, verbose=True)),
    ):
        view.update(progress)
        view.update(progress)
        view.update(progress._replace(workers=(busy._replace(experiment="precision=bf16"),)))
        view.close()
        assert not stream.closed
    assert terse.getvalue() == ""
    assert verbose.getvalue().count("node7/gpu0 (Simulated GPU) begins tiny") == 2


def test_a_quiet_view_tells_failures_alone() -> None:
    stream = io.StringIO()
    view = QuietView(stream)
    view.message("results go to /somewhere")
    view.update(START._replace(done=3))
    view.failed(NOTE)
    view.update(START._replace(done=4, failed=1, recent_failures=(NOTE,)))
    view.close()
    assert stream.getvalue() == "failed: precision=fp32 (load): out of memory\\n\\x1b[2J\n"
