"""Processes of a gang wait for each other, and for nobody who has failed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from gangs import planned, together
from llem_sweep.clock import Clock, SimulatedClock
from llem_sweep.errors import GangError
from llem_sweep.execution.meeting import LEAD_S, Meeting, Member
from llem_sweep.execution.worker import Worker, WorkerSpec
from llem_sweep.harness.gathering import gathered
from llem_sweep.plan.types import PlannedExperiment
from llem_sweep.results.outcome import Failed, Outcome, Stage


def all_of(*calls: Coroutine[Any, Any, Any]) -> list[Any]:
    """What the calls come to, exceptions among it, made in this order and waited for together."""

    async def run() -> list[Any]:
        return await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 5.0)

    return asyncio.run(run())


def reasons(results: list[Any]) -> list[str]:
    assert all(isinstance(each, GangError) for each in results)
    return [str(each) for each in results]


def test_all_go_on_at_one_time_after_the_last_one_came() -> None:
    meeting = Meeting(3)
    assert (
        all_of(*(meeting.meet(rank, "run", "1 window", 10.0 + rank) for rank in (2, 0, 1)))
        == [12.0 + LEAD_S] * 3
    )


@pytest.mark.parametrize("last_word", [True, False])
def test_a_loop_ends_when_every_process_says_so(last_word: bool) -> None:
    meeting = Meeting(2)
    assert all_of(
        meeting.agree(0, "run", "1 agree", True), meeting.agree(1, "run", "1 agree", last_word)
    ) == [last_word, last_word]


def test_the_first_process_tells_the_others() -> None:
    meeting = Meeting(2)
    assert all_of(meeting.share(1, "run", "1 share", None), meeting.share(0, "run", "1 share", "4711")) == [
        "4711",
        "4711",
    ]


def test_nobody_waits_to_learn_whether_all_are_done_and_it_stays_true() -> None:
    meeting = Meeting(2)
    asked = [(0, True), (1, False), (0, False), (1, True), (0, True), (1, False)]
    assert all_of(*(meeting.all_done(rank, "run", done) for rank, done in asked)) == [
        False,
        False,
        False,
        False,
        True,
        True,
    ]


def test_a_failure_frees_everyone_who_waits_and_everyone_who_comes_later() -> None:
    meeting = Meeting(3)
    waiting, first, later, second = all_of(
        meeting.meet(0, "run", "1 window", 1.0),
        meeting.fail(2, "out of memory", "run"),
        meeting.agree(1, "run", "1 agree", True),
        meeting.fail(1, "told so", "run"),
    )
    assert reasons([waiting, later]) == ["process 2 failed: out of memory"] * 2
    assert (first, second) == (False, True)


def test_the_next_run_starts_afresh_unless_a_process_has_died() -> None:
    meeting = Meeting(2)
    assert all_of(meeting.fail(0, "it broke", "a")) == [False]
    assert (
        all_of(meeting.meet(0, "b", "1 window", 1.0), meeting.meet(1, "b", "1 window", 2.0))
        == [2.0 + LEAD_S] * 2
    )
    assert all_of(meeting.fail(1, "it died")) == [False]
    assert reasons(all_of(meeting.meet(0, "c", "1 window", 1.0))) == ["process 1 failed: it died"]
    assert all_of(meeting.fail(0, "it was told", "c")) == [True]


def test_processes_out_of_step_are_told_instead_of_waiting_for_ever() -> None:
    meeting = Meeting(2)
    found = all_of(meeting.share(1, "run", "1 share", None), meeting.agree(0, "run", "1 agree", True))
    assert all("out of step: it came to 1 agree, others to 1 share" in each for each in reasons(found))


def test_a_process_left_behind_by_the_others_next_run_is_freed() -> None:
    meeting = Meeting(2)
    left, *met = all_of(
        meeting.meet(0, "a", "1 window", 1.0),
        meeting.meet(1, "b", "1 window", 2.0),
        meeting.meet(0, "b", "1 window", 3.0),
    )
    assert reasons([left]) == ["the other processes went on to another experiment"]
    assert met == [3.0 + LEAD_S] * 2


def outcomes(*experiments: PlannedExperiment) -> list[Outcome]:
    """What comes of a gang of workers, each given its own idea of the experiment."""

    def work(member: Member, clock: Clock) -> Outcome:
        rank = member.rank
        spec = WorkerSpec(f"here/gpu{rank}", "here", 1, (rank,), 0.0, rank=rank, size=member.size)
        worker = Worker(spec, clock, member)
        worker.start()
        outcome = worker.run(experiments[rank], 1).outcome
        worker.close()
        return outcome

    return together(len(experiments), "data", work, lambda rank: SimulatedClock())


def test_the_others_end_with_the_one_that_fails_and_the_outcome_names_it() -> None:
    synthetic = {"run_seconds": 1.0, "num_processes": 3}
    fine, broken = planned(synthetic=synthetic), planned(synthetic=synthetic | {"fail_at": "run"})
    found = [each for each in outcomes(fine, fine, broken) if isinstance(each, Failed)]
    assert [each.follows for each in found] == [True, True, False]
    assert all("GangError: process 2 failed: BackendError" in each.message for each in found[:2])
    whole = gathered(found)
    assert isinstance(whole, Failed)
    assert whole.stage is Stage.WARM_UP
    assert whole.message == "process 2 of 3: BackendError: synthetic failure: fail_at is run"
    assert not whole.follows
