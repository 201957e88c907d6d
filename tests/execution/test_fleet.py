"""Shares of nodes, and who may sit where."""

from __future__ import annotations

import pytest

from llem_sweep.execution.fleet import Fleet
from llem_sweep.plan.need import Need
from llem_sweep.plan.types import NodeShape

BIG = NodeShape("big", 8, 128.0, "NVIDIA GeForce RTX 4090")


@pytest.mark.parametrize(
    ("need", "cpu_workers", "workers", "cpus"),
    [
        (Need(1), 1, 8, 16.0),
        (Need(2), 1, 4, 32.0),
        (Need(3), 1, 2, 48.0),
        (Need(0), 4, 4, 32.0),
        (Need(1, 4), 1, 2, 16.0),
    ],
)
def test_a_nodes_boards_and_cpus_are_shared_out(
    need: Need, cpu_workers: int, workers: int, cpus: float
) -> None:
    fleet = Fleet((BIG,), cpu_workers)
    seats = [fleet.open("big", need, 1.0, 0.0) for _ in range(workers)]
    assert [seat.worker for seat in seats] == [f"big/worker{number}" for number in range(workers)]
    assert {seat.cpus for seat in seats} == {cpus}
    with pytest.raises(ValueError, match="no room"):
        fleet.open("big", need, 1.0, 0.0)


def test_more_boards_than_cpus_share_them() -> None:
    fleet = Fleet((NodeShape("laptop", 4, 2.0),), 1)
    assert [fleet.open("laptop", Need(1), 1.0, 0.0).cpus for _ in range(4)] == [0.5] * 4


def test_workers_of_every_width_share_a_node_but_cpu_workers_want_it_whole() -> None:
    fleet = Fleet((BIG,), 1)
    for gpus in (4, 2, 1):
        fleet.open("big", Need(gpus), 0.0, 0.0)
    with pytest.raises(ValueError, match="no room"):
        fleet.open("big", Need(0), 0.0, 0.0)
    fleet.close("big/worker0")
    assert fleet.open("big", Need(4), 0.0, 0.0).worker == "big/worker0"


def test_what_can_not_be_brought_up_takes_its_share_with_it() -> None:
    fleet = Fleet((BIG,), 1)
    fleet.open("big", Need(2), 0.0, 0.0)
    fleet.withdraw("big/worker0")
    assert not fleet.can_serve(Need(8))
    assert fleet.can_serve(Need(6))


@pytest.mark.parametrize("kind", ["RTX 4090", "rtx 4090", "GeForce RTX", "4090"])
def test_a_kind_of_board_goes_by_whole_words(kind: str) -> None:
    assert Fleet((BIG,), 1).can_serve(Need(1, accelerators=("H100", kind)))
    assert not Fleet((BIG,), 1).can_serve(Need(1, accelerators=("RTX 409", "90")))


def test_a_process_with_one_worker_has_one_worker() -> None:
    fleet = Fleet((BIG._replace(workers=1),), 1)
    assert fleet.open("big", Need(2), 0.0, 0.0).cpus == 128.0
    with pytest.raises(ValueError, match="no room"):
        fleet.open("big", Need(1), 0.0, 0.0)
