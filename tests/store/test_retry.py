"""Failed experiments that are to be run again, and what a folder remembers of it."""

from __future__ import annotations

import pytest

from factories import START, make_failed, make_plan, make_result_of
from llem_sweep.clock import SimulatedClock
from llem_sweep.errors import ResumeError
from llem_sweep.results.outcome import Completed
from llem_sweep.store.folder import SweepFolder
from llem_sweep.store.sweeps import read_sweep


def fail(folder: SweepFolder, number: int, attempts: int = 2) -> str:
    planned = folder.plan.experiments[number]
    for attempt in range(1, attempts + 1):
        folder.commit(planned, attempt, make_failed(), final=attempt == attempts, worker="w")
    return planned.experiment_id


def test_what_is_retried_has_all_its_attempts_again_and_its_failures_are_kept(folder: SweepFolder) -> None:
    key, other = fail(folder, 0), fail(folder, 1)
    folder.retry({key})
    for records in (folder, read_sweep(folder.path)):
        assert records.attempts() == {other: 2}
        assert set(records.settled()) == {other}
        assert len(list(records.failures())) == 4
        assert len(records.retried()) == 2


def test_a_retried_experiment_that_fails_again_is_settled_again(folder: SweepFolder) -> None:
    key = fail(folder, 0)
    folder.retry({key})
    fail(folder, 0)
    records = read_sweep(folder.path)
    assert records.settled()[key].state == "failed"
    assert records.attempts() == {key: 2}
    folder.retry({key})
    assert read_sweep(folder.path).settled() == {}
    assert len(folder.retried()) == 4


def test_a_retried_experiment_that_completes_supersedes_its_failures(folder: SweepFolder) -> None:
    key = fail(folder, 0)
    folder.retry({key})
    planned = folder.plan.experiments[0]
    folder.commit(planned, 1, Completed(make_result_of(planned), b""), final=True, worker="w")
    records = read_sweep(folder.path)
    assert records.settled()[key].state == "completed"
    assert len(list(records.results())) == 1


def test_a_damaged_record_of_retries_is_refused_by_its_path(folder: SweepFolder) -> None:
    folder.retry({fail(folder, 0)})
    (folder.path / "retried.json").write_text("{")
    with pytest.raises(ResumeError, match=r"retried\.json is damaged"):
        read_sweep(folder.path)


def test_a_folder_can_be_extended_and_keeps_every_file_that_it_was_given(folder: SweepFolder) -> None:
    longer, longest = make_plan(4), make_plan(5)
    assert folder.extend(longer, "model: m\nn: 4\n") == "sweep-2.yaml"
    assert folder.extend(longer, "model: m\nn: 4\n") == "sweep-2.yaml"
    assert folder.extend(longest, "model: m\nn: 5\n") == "sweep-3.yaml"
    planned = longest.experiments[4]
    folder.commit(planned, 1, Completed(make_result_of(planned), b""), final=True, worker="w")
    folder.close()
    with SweepFolder.open(folder.path, SimulatedClock(wall=START)) as again:
        assert again.plan == longest
        assert set(again.settled()) == {planned.experiment_id}
    texts = [(folder.path / name).read_text() for name in ("sweep.yaml", "sweep-2.yaml", "sweep-3.yaml")]
    assert texts == ["model: m\n", "model: m\nn: 4\n", "model: m\nn: 5\n"]


def test_surroundings_add_up_and_are_kept(folder: SweepFolder) -> None:
    folder.keep_surroundings({"torch": ("2.12",), "board": ("H100",)})
    folder.keep_surroundings({"torch": ("2.13",)})
    folder.close()
    with SweepFolder.open(folder.path, SimulatedClock(wall=START)) as again:
        assert again.surroundings() == {"torch": ("2.12", "2.13"), "board": ("H100",)}


def test_a_folder_that_knows_no_surroundings_takes_them_from_its_results(folder: SweepFolder) -> None:
    planned = folder.plan.experiments[0]
    folder.commit(planned, 1, Completed(make_result_of(planned), b""), final=True, worker="w")
    folder.close()
    with SweepFolder.open(folder.path, SimulatedClock(wall=START)) as again:
        known = again.surroundings()
    assert known["NVIDIA driver"] == ("580.65.06",)
    assert known["board"] == ("NVIDIA H100 80GB HBM3",)
    assert known["torch"] == ("2.13.0",)
