"""Going on with a folder through the whole flow: what is refused, accepted, added, retried and repaired."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from factories import make_plan, make_result_of
from llem_sweep import (
    ConfigError,
    OutputError,
    ResumeError,
    SweepConfig,
    SweepResult,
    load_results,
    load_sweep,
    run_sweep,
)
from llem_sweep.cli.app import main
from llem_sweep.execution.progress import FailureNote
from llem_sweep.harness.environment import installed_packages
from llem_sweep.plan.types import ClusterShape, NodeShape
from llem_sweep.results.outcome import Completed
from llem_sweep.resumption import Continuation, adopt
from llem_sweep.store.folder import SweepFolder
from llem_sweep.store.records import RunSettings
from llem_sweep.store.sweeps import read_sweep
from llem_sweep.sweep import SilentView, report_sweep
from probe_backend import Probe, install_probe

QUICK: dict[str, Any] = {
    "model": "acme/made-up-7b",
    "backend": "synthetic",
    "n": 8,
    "energy": {"backend": "null"},
    "warmup": {"enabled": False},
}
A100 = ClusterShape((NodeShape("old", 2, 8.0, "A100", driver="570"),))
H100 = ClusterShape((NodeShape("new", 2, 8.0, "H100", driver="580"),))

MakeSweep = Callable[..., SweepConfig]


class Said(SilentView):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def message(self, text: str) -> None:
        self.texts.append(text)

    def __contains__(self, text: str) -> bool:
        return any(text in each for each in self.texts)


class Crash(SilentView):
    """Takes the run down as soon as an experiment has failed."""

    def failed(self, note: FailureNote) -> None:
        raise RuntimeError("the power is gone")


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a sweep that takes no time, with ``fields``; its path."""

    def write(name: str = "grid", **fields: Any) -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(QUICK | fields, sort_keys=False))
        return path

    return write


@pytest.fixture
def make_sweep(write: Callable[..., Path]) -> MakeSweep:
    """The same, loaded."""
    return lambda name="grid", **fields: load_sweep(write(name, **fields))


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., SweepResult]:
    """Run a sweep in this process on a simulated board."""

    def run(sweep: SweepConfig, **options: Any) -> SweepResult:
        return run_sweep(sweep, output=tmp_path / "out", inline=True, simulate_gpus=1, **options)

    return run


Run = Callable[..., SweepResult]


def events(folder: Path, name: str) -> list[dict[str, Any]]:
    lines = map(json.loads, (folder / "journal.jsonl").read_text().splitlines())
    return [line for line in lines if line["event"] == name]


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def column(result: SweepResult, name: str) -> list[Any]:
    values: list[Any] = result.table[name].to_pylist()
    return values


# Extending


def test_a_finished_folder_takes_in_the_points_of_a_changed_file(
    make_sweep: MakeSweep, write: Callable[..., Path], run: Run
) -> None:
    first = run(make_sweep(sweep={"n": [1, 2]}))
    before = tree(first.folder)
    said = Said()
    changed = make_sweep("grid2", sweep={"n": [1, 2], "random_seed": [42, 43]})
    result = run_sweep(changed, resume=first.folder, extend=True, view=said)
    assert result.folder == first.folder
    assert (result.completed, result.exit_code) == (4, 0)
    assert column(result, "config.n") == [1, 1, 2, 2]
    assert column(result, "config.random_seed") == [42, 43, 42, 43]
    assert column(result, "status") == ["completed"] * 4
    after = tree(first.folder)
    results = {name: content for name, content in before.items() if name.endswith("result.json")}
    assert len(results) == 2
    assert results.items() <= after.items(), "what was measured stays as it was"
    assert after["sweep.yaml"] == before["sweep.yaml"]
    assert after["sweep-2.yaml"] == write("grid2", sweep={"n": [1, 2], "random_seed": [42, 43]}).read_bytes()
    [line] = events(first.folder, "extended")
    assert (line["file"], len(line["added"]), line["settings"]) == ("sweep-2.yaml", 2, [])
    assert "2 experiments added; the file is kept as sweep-2.yaml" in said
    assert column(report_sweep(first.folder), "config.random_seed") == [42, 43, 42, 43]
    assert load_results(first.folder).num_rows == 4


def test_what_the_file_no_longer_holds_stays_and_is_run(
    make_sweep: MakeSweep, run: Run, tmp_path: Path
) -> None:
    stopped = run(
        make_sweep(sweep={"n": [1, 2, 3]}, execution={"cycle_order": "sequential"}), require_publishable=True
    )
    assert column(stopped, "status") == ["completed", "pending", "pending"]
    [folder] = (tmp_path / "out").iterdir()
    said = Said()
    changed = make_sweep("grid2", sweep={"n": [3, 4]}, execution={"max_retries": 5})
    result = run_sweep(changed, resume=folder, extend=True, view=said)
    assert column(result, "config.n") == [3, 4, 1, 2]
    assert column(result, "status") == ["completed"] * 4
    assert "not in the file: 2 experiments; all of them stay, and 1 of them will be run" in said
    assert "from now on: execution.max_retries was 2, now 5" in said
    assert read_sweep(folder).plan.execution.max_retries == 5


def test_extending_with_the_same_file_adds_nothing_and_runs_nothing(make_sweep: MakeSweep, run: Run) -> None:
    first = run(make_sweep(sweep={"n": [1, 2]}))
    said = Said()
    result = run_sweep(make_sweep(sweep={"n": [1, 2]}), resume=first.folder, extend=True, view=said)
    assert result.completed == 2
    assert "the file adds nothing" in said
    assert not (first.folder / "sweep-2.yaml").exists()
    assert events(first.folder, "extended") == []


def test_an_extension_that_is_refused_leaves_the_folder_as_it_was(make_sweep: MakeSweep, run: Run) -> None:
    first = run(make_sweep(sweep={"n": [1, 2]}))
    before = tree(first.folder)
    many = make_sweep("grid2", sweep={"n": [3, 4]}, execution={"max_experiments": 3})
    with pytest.raises(ConfigError, match=r"4 experiments, more than execution\.max_experiments"):
        run_sweep(many, resume=first.folder, extend=True)
    assert tree(first.folder).keys() == before.keys()
    assert tree(first.folder)["plan.json"] == before["plan.json"]


# What differs


def test_a_changed_file_is_refused_with_every_difference_and_the_ways_on(
    make_sweep: MakeSweep, run: Run
) -> None:
    first = run(make_sweep(sweep={"n": [1, 2]}))
    changed = make_sweep(sweep={"n": [1, 3]}, execution={"max_retries": 5})
    with pytest.raises(ResumeError) as caught:
        run_sweep(changed, resume=first.folder)
    for words in ("n=2 is no longer there", "n=3 is new", "max_retries was 2, now 5", "--extend", "--accept"):
        assert words in str(caught.value)
    said = Said()
    result = run_sweep(changed, resume=first.folder, accept_changes=True, view=said)
    assert column(result, "config.n") == [1, 2]
    assert "accepted: the file isn't followed: the point n=3 is new" in said
    [line] = events(first.folder, "changes_accepted")
    assert len(line["changes"]) == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"simulate_gpus": 2}, "simulated GPUs: 1 then, 2 now"),
        ({"address": "10.0.0.1:6379"}, "on the cluster at 10.0.0.1:6379 now"),
    ],
)
def test_simulation_and_place_are_never_accepted_to_differ(
    make_sweep: MakeSweep, run: Run, options: dict[str, Any], words: str
) -> None:
    first = run(make_sweep(sweep={"n": [1, 2]}))
    with pytest.raises(ResumeError, match=words) as caught:
        run_sweep(resume=first.folder, accept_changes=True, **options)
    assert "Run it as a new sweep instead" in str(caught.value)


def test_a_measured_folder_is_never_gone_on_with_on_simulated_boards(tmp_path: Path) -> None:
    with SweepFolder.create(tmp_path, make_plan(1), RunSettings(None, True, None, "0.1.0"), "") as folder:
        pass
    with pytest.raises(ResumeError, match="simulated GPUs: none then, 1 now"):
        run_sweep(resume=folder.path, accept_changes=True, simulate_gpus=1)


def kept_folder(tmp_path: Path, **surroundings: tuple[str, ...]) -> SweepFolder:
    """A folder of one experiment on one GPU, whose earlier runs were begun with ``surroundings``."""
    settings = RunSettings(None, False, None, "0.1.0", surroundings)
    return SweepFolder.create(tmp_path, make_plan(1), settings, "")


def test_other_versions_driver_and_boards_are_refused_all_at_once_and_can_be_accepted(tmp_path: Path) -> None:
    known = {"torch": ("1.0",), "NVIDIA driver": ("570",), "board": ("A100",)}
    with kept_folder(tmp_path, **known) as folder:
        before = tree(folder.path)
        with pytest.raises(ResumeError) as caught:
            adopt(folder, Continuation(folder.plan, retried=frozenset({"x"})), H100)
        for words in (
            "torch: 1.0 then",
            "driver: 570 then, 580 now",
            "board: A100 then, H100 now",
            "--accept",
        ):
            assert words in str(caught.value)
        assert tree(folder.path) == before, "what is refused changes nothing"
        told = adopt(folder, Continuation(folder.plan, accept_changes=True), H100)
        assert [text.split(":")[1].strip() for text in told] == ["torch", "NVIDIA driver", "board"]
        [line] = events(folder.path, "changes_accepted")
        assert len(line["changes"]) == 3
    # Accepted once, it needs no more asking, even if nothing has been measured since.
    with SweepFolder.open(folder.path) as again:
        assert adopt(again, Continuation(again.plan), H100) == ()
        assert adopt(again, Continuation(again.plan), A100) == ()


def test_what_isnt_known_of_an_older_folder_doesnt_differ(tmp_path: Path) -> None:
    with kept_folder(tmp_path) as folder:
        assert adopt(folder, Continuation(folder.plan), H100) == ()
        assert folder.surroundings()["board"] == ("H100",)
        assert folder.surroundings()["torch"] == (installed_packages()["torch"].split("+")[0],)


def test_a_folder_without_a_record_is_held_against_its_results(tmp_path: Path) -> None:
    plan = make_plan(2)
    with SweepFolder.create(tmp_path, plan, RunSettings(None, False, None, "0.1.0"), "") as folder:
        done = plan.experiments[0]
        folder.commit(done, 1, Completed(make_result_of(done), b""), final=True, worker="w")
    with SweepFolder.open(folder.path) as again, pytest.raises(ResumeError, match="board: NVIDIA H100 80GB"):
        adopt(again, Continuation(again.plan), A100)


def test_a_run_records_what_it_was_begun_with(make_sweep: MakeSweep, run: Run) -> None:
    first = run(make_sweep())
    kept = json.loads((first.folder / "settings.json").read_text())["surroundings"]
    assert kept["llem-sweep"] == [installed_packages()["llem-sweep"]]
    assert "board" not in kept, "a simulated board is none"


@pytest.mark.parametrize("option", ["extend", "accept_changes", "retry_failed"])
def test_what_goes_on_in_a_folder_needs_one(make_sweep: MakeSweep, run: Run, option: str) -> None:
    with pytest.raises(ConfigError, match=f"{option}: only for a folder to resume"):
        run(make_sweep(), **{option: True})


def test_extending_needs_a_sweep(make_sweep: MakeSweep, run: Run) -> None:
    first = run(make_sweep())
    with pytest.raises(ConfigError, match="give the sweep"):
        run_sweep(resume=first.folder, extend=True)


# Retrying


@pytest.fixture
def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Probe:
    return install_probe(tmp_path / "site", monkeypatch)


PROBED: dict[str, Any] = {
    "backend": "probe",
    "sweep": {"precision": ["fp16", "bf16", "fp32"]},
    "execution": {"cycle_order": "sequential"},
}


def test_failed_experiments_run_again_when_asked_to(make_sweep: MakeSweep, run: Run, probe: Probe) -> None:
    probe.fails = frozenset({"fp16", "fp32"})
    first = run(make_sweep(**PROBED))
    assert (first.completed, first.failed) == (1, 2)
    probe.fails = frozenset()
    unasked = run_sweep(resume=first.folder)
    assert (unasked.completed, unasked.failed) == (1, 2)
    said = Said()
    result = run_sweep(resume=first.folder, retry_failed=True, view=said)
    assert (result.completed, result.failed, result.exit_code) == (3, 0, 0)
    assert column(result, "status") == ["completed"] * 3
    assert column(result, "failed_attempts") == [1, 0, 1]
    assert len(list(first.folder.glob("*/failure.json"))) == 2, "the earlier failures are kept"
    assert "2 experiments that failed will be run again" in said
    [line] = events(first.folder, "retry_failed")
    assert len(line["experiments"]) == 2
    assert [line["attempt"] for line in events(first.folder, "completed")][1:] == [1, 1]
    assert pq.read_table(first.folder / "summary.parquet")["status"].to_pylist() == ["completed"] * 3


def test_what_fails_again_is_failed_again(make_sweep: MakeSweep, run: Run, probe: Probe) -> None:
    probe.fails = frozenset({"fp16"})
    first = run(make_sweep(**PROBED))
    result = run_sweep(resume=first.folder, retry_failed=True)
    assert (result.completed, result.failed, result.exit_code) == (2, 1, 1)
    assert column(result, "failed_attempts") == [2, 0, 0]


def test_a_retry_that_dies_is_completed_by_a_plain_resume(
    make_sweep: MakeSweep, run: Run, probe: Probe
) -> None:
    probe.fails = frozenset({"fp16", "bf16", "fp32"})
    first = run(make_sweep(**PROBED))
    assert first.failed == 3
    probe.fails = frozenset({"fp16"})
    with pytest.raises(RuntimeError, match="the power is gone"):
        run_sweep(resume=first.folder, retry_failed=True, view=Crash())
    stopped = report_sweep(first.folder)
    assert (stopped.completed, stopped.failed) == (0, 1)
    assert column(stopped, "status") == ["failed", "pending", "pending"]
    assert column(stopped, "failed_attempts") == [2, 1, 1]
    probe.fails = frozenset()
    rest = run_sweep(resume=first.folder)
    assert (rest.completed, rest.failed) == (2, 1), "what failed again in the retry stays failed"
    assert run_sweep(resume=first.folder, retry_failed=True).completed == 3
    assert len(events(first.folder, "completed")) == 3


def test_retrying_where_nothing_failed_runs_nothing(make_sweep: MakeSweep, run: Run) -> None:
    first = run(make_sweep(sweep={"n": [1, 2]}))
    assert run_sweep(resume=first.folder, retry_failed=True).completed == 2
    assert events(first.folder, "retry_failed") == []
    assert not (first.folder / "retried.json").exists()


# Repairing


def test_a_corrupt_sidecar_is_kept_aside_and_measured_again(make_sweep: MakeSweep, run: Run) -> None:
    first = run(make_sweep(sweep={"n": [1, 2]}, energy={}, baseline={"enabled": False}))
    sidecar = next(first.folder.glob("*/timeseries.parquet"))
    sidecar.write_bytes(sidecar.read_bytes()[:-1] + b"?")
    (first.folder / "summary.csv").unlink()
    (first.folder / "summary.parquet").unlink()
    said = Said()
    result = run_sweep(resume=first.folder, view=said)
    assert (result.completed, result.exit_code) == (2, 0)
    assert f"kept in .damaged/{sidecar.parent.name}, and its experiment runs again" in said
    assert len(events(first.folder, "damaged")) == 1
    assert load_results(first.folder).num_rows == 2
    assert pq.read_table(first.folder / "summary.parquet").num_rows == 2
    assert (first.folder / "summary.csv").is_file()


def test_a_folder_that_cannot_be_written_is_said_so(make_sweep: MakeSweep, run: Run) -> None:
    first = run(make_sweep())
    (first.folder / ".lock").unlink()
    (first.folder / ".lock").mkdir()
    with pytest.raises(OutputError, match=r"can't write .*\.lock"):
        run_sweep(resume=first.folder)


# One run at a time


def test_two_runs_on_one_folder_at_once_are_refused_by_the_first_ones_name(
    write: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = write(synthetic={"run_seconds": 600.0})
    line = [str(grid), "--output", str(tmp_path / "out"), "--inline", "--simulate-gpus", "1", "--quiet"]
    command = [sys.executable, "-m", "llem_sweep", *line]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ.copy()) as other:
        try:
            deadline_s = time.monotonic() + 60
            while not list(tmp_path.glob("out/*/plan.json")):
                assert time.monotonic() < deadline_s
                assert other.poll() is None
                time.sleep(0.02)
            [folder] = (tmp_path / "out").iterdir()
            assert main(["--resume", str(folder), "--retry-failed"]) == 2
            told = capsys.readouterr().err
            assert f"another run is working on {folder} (process {other.pid} on " in told
        finally:
            other.kill()
            other.wait()
    assert report_sweep(folder).completed == 0
    SweepFolder.open(folder).close()


def test_the_command_line_extends_and_retries(
    write: Callable[..., Path], tmp_path: Path, probe: Probe, capsys: pytest.CaptureFixture[str]
) -> None:
    probe.fails = frozenset({"fp16"})
    grid = write(backend="probe", sweep={"precision": ["fp16", "bf16"]})
    line = ["--output", str(tmp_path / "out"), "--inline", "--simulate-gpus", "1"]
    assert main([str(grid), *line]) == 1
    [folder] = (tmp_path / "out").iterdir()
    probe.fails = frozenset()
    larger = write("larger", backend="probe", sweep={"precision": ["fp16", "bf16", "fp32"]})
    assert main([str(larger), "--resume", str(folder)]) == 2
    assert "precision=fp32 is new" in capsys.readouterr().err
    assert main([str(larger), "--resume", str(folder), "--extend", "--retry-failed"]) == 0
    assert "3 of 3 experiments completed" in capsys.readouterr().out
