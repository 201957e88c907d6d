"""Killed at any moment, a sweep's folder is whole and can be completed, nothing twice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from crash_writer import EXTENDED, LONG_PLAN, PLAN, change, create, work
from llem_sweep.results.experiment import ExperimentResult
from llem_sweep.store.folder import SweepFolder
from llem_sweep.store.read import load_result, load_results

TESTS = Path(__file__).parents[1]
WRITER = TESTS / "crash_writer.py"


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(WRITER), *arguments]


def environment() -> dict[str, str]:
    paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def check_whole(sweep: Path) -> None:
    """Every folder in place is finished, and none that isn't holds a result."""
    for entry in sweep.iterdir():
        if not entry.is_dir() or entry.name == ".staging":
            continue
        names = {file.name for file in entry.iterdir()}
        assert names in ({"result.json", "timeseries.parquet"}, {"failure.json"})
        if "result.json" in names:
            assert load_result(entry).timeseries == "timeseries.parquet"
            assert (entry / "timeseries.parquet").read_bytes() == b"samples"


def ids(sweep: Path) -> list[str]:
    found: list[str] = load_results(sweep)["experiment_id"].to_pylist()
    return sorted(found)


def killed_in_turn(what: str, output: Path) -> list[Path]:
    """Folders of a run killed before each of its file operations in turn, until it lived to its end."""
    done = subprocess.run(
        command(what, str(output)), env=environment(), capture_output=True, text=True, check=True
    )
    runs = [line.rsplit(" ", 1) for line in done.stdout.splitlines()]
    fates = [fate for _, fate in runs]
    assert fates == ["killed"] * (len(fates) - 1) + ["lived"]
    return [Path(path) for path, _ in runs]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folders = killed_in_turn("steps", tmp_path_factory.mktemp("steps"))
    assert len(folders) > 24
    return folders


def test_killed_before_any_file_operation_the_folder_is_whole_and_resumes(killed: list[Path]) -> None:
    found = []
    for sweep in killed:
        check_whole(sweep)
        committed = len(list(sweep.rglob("result.json")))
        with SweepFolder.open(sweep) as folder:
            check_whole(sweep)
            assert len(folder.settled()) == committed
            assert list((sweep / ".staging").iterdir()) == []
            found.append(len(folder.settled()))
            work(folder)
        check_whole(sweep)
        assert ids(sweep) == sorted(planned.experiment_id for planned in PLAN.experiments)
    assert set(found) == {0, 1, 2, 3}


def test_killed_again_and_again_every_experiment_is_there_exactly_once(tmp_path: Path) -> None:
    sweep = create(tmp_path, LONG_PLAN)
    reported: list[str] = []
    for lines in (3, 40, 90):
        with subprocess.Popen(
            command("loop", str(sweep)), env=environment(), stdout=subprocess.PIPE, text=True
        ) as run:
            assert run.stdout is not None
            for _ in range(lines):
                run.stdout.readline()
            run.kill()
            reported += [line.strip() for line in run.stdout if len(line.strip()) == 16]
        check_whole(sweep)
    with SweepFolder.open(sweep) as folder:
        settled = folder.settled()
        results: list[ExperimentResult] = [result for _, result in folder.results()]
    assert len(settled) >= 130
    assert set(reported) <= set(settled)
    assert ids(sweep) == sorted(settled)
    assert {result.experiment_id for result in results} == set(settled)


def test_killed_while_a_folder_is_extended_and_retried_it_is_as_before_or_after(tmp_path: Path) -> None:
    folders = killed_in_turn("changes", tmp_path)
    assert len(folders) > 8
    stages = []
    for sweep in folders:
        with SweepFolder.open(sweep) as folder:
            assert folder.plan in (PLAN, EXTENDED)
            assert (sweep / "sweep.yaml").read_text() == "model: m\n"
            assert len(list(folder.failures())) == 3
            stages.append((len(folder.plan.experiments), len(folder.settled()), bool(folder.surroundings())))
            change(folder)
            assert folder.unsettled() == EXTENDED.experiments
            assert {file.name for file in sweep.glob("sweep*")} == {"sweep.yaml", "sweep-2.yaml"}
    assert sorted(set(stages), key=stages.index) == [
        (3, 3, False),
        (5, 3, False),
        (5, 0, False),
        (5, 0, True),
    ]
