"""A small sweep in the middle of random faults; ``benchmarks/chaos.py`` is the large one."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from .aftermath import check_cluster, check_folder
from .chaos import GPUS, NODES, Chaos, Inside, Kind, plan_faults, write_grid
from .disk import Disk, small_disk
from .local_cluster import LocalCluster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

EXPERIMENTS = 30
FAULTS = 5


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    cluster = LocalCluster(*[GPUS] * NODES)
    try:
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path) as disk:
        yield disk


def test_one_seed_gives_one_sequence_of_faults_with_every_kind_in_it() -> None:
    assert plan_faults(7, 20, 200) == plan_faults(7, 20, 200) != plan_faults(8, 20, 200)
    assert Counter(fault.kind for fault in plan_faults(7, 20, 200)) == dict.fromkeys(Kind, 4)


def test_whatever_is_done_to_a_sweep_each_experiment_ends_once_and_nothing_is_left(
    cluster: LocalCluster, disk: Disk, tmp_path: Path
) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    grid = tmp_path / "grid.yaml"
    write_grid(grid, seed, EXPERIMENTS, Counter({Inside.HANG: 1, Inside.DIE: 1}))
    storm = Chaos(cluster, grid, disk).run(plan_faults(seed, FAULTS, EXPERIMENTS))
    (folder,) = disk.folder.iterdir()
    outcomes = check_folder(folder)
    check_cluster(cluster, NODES * GPUS)
    print(storm, outcomes)
    storm.check(outcomes)
    assert outcomes["completed"] >= EXPERIMENTS - 2 * FAULTS
    assert storm.faults.total() >= FAULTS
