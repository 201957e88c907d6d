"""Whole sweeps kept in an object store, spoken to in its own protocol: down, killed, refused, and secrets kept."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from llem_sweep import SweepConfig, load_results, run_sweep, verify_results
from llem_sweep.cli.app import main
from llem_sweep.errors import OutputError
from llem_sweep.execution.progress import Progress
from llem_sweep.store.objects import ObjectStore
from llem_sweep.sweep import SilentView
from object_stores import S3Server, store_at

QUICK: dict[str, Any] = {
    "model": "acme/made-up-7b",
    "backend": "synthetic",
    "energy": {"backend": "null"},
    "warmup": {"enabled": False},
}


def quick(experiments: int, run_seconds: float = 0.0) -> SweepConfig:
    shared = QUICK | {"synthetic": {"run_seconds": run_seconds}}
    return SweepConfig(name="grid", shared=shared, sweep={"n": tuple(range(1, experiments + 1))})


def write(folder: Path, experiments: int, run_seconds: float) -> Path:
    """The same as a file."""
    path = folder / "grid.yaml"
    fields = QUICK | {
        "synthetic": {"run_seconds": run_seconds},
        "sweep": {"n": list(range(1, experiments + 1))},
    }
    path.write_text(yaml.safe_dump(fields))
    return path


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "llem_sweep", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def results_in(store: ObjectStore) -> list[str]:
    return [name for name in store.entries() if name.endswith("/result.json")]


def completed(place: str) -> Counter[str]:
    return Counter(load_results(place)["experiment_id"].to_pylist())


def events(store: ObjectStore, name: str) -> list[dict[str, Any]]:
    segments = sorted(each for each in store.entries() if "/journal/" in each)
    lines = [json.loads(line) for each in segments for line in store.get(each).splitlines()]
    return [line for line in lines if line["event"] == name]


def wait_until(condition: Any, what: str, limit_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.02)


class Watcher(SilentView):
    """Stops the server once two experiments are done, and starts it again once that has been told."""

    def __init__(self, s3: S3Server) -> None:
        self.said: list[str] = []
        self._s3 = s3
        self._stopped = False

    def update(self, progress: Progress) -> None:
        if progress.done >= 2 and not self._stopped:
            self._stopped = True
            self._s3.stop()

    def message(self, text: str) -> None:
        self.said.append(text)
        if "results wait in" in text:
            self._s3.start()


def test_a_store_that_is_down_for_a_while_delays_nothing_but_the_upload(s3: S3Server, spool: Path) -> None:
    place, view = s3.folder(), Watcher(s3)
    result = run_sweep(quick(6, 0.1), output=place, simulate_gpus=1, inline=True, view=view)
    assert result.exit_code == 0
    assert result.uri == result.place == next(text for text in view.said if "results go to" in text)[14:]
    assert len([text for text in view.said if "results wait in" in text]) == 1
    assert len([text for text in view.said if "can be written again" in text]) == 1
    assert completed(place).total() == len(completed(place)) == 6
    assert {name.rpartition("/")[2] for name in store_at(result.place).entries()} >= {
        "summary.parquet",
        "report.html",
        "summary.csv",
        "sweep.yaml",
    }
    assert verify_results(result.place).contradicted == ()
    assert list(spool.iterdir()) == []


def test_killed_while_the_store_is_down_nothing_is_lost_and_nothing_runs_twice(
    s3: S3Server, spool: Path, tmp_path: Path
) -> None:
    place = s3.folder()
    store = store_at(place)
    grid = write(tmp_path, experiments=30, run_seconds=0.1)
    driver = start(grid, "--output", place, "--simulate-gpus", 1, "--inline")
    try:
        wait_until(lambda: len(results_in(store)) >= 2, "nothing is uploaded")
        uploaded = len(results_in(store))
        s3.stop()
        wait_until(lambda: len(list(spool.rglob("result.json"))) >= uploaded + 6, "the sweep stands still")
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
    finally:
        s3.start()
        driver.kill()
    settled_here = len(list(spool.rglob("result.json")))
    assert len(results_in(store)) < settled_here, "some wait"
    (top,) = {name.partition("/")[0] for name in store.entries()}
    resumed = start("--resume", place.replace("/runs?", f"/runs/{top}?"))
    text, _ = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, text
    assert completed(place).total() == len(completed(place)) == 30
    dispatched = Counter(event["experiment_id"] for event in events(store, "dispatched"))
    assert dispatched.total() <= 31, "at most the one under way was begun again"
    assert list(spool.iterdir()) == []


def test_a_second_run_is_refused_and_the_first_goes_on(s3: S3Server, spool: Path, tmp_path: Path) -> None:
    place = s3.folder()
    store = store_at(place)
    driver = start(write(tmp_path, 12, 0.2), "--output", place, "--simulate-gpus", 1, "--inline")
    wait_until(lambda: results_in(store), "nothing is uploaded")
    (top,) = {name.partition("/")[0] for name in store.entries()}
    other = subprocess.run(
        [sys.executable, "-m", "llem_sweep", "--resume", place.replace("/runs?", f"/runs/{top}?")],
        env={**os.environ, "LLEM_SWEEP_SPOOL": str(tmp_path / "another-machine")},
        capture_output=True,
        text=True,
    )
    assert other.returncode == 2, other.stderr
    assert "another run is working on s3://" in other.stderr
    assert f"process {driver.pid} on" in other.stderr
    text, _ = driver.communicate(timeout=60)
    assert driver.returncode == 0, text
    assert completed(place).total() == 12


def test_a_store_that_stays_down_ends_the_sweep_with_exit_3(
    s3: S3Server, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llem_sweep.store.upload.FLUSH_LIMIT_S", 0.0)
    place = s3.folder()

    class Stopper(SilentView):
        def update(self, progress: Progress) -> None:
            if progress.done == 1:
                s3.stop()

    try:
        with pytest.raises(OutputError, match=r"outcomes? waits? in .*--resume") as caught:
            run_sweep(quick(2), output=place, simulate_gpus=1, inline=True, view=Stopper())
    finally:
        s3.start()
    assert caught.value.exit_code == 3
    assert len(list(spool.rglob("result.json"))) == 2


def test_the_command_line_takes_uris_and_shows_no_secret(
    s3: S3Server,
    spool: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    shown = s3.folder()
    given = shown.replace("s3://", "s3://AKIAOPEN:sesame%2Fopen@")
    grid = write(tmp_path, experiments=2, run_seconds=0.0)
    assert main([str(grid), "--output", given, "--simulate-gpus", "1", "--inline", "--verbose"]) == 0
    printed = capsys.readouterr()
    place = printed.out.rstrip().splitlines()[-1]
    assert place.startswith(shown.partition("?")[0])
    resumable = place.replace("s3://", "s3://AKIAOPEN:sesame%2Fopen@")
    assert main(["report", resumable]) == 0
    assert main(["verify", resumable]) == 0
    assert main(["--resume", resumable, "--quiet"]) == 0
    assert main(["--resume", resumable, "--output", given]) == 2
    assert main(["report", given]) == 2
    again = capsys.readouterr()
    assert place in again.out
    said = printed.out + printed.err + again.out + again.err
    store = store_at(given)
    stored = b"".join(store.get(name) for name in store.entries())
    for secret in ("AKIAOPEN", "sesame"):
        assert secret not in said
        assert secret.encode() not in stored


def test_a_job_may_keep_its_sweep_in_an_object_store(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where Ray starts a job, a relative path would be refused."""
    folder = tmp_path / "runtime_resources" / "working_dir_files" / "job"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    with pytest.raises(OutputError, match="lies where Ray unpacked"):
        run_sweep(quick(1), output="out", simulate_gpus=1, inline=True)
    result = run_sweep(quick(1), output=s3.folder(), simulate_gpus=1, inline=True)
    assert load_results(result.place).num_rows == 1
    assert list(folder.iterdir()) == []


def test_a_uri_that_is_none_is_a_mistake_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = write(tmp_path, experiments=1, run_seconds=0.0)
    monkeypatch.chdir(tmp_path)
    assert main([str(grid), "--output", "s4://bucket/x", "--simulate-gpus", "1", "--inline"]) == 2
    assert "isn't a place that pyarrow knows" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["grid.yaml"]


def test_the_page_of_a_sweep_in_a_store_has_its_timelines_wherever_it_is_written(
    s3: S3Server, spool: Path, tmp_path: Path
) -> None:
    fields = {"energy": {}, "baseline": {"enabled": False}, "synthetic": {"run_seconds": 0.3}}
    sweep = SweepConfig(name="grid", shared=QUICK | fields, sweep={"n": (1, 2)}, source="model: acme\n")
    result = run_sweep(sweep, output=s3.folder(), simulate_gpus=1, inline=True)
    assert result.warnings == ()
    stored = store_at(result.place).get("report.html").decode()
    page = tmp_path / "page.html"
    assert main(["report", result.place, "--output", str(page)]) == 0
    for content in (stored, page.read_text()):
        found = re.search(r'id="data">(.*?)</script>', content, re.DOTALL)
        assert found
        assert sorted(json.loads(found.group(1))["timelines"]["shown"]) == ["0", "1"]
    assert "model: acme" in page.read_text()


def test_without_a_place_for_it_the_page_of_a_sweep_in_a_store_is_a_warning(
    s3: S3Server, spool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run_sweep(quick(1), output=s3.folder(), simulate_gpus=1, inline=True)
    assert main(["report", result.place]) == 0
    assert "the report wasn't written" in " ".join(capsys.readouterr().out.split())
