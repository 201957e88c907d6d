"""From a sweep's folder to its figures."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from llem_sweep import run_sweep
from llem_sweep.cli.app import main
from llem_sweep.config.sweep import SweepConfig
from llem_sweep.drawing import Wanted
from llem_sweep.errors import ConfigError, OutputError
from llem_sweep.store.layout import FIGURES, TIMESERIES
from llem_sweep.sweep import report_sweep

SVG = Wanted(("svg",))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep of two configurations on a simulated board."""
    shared = {
        "model": "acme/made-up-7b",
        "backend": "synthetic",
        "synthetic": {"run_seconds": 0.4},
        "baseline": {"duration_seconds": 0.5, "after_seconds": 0.0},
        "warmup": {"n_warmup": 1, "thermal_floor_seconds": 0.0},
    }
    sweep = SweepConfig(name="drawn", shared=shared, sweep={"n": (2, 3)}, source="model: acme\n")
    return run_sweep(sweep, output=tmp_path_factory.mktemp("out"), simulate_gpus=1, inline=True).folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(finished, tmp_path / finished.name))


def experiments(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in folder.glob("*/result.json"))


def test_figures_are_drawn_beside_the_report(folder: Path) -> None:
    drawn = report_sweep(folder, figures=Wanted()).figures
    assert drawn is not None
    [best] = [name for name in drawn.files if name.startswith("timeline_") and name.endswith(".svg")]
    assert best.removeprefix("timeline_").removesuffix(".svg") in experiments(folder)
    stems = {"pareto", "energy_per_token", "phases", "devices", best.removesuffix(".svg")}
    assert set(drawn.files) == {f"{stem}.{kind}" for stem in stems for kind in ("svg", "pdf")}
    assert [(each.name, each.reason) for each in drawn.left_out] == [
        ("heatmap", "fewer than two things vary")
    ]
    assert {path.name for path in (folder / FIGURES).iterdir()} == set(drawn.files)
    for name in drawn.files:
        content = (folder / FIGURES / name).read_bytes()
        assert content.startswith(b"%PDF" if name.endswith("pdf") else b"<svg")
        if name.endswith("svg"):
            assert b"no measurement" in content
    assert b", cycle 1" in (folder / FIGURES / best).read_bytes()


def test_a_timeline_is_of_whatever_experiment_is_asked_for(folder: Path) -> None:
    first, second = experiments(folder)
    drawn = report_sweep(folder, figures=Wanted(("svg",), (first, f"{folder}/{second}/"))).figures
    assert drawn is not None
    timelines = {name for name in drawn.files if name.startswith("timeline_")}
    assert timelines == {f"timeline_{first}.svg", f"timeline_{second}.svg"}
    with pytest.raises(ConfigError, match="no completed experiment is in a folder called nowhere"):
        report_sweep(folder, figures=Wanted(("svg",), ("nowhere",)))


def test_a_sidecar_that_cant_be_read_costs_its_timeline_alone(folder: Path) -> None:
    first, second = experiments(folder)
    (folder / first / TIMESERIES).unlink()
    (folder / second / TIMESERIES).write_bytes(b"no parquet")
    drawn = report_sweep(folder, figures=Wanted(("svg",), (first, second))).figures
    assert drawn is not None
    reasons = {each.name: each.reason for each in drawn.left_out}
    assert "can't read" in reasons[f"timeline_{first}"]
    assert "the sidecar can't be read" in reasons[f"timeline_{second}"]
    assert "pareto.svg" in drawn.files


def test_a_figure_that_cant_be_drawn_any_more_doesnt_stay(folder: Path) -> None:
    (folder / FIGURES).mkdir()
    (folder / FIGURES / "heatmap.pdf").write_bytes(b"of another time")
    (folder / FIGURES / "mine.pdf").write_bytes(b"the user's")
    report_sweep(folder, figures=SVG)
    assert not (folder / FIGURES / "heatmap.pdf").exists()
    assert (folder / FIGURES / "mine.pdf").exists()


def test_figures_go_where_the_report_goes(folder: Path, tmp_path: Path) -> None:
    drawn = report_sweep(folder, output=tmp_path / "elsewhere" / "page.html", figures=SVG).figures
    assert drawn is not None
    assert drawn.folder == tmp_path / "elsewhere" / FIGURES
    assert (drawn.folder / "pareto.svg").is_file()
    assert not (folder / FIGURES).exists()


def test_a_place_that_cant_be_written_is_an_error(folder: Path) -> None:
    (folder / FIGURES).write_bytes(b"a file in the way")
    with pytest.raises(OutputError, match="can't"):
        report_sweep(folder, figures=SVG)


def test_a_folder_with_figures_is_whole(folder: Path) -> None:
    report_sweep(folder, figures=SVG)
    (folder / FIGURES / ".pareto.svg.partial").write_bytes(b"cut off")
    result = run_sweep(resume=folder)
    assert (result.exit_code, result.completed) == (0, 2)
    assert (folder / FIGURES / "pareto.svg").is_file()
    assert not (folder / ".damaged").exists()


def test_figures_are_asked_for_on_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(folder), "--figures", "--format", "svg"]) == 0
    printed = capsys.readouterr().out
    assert "Figures: 5 files in " in printed
    assert "Not drawn: heatmap: fewer than two things vary" in printed
    assert not list((folder / FIGURES).glob("*.pdf"))


def test_without_asking_nothing_is_drawn(folder: Path) -> None:
    assert report_sweep(folder).figures is None
    assert not (folder / FIGURES).exists()


def test_numbers_in_a_figure_are_those_of_the_summary(folder: Path) -> None:
    report_sweep(folder, figures=SVG)
    energies = pq.read_table(folder / "summary.parquet")["avg_energy_per_token_j"].to_pylist()
    svg = (folder / FIGURES / "energy_per_token.svg").read_text()
    for energy_j in energies:
        assert any(f"{energy_j * factor:.3g}" in svg for factor in (1.0, 1e3)), energy_j
