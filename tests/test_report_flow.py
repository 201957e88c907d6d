"""The page from a sweep to its file."""

from __future__ import annotations

import html
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from llem_sweep import run_sweep
from llem_sweep.cli.app import main
from llem_sweep.config.sweep import SweepConfig
from llem_sweep.errors import OutputError, StoreError
from llem_sweep.sweep import report_sweep


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep of two experiments on a simulated board."""
    result = run_sweep(quick(), output=tmp_path_factory.mktemp("out"), simulate_gpus=1, inline=True)
    assert (result.report, result.exit_code, result.warnings) == (result.folder / "report.html", 0, ())
    return result.folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(finished, tmp_path / finished.name))


def quick(**fields: Any) -> SweepConfig:
    shared = {
        "model": "acme/made-up-7b",
        "backend": "synthetic",
        "synthetic": {"run_seconds": 0.4},
        "baseline": {"duration_seconds": 0.5, "after_seconds": 0.0},
        "warmup": {"n_warmup": 1, "thermal_floor_seconds": 0.0},
    }
    return SweepConfig(name="shown", shared=shared, sweep={"n": (2, 3)}, source="model: acme\n", **fields)


def data_of(file: Path) -> dict[str, Any]:
    found = re.search(r'id="data">(.*?)</script>', file.read_text(), re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found.group(1))
    return data


def test_every_sweep_leaves_its_page_beside_the_summary(finished: Path) -> None:
    data = data_of(finished / "report.html")
    assert data["rows"]["status"] == ["completed", "completed"]
    assert [finished / href for href in data["rows"]["href"]] == sorted(
        (path.parent for path in finished.glob("*/result.json")), key=lambda path: path.name.split("_n-")[1]
    )
    assert sorted(data["timelines"]["shown"]) == ["0", "1"]
    time = data["timelines"]["shown"]["0"]
    assert {"baseline", "prefill", "decode"} <= {band[0] for band in time["bands"]}
    assert len(time["boards"][0]["power"][0]) > 5
    assert (finished / "report.html").stat().st_size < 2_000_000


def test_a_page_made_anew_is_the_same(folder: Path, finished: Path) -> None:
    before = (finished / "report.html").read_bytes()
    assert report_sweep(finished).report == finished / "report.html"
    assert (finished / "report.html").read_bytes() == before
    (folder / "report.html").unlink()
    assert main(["report", str(folder)]) == 0
    assert (folder / "report.html").is_file()


def test_the_command_tells_where_the_page_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(folder)]) == 0
    assert f"report: {folder / 'report.html'}" in capsys.readouterr().out


def test_a_page_elsewhere_links_back_to_the_folder(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "pages" / "page.html"
    assert report_sweep(folder, output=file, timelines=1).report == file
    data = data_of(file)
    assert all((file.parent / href).is_dir() for href in data["rows"]["href"])
    assert len(data["timelines"]["shown"]) == 1


def test_a_folder_that_cannot_be_written_is_read_all_the_same(folder: Path) -> None:
    (folder / "report.html").unlink()
    (folder / "report.html").mkdir()
    result = report_sweep(folder)
    assert result.report is None
    assert result.completed == 2
    assert "the report wasn't written: " in result.warnings[0]
    assert "--output FILE" in result.warnings[0]
    with pytest.raises(OutputError, match=r"can't write .*report\.html"):
        report_sweep(folder, output=folder / "report.html")


@pytest.mark.parametrize("error", [ValueError("a fault of our own"), OutputError("no space")])
def test_a_page_that_fails_loses_neither_result_nor_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(*args: object, **options: object) -> bytes:
        raise error

    monkeypatch.setattr("llem_sweep.sweep.report_page", broken)
    result = run_sweep(quick(), output=tmp_path, simulate_gpus=1, inline=True)
    assert (result.completed, result.exit_code, result.report) == (2, 0, None)
    assert str(error.args[0]) in result.warnings[0]
    assert f"llem-sweep report {result.folder} tries again" in result.warnings[0]
    assert (result.folder / "summary.csv").is_file()
    assert '"event": "ended"' in (result.folder / "journal.jsonl").read_text().replace('":"', '": "')


def test_samples_that_are_gone_leave_a_page_that_says_so(folder: Path) -> None:
    for file in folder.glob("*/timeseries.parquet"):
        file.unlink()
    data = data_of(report_sweep(folder).report or Path())
    assert data["timelines"]["shown"] == {}
    assert "can't read" in data["timelines"]["absent"]["0"]


def test_what_was_refused_is_still_told_when_the_page_is_made_anew(tmp_path: Path) -> None:
    result = run_sweep(
        quick().model_copy(update={"sweep": {"gpus": (1, 4)}}), output=tmp_path, simulate_gpus=1, inline=True
    )
    assert [each.refusal.value for each in result.refused] == ["no_such_gpu"]
    assert result.report is not None
    before = result.report.read_bytes()
    again = report_sweep(result.folder)
    assert again.refused == result.refused
    assert result.report.read_bytes() == before
    assert result.refused[0].reason in html.unescape(before.decode())
    (result.folder / "summary.parquet").write_bytes(b"no table")
    with pytest.raises(StoreError, match=r"summary\.parquet can't be read"):
        report_sweep(result.folder)
    (result.folder / "summary.parquet").unlink()
    assert report_sweep(result.folder).refused == ()
