"""What watchers are told of retries and of how well the boards are used, and that all of them are."""

from __future__ import annotations

import pytest

from execution.conftest import TWO, Drive, LastView, Script, planned
from llem_sweep.execution.pool import Joined
from llem_sweep.execution.progress import Audience, FailureNote, Progress
from llem_sweep.plan.types import NodeShape
from llem_sweep.results.outcome import FailureKind


def test_attempts_that_run_again_are_counted(drive: Drive) -> None:
    lost = {("a-1", 1): Script(lose=FailureKind.WORKER_LOST), ("b-1", 1): Script(lose=FailureKind.NODE_LOST)}
    bench = drive([planned(model) for model in "abc"], script=lost)
    assert bench.view.progress is not None
    assert (bench.view.progress.done, bench.view.progress.retried) == (3, 2)


def test_the_efficiency_so_far_is_the_one_told_at_the_end(drive: Drive) -> None:
    script = {(f"{model}-1", 1): Script(take_s=60.0) for model in "abcd"}
    bench = drive([planned(model) for model in "abcd"], script=script, nodes=(TWO,))
    reached = bench.tally.efficiency(2)
    assert bench.view.progress is not None
    assert reached is not None
    assert bench.view.progress.efficiency == pytest.approx(reached.share)
    assert reached.share == pytest.approx(1.0, abs=0.05)


def test_boards_that_have_come_and_found_nothing_to_do_count(drive: Drive) -> None:
    script = {(f"{model}-1", 1): Script(take_s=60.0) for model in "abcd"}
    late = ((100.0, Joined(NodeShape("n1", 2, 2.0, "Board"))),)
    bench = drive([planned(model) for model in "abcd"], script=script, nodes=(TWO,), events=late)
    assert bench.view.progress is not None
    assert bench.view.progress.efficiency == pytest.approx(0.5, abs=0.03), (
        "four boards would need half the time"
    )


def test_nothing_is_known_of_the_efficiency_before_anything_ran(drive: Drive) -> None:
    lost = {("a-1", number): Script(lose=FailureKind.WORKER_LOST) for number in (1, 2)}
    bench = drive([planned("a")], script=lost)
    assert bench.view.progress is not None
    assert bench.view.progress.efficiency is None


def test_every_watcher_is_told_everything() -> None:
    one, other = LastView(), LastView()
    both, note = Audience((one, other)), FailureNote("a", "run", "boom")
    progress = Progress(1, 0, 0, 1, 1.0, None, (), ())
    both.message("hello")
    both.failed(note)
    both.update(progress)
    both.close()
    for view in (one, other):
        assert (view.messages, view.failures, view.progress) == (["hello"], [note], progress)
