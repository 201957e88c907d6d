"""A disk on which nothing more can be written: a limit on the size of files does the same to this process."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from factories import make_failed, make_result_of
from llem_sweep.clock import SimulatedClock
from llem_sweep.errors import OutputError
from llem_sweep.results.outcome import Completed, Failed, Stage
from llem_sweep.store.folder import SweepFolder

ROOM = 64 * 1024
"""Enough for a failure, and for a result without its samples."""


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file may become larger than ``size`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_result_without_room_for_its_samples_is_a_failure_to_save(folder: SweepFolder) -> None:
    planned = folder.plan.experiments[0]
    with room_for(ROOM):
        kept = folder.commit(
            planned,
            1,
            Completed(make_result_of(planned), b"x" * 2 * ROOM),
            final=True,
            worker="node7/worker0",
        )
    assert isinstance(kept, Failed)
    assert kept.stage is Stage.SAVE
    assert "free space there" in kept.message
    assert not list((folder.path / ".staging").iterdir())
    assert not list(folder.path.glob("*/result.json"))
    assert len(list(folder.path.glob("*/failure.json"))) == 1


@pytest.mark.parametrize("completes", [True, False])
def test_without_room_for_anything_the_run_stops_with_the_way_on_and_the_folder_is_whole(
    folder: SweepFolder, clock: SimulatedClock, completes: bool
) -> None:
    planned = folder.plan.experiments[0]
    outcome = Completed(make_result_of(planned), b"samples") if completes else make_failed()
    with room_for(0), pytest.raises(OutputError, match=r"free space there.*go on with --resume"):
        folder.commit(planned, 1, outcome, final=True, worker="node7/worker0")
    assert not list((folder.path / ".staging").iterdir())
    assert not list(folder.path.glob("*/*.json"))
    folder.close()
    with SweepFolder.open(folder.path, clock) as again:
        assert not again.settled()
        assert again.commit(planned, 1, outcome, final=True, worker="node7/worker0") is not None
        assert again.settled().keys() == {planned.experiment_id}
