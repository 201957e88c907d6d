"""A sweep's folder from its creation to its resumption."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factories import START, make_failed, make_plan, make_result_of
from llem_sweep.clock import SimulatedClock
from llem_sweep.errors import OutputError, ResumeError, StoreError
from llem_sweep.plan.types import Attempt, PlannedExperiment
from llem_sweep.results.outcome import Completed, Failed, FailureKind, Outcome, Stage
from llem_sweep.store.folder import SweepFolder
from llem_sweep.store.read import load_result, load_results
from llem_sweep.store.records import RunSettings, Settled
from llem_sweep.store.sweeps import read_sweep


def completed(planned: PlannedExperiment) -> Completed:
    return Completed(make_result_of(planned), b"samples")


def commit(folder: SweepFolder, number: int, outcome: Outcome | None = None, attempt: int = 1) -> Outcome:
    planned = folder.plan.experiments[number]
    return folder.commit(planned, attempt, outcome or completed(planned), final=True, worker="node7/gpu0")


def journal(folder: SweepFolder) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder.path / "journal.jsonl").read_text().splitlines()]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_new_folder_holds_the_input_the_plan_and_the_settings(folder: SweepFolder, tmp_path: Path) -> None:
    assert folder.path == tmp_path / "out" / "grid_2026-03-04T05-06-07"
    assert names(tmp_path / "out") == {folder.path.name}
    assert names(folder.path) == {
        "sweep.yaml",
        "plan.json",
        "settings.json",
        "journal.jsonl",
        ".lock",
        ".staging",
    }
    assert (folder.path / "sweep.yaml").read_text() == "model: m\n"


def test_outcomes_kept_together_are_kept_as_each_alone(folder: SweepFolder) -> None:
    experiments = folder.plan.experiments
    attempts = [Attempt(planned, 1, f"w{number}") for number, planned in enumerate(experiments)]
    outcomes = [completed(planned) for planned in experiments]
    # The second worker has sent the result of another experiment.
    outcomes[1] = completed(experiments[0])
    kept = folder.commit_all(list(zip(attempts, outcomes, strict=True)))
    assert [type(outcome) for outcome in kept] == [Completed, Failed, *[Completed] * (len(kept) - 2)]
    told = [(event["event"], event["experiment_id"], event["worker"]) for event in journal(folder)]
    assert told == [
        ("failed" if number == 1 else "completed", planned.experiment_id, f"w{number}")
        for number, planned in enumerate(experiments)
    ]
    assert len(load_results(folder.path)) == len(experiments) - 1
    with pytest.raises(StoreError, match="already"):
        folder.commit_all([(attempts[2], outcomes[2])])


def test_outcomes_kept_together_are_synced_at_the_same_time(
    folder: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2, timeout=10)
    sync = os.fsync
    met = threading.local()

    def fsync(descriptor: int) -> None:
        if not getattr(met, "other", False):
            met.other = True
            both.wait()
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    two = folder.plan.experiments[:2]
    kept = folder.commit_all([(Attempt(planned, 1, "w"), completed(planned)) for planned in two])
    assert [type(outcome) for outcome in kept] == [Completed, Completed]


def test_two_sweeps_of_one_second_never_share_a_folder(
    folder: SweepFolder, settings: RunSettings, clock: SimulatedClock
) -> None:
    with SweepFolder.create(folder.path.parent, folder.plan, settings, "", clock) as other:
        assert other.path.name == f"{folder.path.name}-2"


@pytest.mark.parametrize("name", ["../../escape", "", "CON", "a" * 400, "\x00", "naïve/✓"])
def test_no_name_of_a_sweep_escapes_or_is_refused(
    tmp_path: Path, settings: RunSettings, clock: SimulatedClock, name: str
) -> None:
    with SweepFolder.create(tmp_path, make_plan(1, name=name), settings, "", clock) as folder:
        assert folder.path.parent == tmp_path
        assert names(tmp_path) == {folder.path.name}


def test_an_output_that_cannot_be_created_is_an_output_error(
    tmp_path: Path, settings: RunSettings, clock: SimulatedClock
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="choose another folder"):
        SweepFolder.create(tmp_path / "file" / "out", make_plan(1), settings, "", clock)


def test_a_completed_experiment_is_on_disk_when_commit_returns(folder: SweepFolder) -> None:
    outcome = commit(folder, 0)
    planned = folder.plan.experiments[0]
    name = "Llama-3.1-8B_synthetic_run_seconds-0.0_2026-03-04T05-06-07"
    assert folder.settled() == {planned.experiment_id: Settled("completed", name)}
    assert names(folder.path / name) == {"result.json", "timeseries.parquet"}
    assert isinstance(outcome, Completed)
    assert outcome.result.timeseries == "timeseries.parquet"
    assert load_result(folder.path / name) == outcome.result
    assert journal(folder)[-1]["event"] == "completed"
    assert journal(folder)[-1]["folder"] == name


def test_folders_of_cycles_say_which(tmp_path: Path, settings: RunSettings, clock: SimulatedClock) -> None:
    with SweepFolder.create(tmp_path, make_plan(1, n_cycles=2), settings, "", clock) as folder:
        commit(folder, 0)
        commit(folder, 1)
        found = sorted(settled.folder for settled in folder.settled().values())
    assert found == [f"Llama-3.1-8B_synthetic_cycle-{cycle}_2026-03-04T05-06-07" for cycle in (1, 2)]


def test_models_of_one_name_get_folders_that_tell_them_apart(
    tmp_path: Path, settings: RunSettings, clock: SimulatedClock
) -> None:
    plan = make_plan(shared={"backend": "synthetic"}, sweep={"model": ["orgA/tiny", "orgB/tiny"]})
    with SweepFolder.create(tmp_path, plan, settings, "", clock) as folder:
        commit(folder, 0)
        commit(folder, 1)
        found = sorted(settled.folder for settled in folder.settled().values())
    assert [name.split("_")[0] for name in found] == ["orgA-tiny", "orgB-tiny"]


def test_a_failure_is_kept_with_all_that_was_told(folder: SweepFolder) -> None:
    failed = make_failed(stage=Stage.LOAD, kind=FailureKind.OUT_OF_MEMORY, log_tail="caf\udce9")
    assert commit(folder, 1, failed) == failed
    [(name, record)] = list(folder.failures())
    planned = folder.plan.experiments[1]
    assert names(folder.path / name) == {"failure.json"}
    assert record.experiment_id == planned.experiment_id
    assert record.as_failed() == failed._replace(log_tail="caf?")
    assert (record.attempt, record.final, record.worker, record.time) == (1, True, "node7/gpu0", START)
    assert record.config["synthetic"]["run_seconds"] == 1.0
    assert folder.settled() == {planned.experiment_id: Settled("failed", name)}
    assert journal(folder)[-1]["event"] == "failed"


def test_attempts_are_counted_and_only_a_final_one_settles(folder: SweepFolder) -> None:
    planned = folder.plan.experiments[0]
    for attempt, kind in (
        (1, FailureKind.WORKER_LOST),
        (2, FailureKind.INTERRUPTED),
        (2, FailureKind.TIMEOUT),
    ):
        folder.commit(planned, attempt, make_failed(kind=kind), final=False, worker="w")
    assert folder.attempts() == {planned.experiment_id: 2}
    assert folder.settled() == {}
    assert len(list(folder.failures())) == 3


def test_an_experiment_is_completed_exactly_once(folder: SweepFolder) -> None:
    commit(folder, 0)
    before = names(folder.path)
    with pytest.raises(StoreError, match="has its result in"):
        commit(folder, 0)
    with pytest.raises(StoreError, match="has its result in"):
        commit(folder, 0, make_failed())
    assert names(folder.path) == before
    assert load_results(folder.path).num_rows == 1


def test_a_failed_experiment_may_complete_later(folder: SweepFolder) -> None:
    commit(folder, 0, make_failed())
    commit(folder, 0, attempt=2)
    [settled] = folder.settled().values()
    assert settled.state == "completed"


def test_an_experiment_of_another_sweep_is_refused(folder: SweepFolder) -> None:
    stranger = make_plan(9).experiments[8]
    with pytest.raises(StoreError, match="isn't an experiment of"):
        folder.commit(stranger, 1, completed(stranger), final=True, worker="w")


def test_a_result_of_another_experiment_is_a_failed_save(folder: SweepFolder) -> None:
    outcome = commit(folder, 0, completed(folder.plan.experiments[1]))
    assert isinstance(outcome, Failed)
    assert (outcome.stage, outcome.kind) == (Stage.SAVE, FailureKind.SAVE_FAILED)
    assert load_results(folder.path).num_rows == 0


def reopened(folder: SweepFolder) -> SweepFolder:
    folder.close()
    return SweepFolder.open(folder.path, SimulatedClock(wall=START))


def test_a_reopened_folder_knows_everything(folder: SweepFolder, settings: RunSettings) -> None:
    commit(folder, 0)
    commit(folder, 1, make_failed())
    settled, attempts = folder.settled(), folder.attempts()
    results, failures = list(folder.results()), list(folder.failures())
    with reopened(folder) as again:
        assert again.plan == folder.plan
        assert again.settings == settings
        assert (again.settled(), again.attempts()) == (settled, attempts)
        assert (list(again.results()), list(again.failures())) == (results, failures)
        with pytest.raises(StoreError, match="has its result in"):
            commit(again, 0)
        commit(again, 2)
        assert len(again.settled()) == 3


def test_a_folder_can_be_looked_at_while_a_run_is_at_work(folder: SweepFolder) -> None:
    commit(folder, 0)
    (folder.path / ".staging" / "half").mkdir()
    records = read_sweep(folder.path)
    assert records.settled() == folder.settled()
    assert list(records.results()) == list(folder.results())
    assert (folder.path / ".staging" / "half").exists()


def test_a_folder_in_use_is_not_opened_again(folder: SweepFolder) -> None:
    with pytest.raises(ResumeError, match="another run is working on"):
        SweepFolder.open(folder.path)


def test_what_was_committed_but_not_in_place_is_finished(folder: SweepFolder) -> None:
    commit(folder, 0)
    [settled] = folder.settled().values()
    (folder.path / settled.folder).rename(folder.path / ".staging" / settled.folder)
    half = folder.path / ".staging" / "half"
    half.mkdir()
    (half / "result.json.partial").write_text("{")
    with reopened(folder) as again:
        assert list(again.settled().values()) == [settled]
        assert list((again.path / ".staging").iterdir()) == []
        assert journal(again)[-1]["event"] == "recovered"


def test_what_is_only_mentioned_is_in_the_journal_but_waits_for_the_next_durable_line(
    folder: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: synced.append(len(journal(folder))))
    folder.mention("dispatched", n=1)
    assert journal(folder)[-1]["event"] == "dispatched"
    folder.journal("retry", n=1)
    assert synced == [len(journal(folder))]


def test_a_torn_journal_is_repaired(folder: SweepFolder) -> None:
    folder.journal("begun", n=1)
    with (folder.path / "journal.jsonl").open("a") as file:
        file.write('{"time": "20')
    with reopened(folder) as again:
        again.journal("resumed")
        assert [line["event"] for line in journal(again)] == ["begun", "resumed"]


@pytest.mark.parametrize("missing", ["plan.json", "settings.json"])
def test_a_folder_that_is_no_sweep_says_what_it_lacks(folder: SweepFolder, missing: str) -> None:
    (folder.path / missing).unlink()
    with pytest.raises(ResumeError, match=f"holds no {missing}"):
        reopened(folder)


def test_a_path_that_is_no_folder_is_refused_and_stays_untouched(tmp_path: Path) -> None:
    with pytest.raises(ResumeError, match="isn't a folder"):
        SweepFolder.open(tmp_path / "missing")
    with pytest.raises(ResumeError, match="isn't the folder of a sweep"):
        SweepFolder.open(tmp_path)
    assert names(tmp_path) == set()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("plan.json", b"{"),
        ("plan.json", b"\xff"),
        ("plan.json", b"[]"),
        ("settings.json", b"{}"),
        ("settings.json", b""),
    ],
)
def test_a_damaged_folder_is_refused_by_the_file_at_fault(
    folder: SweepFolder, file: str, content: bytes
) -> None:
    (folder.path / file).write_bytes(content)
    with pytest.raises(ResumeError, match=file) as caught:
        reopened(folder)
    assert "\n" not in str(caught.value)


def test_a_copy_of_a_result_is_noticed(folder: SweepFolder) -> None:
    commit(folder, 0)
    [settled] = folder.settled().values()
    shutil.copytree(folder.path / settled.folder, folder.path / "copy")
    with pytest.raises(ResumeError, match="both hold the result of"):
        reopened(folder)


def test_the_summary_is_written_as_parquet_and_csv_and_replaced(folder: SweepFolder) -> None:
    for status in ("failed", "=completed"):
        folder.write_summary(pa.table({"status": [status]}))
    assert pq.read_table(folder.path / "summary.parquet")["status"].to_pylist() == ["=completed"]
    assert (folder.path / "summary.csv").read_text() == "status\n'=completed\n"


def test_a_summary_that_cannot_be_written_is_an_output_error(folder: SweepFolder) -> None:
    (folder.path / "summary.parquet").mkdir()
    (folder.path / "summary.parquet" / "x").touch()
    with pytest.raises(OutputError, match=r"summary\.parquet.*--resume"):
        folder.write_summary(pa.table({"status": ["completed"]}))


FULL_DISK = """
import resource, sys
from factories import make_plan, make_result_of
from llem_sweep.errors import OutputError
from llem_sweep.results.outcome import Completed
from llem_sweep.store.folder import SweepFolder
from llem_sweep.store.records import RunSettings
limit = int(sys.argv[2])
with SweepFolder.create(sys.argv[1], make_plan(2), RunSettings(None, True, None, "0"), "") as folder:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    first = folder.plan.experiments[0]
    try:
        print(folder.commit(first, 1, Completed(make_result_of(first), b"x" * 200_000), final=True, worker="w"))
    except OutputError as exc:
        print("OutputError", exc)
"""


def on_full_disk(output: Path, limit_bytes: int) -> str:
    """What a commit says in a process that can't write more than ``limit_bytes`` into a file."""
    command = [sys.executable, "-c", FULL_DISK, str(output), str(limit_bytes)]
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_a_save_that_fails_is_a_failed_experiment(tmp_path: Path) -> None:
    said = on_full_disk(tmp_path, 100_000)
    assert said.startswith("Failed(stage=<Stage.SAVE: 'save'>, kind=<FailureKind.SAVE_FAILED: 'save_failed'>")
    [sweep] = tmp_path.iterdir()
    with SweepFolder.open(sweep) as folder:
        [settled] = folder.settled().values()
        [(_, record)] = folder.failures()
    assert settled.state == "failed"
    assert record.stage is Stage.SAVE
    assert "File too large" in record.message
    assert list(sweep.rglob("result.json*")) == []
    assert list(sweep.rglob("timeseries*")) == []


def test_a_failure_that_cannot_be_kept_either_stops_the_run(tmp_path: Path) -> None:
    said = on_full_disk(tmp_path, 100)
    assert said.startswith("OutputError")
    assert "--resume" in said
    [sweep] = tmp_path.iterdir()
    assert list((sweep / ".staging").iterdir()) == []
    with SweepFolder.open(sweep) as folder:
        assert folder.settled() == {}


def test_samples_and_sweep_files_are_read_from_the_folder(folder: SweepFolder) -> None:
    commit(folder, 0)
    [settled] = folder.settled().values()
    assert (
        folder.sidecar(settled.folder) == (folder.path / settled.folder / "timeseries.parquet").read_bytes()
    )
    assert [name for name, _ in folder.sources()] == ["sweep.yaml"]
    with pytest.raises(StoreError, match=r"can't read .*nowhere.timeseries\.parquet"):
        folder.sidecar("nowhere")


def test_what_is_kept_elsewhere_is_fetched_and_a_store_that_is_down_is_asked_once(
    folder: SweepFolder,
) -> None:
    asked: list[str] = []

    def elsewhere(name: str) -> bytes:
        asked.append(name)
        if name.startswith("gone"):
            raise FileNotFoundError(name)
        if name.startswith("down"):
            raise OSError("the store is down")
        return b"samples"

    folder.elsewhere = elsewhere
    assert folder.sidecar("a") == b"samples"
    for name in ("gone", "down", "down-2"):
        with pytest.raises(StoreError, match=f"can't read .*{name}"):
            folder.sidecar(name)
    assert asked == [f"{name}/timeseries.parquet" for name in ("a", "gone", "down")]


def test_the_report_is_replaced_whole_and_cannot_be_written_over_a_folder(folder: SweepFolder) -> None:
    for content in (b"one", b"two"):
        assert folder.write_report(content) == folder.path / "report.html"
        assert (folder.path / "report.html").read_bytes() == content
    (folder.path / "report.html").unlink()
    (folder.path / "report.html").mkdir()
    with pytest.raises(OutputError, match=r"report\.html.*--resume"):
        folder.write_report(b"three")
