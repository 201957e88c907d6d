"""Mistakes of earlier tools, looked for through the whole flow: from a sweep file to what is on disk."""

from __future__ import annotations

import csv
import json
import resource
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from llem_sweep import ExperimentResult, SweepConfig, load_result, load_results, load_sweep, run_sweep
from llem_sweep.cli.app import main
from llem_sweep.results.warnings import WarningCode
from llem_sweep.sweep import SilentView, SweepResult
from probe_backend import Probe, install_probe

QUICK: dict[str, Any] = {
    "model": "acme/made-up-7b",
    "backend": "synthetic",
    "n": 8,
    "energy": {"backend": "null"},
    "warmup": {"enabled": False},
}

MakeSweep = Callable[..., SweepConfig]


@pytest.fixture
def grid(tmp_path: Path) -> Callable[..., Path]:
    """Write a sweep that takes no time and measures no energy, unless ``fields`` say so; its path."""

    def write(**fields: Any) -> Path:
        path = tmp_path / "grid.yaml"
        path.write_text(yaml.safe_dump(QUICK | fields, sort_keys=False))
        return path

    return write


@pytest.fixture
def make_sweep(grid: Callable[..., Path]) -> MakeSweep:
    """The same, loaded."""
    return lambda **fields: load_sweep(grid(**fields))


@pytest.fixture
def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Probe:
    return install_probe(tmp_path / "site", monkeypatch)


def run(sweep: SweepConfig, output: Path, gpus: int = 1, **options: Any) -> SweepResult:
    return run_sweep(sweep, output=output, inline=True, simulate_gpus=gpus, **options)


def results(folder: Path) -> list[ExperimentResult]:
    """What is on disk, read again."""
    return [load_result(path) for path in sorted(folder.rglob("result.json"))]


def events(folder: Path, name: str) -> list[dict[str, Any]]:
    lines = map(json.loads, (folder / "journal.jsonl").read_text().splitlines())
    return [line for line in lines if line["event"] == name]


# What was measured


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> SweepResult:
    """One experiment on two boards, with baseline, warm-up and a window that the sensors resolve."""
    sweep = SweepConfig(
        name="measured",
        shared=QUICK
        | {
            "gpus": 2,
            "energy": {"backend": "auto"},
            "baseline": {"duration_seconds": 0.5},
            "warmup": {"n_warmup": 2, "thermal_floor_seconds": 0.3},
            "synthetic": {"run_seconds": 0.8, "output_tokens": 16},
        },
        sweep={"precision": ("fp16",)},
    )
    return run(sweep, tmp_path_factory.mktemp("measured"), gpus=2)


@pytest.fixture
def stored(measured: SweepResult) -> ExperimentResult:
    (result,) = results(measured.folder)
    return result


def test_nothing_computed_is_lost_on_the_way_to_disk(stored: ExperimentResult) -> None:
    present = {name for name, value in stored if value not in (None, (), "")}
    later = {"aggregation", "process_results", "steady_state_window"}
    # It ran alone, beside a simulated board.
    alone = {"neighbours", "host_energy"}
    flops = {"total_flops", "flops_per_output_token", "flops_per_input_token", "flops_per_second"}
    assert present == set(ExperimentResult.model_fields) - later - flops - alone
    assert stored.energy_breakdown is not None
    for part in (
        stored.energy_breakdown,
        stored.warmup_result,
        stored.latency_stats,
        stored.extended_metrics,
        stored.sampler,
    ):
        assert part is not None
        unknown = {name for name, value in part if value is None}
        # Convergence, settling and compiling weren't asked for, and only real boards have a gain error.
        slopes = {"temperature_slope_c_per_s", "power_slope_pct_per_s"}
        assert unknown <= {"converged", "settled", "compilation", "gain_error_pct"} | slopes, part
    assert stored.warmup_result is not None
    assert len(stored.warmup_result.latencies_ms) == 2


def test_the_parts_of_a_result_agree_with_each_other(stored: ExperimentResult) -> None:
    breakdown = stored.energy_breakdown
    assert breakdown is not None
    assert len(stored.energy_per_device_j) == 2
    assert len(set(stored.energy_per_device_j)) == 2, "each board has an energy of its own"
    assert stored.total_energy_j == breakdown.raw_j == sum(stored.energy_per_device_j)  # type: ignore[arg-type]
    assert stored.energy_adjusted_j == breakdown.adjusted_j
    assert stored.baseline_power_w == breakdown.baseline_power_w
    assert stored.multi_gpu is not None
    assert stored.multi_gpu.energy_per_gpu_j == stored.energy_per_device_j
    assert stored.extended_metrics is not None
    assert stored.extended_metrics.energy_per_request_j == stored.total_energy_j / 8


def test_there_is_one_duration_and_every_rate_is_over_it(stored: ExperimentResult) -> None:
    window_s = stored.total_inference_time_sec
    assert window_s == pytest.approx(0.8, abs=0.2)
    assert (stored.end_time - stored.start_time).total_seconds() == pytest.approx(window_s, abs=2e-6)
    assert stored.avg_tokens_per_second == pytest.approx(stored.output_tokens / window_s)
    assert stored.avg_energy_per_token_j == pytest.approx(stored.total_energy_j / stored.output_tokens)  # type: ignore[operator]
    assert stored.energy_adjusted_j == pytest.approx(
        stored.total_energy_j - stored.baseline_power_w * window_s  # type: ignore[operator]
    )


def test_the_sidecar_is_beside_the_result_under_the_name_it_gives(measured: SweepResult) -> None:
    (path,) = measured.folder.rglob("result.json")
    names = ["requests.parquet", "result.json", "timeseries.parquet"]
    assert sorted(entry.name for entry in path.parent.iterdir()) == names
    assert [further.name for further in load_result(path).further_files or ()] == ["requests.parquet"]
    assert load_result(path).timeseries == "timeseries.parquet"
    assert list(measured.folder.rglob("*.parquet")).count(path.parent / "timeseries.parquet") == 1
    table = pq.read_table(path.parent / "timeseries.parquet")
    in_window = [row for row in table.to_pylist() if row["in_window"]]
    assert {row["device"] for row in in_window} == {0, 1}
    result = load_result(path)
    assert result.sampler is not None
    assert min(Counter(row["device"] for row in in_window).values()) == result.sampler.samples


def test_folders_are_named_after_model_backend_and_what_was_varied(
    make_sweep: MakeSweep, tmp_path: Path
) -> None:
    points = {"sweep": {"decoder.temperature": [0.5, 0.7], "n": [4, 8]}}
    folder = run(make_sweep(**points), tmp_path / "out").folder
    names = [path.parent.name for path in sorted(folder.rglob("result.json"))]
    expected = [
        f"made-up-7b_synthetic_temperature-{temperature}_n-{n}" for temperature in (0.5, 0.7) for n in (4, 8)
    ]
    assert [name.rpartition("_")[0] for name in names] == expected
    assert [one.effective_config.config["decoder"]["temperature"] for one in results(folder)] == [
        0.5,
        0.5,
        0.7,
        0.7,
    ]


def test_unknown_energy_is_null_everywhere_and_never_zero(make_sweep: MakeSweep, tmp_path: Path) -> None:
    """A window that no sensor resolves, and one without any sensor."""
    unknown: dict[WarningCode, dict[str, Any]] = {
        WarningCode.WINDOW_UNRESOLVED: {"energy": {"backend": "auto"}, "baseline": {"duration_seconds": 0.5}},
        WarningCode.ENERGY_OFF: {"energy": {"backend": "null"}},
        WarningCode.UNMETERED: {"gpus": 0},
    }
    for code, fields in unknown.items():
        folder = run(make_sweep(**fields), tmp_path / code).folder
        (path,) = folder.rglob("result.json")
        raw = json.loads(path.read_text())
        for name in ("total_energy_j", "avg_energy_per_token_j", "energy_adjusted_j"):
            assert raw[name] is None, (code, name)
        assert set(raw["energy_per_device_j"]) <= {None}
        assert code in {warning["code"] for warning in raw["measurement_warnings"]}
        (row,) = csv.DictReader((folder / "summary.csv").open())
        assert row["total_energy_j"] == row["avg_energy_per_token_j"] == row["energy_adjusted_j"] == ""
        assert pq.read_table(folder / "summary.parquet")["total_energy_j"].to_pylist() == [None]
        assert load_results(folder)["total_energy_j"].to_pylist() == [None]


# What the sweep does


def test_a_model_is_loaded_once_for_all_points_that_need_it(
    probe: Probe, make_sweep: MakeSweep, tmp_path: Path
) -> None:
    sweep = make_sweep(backend="probe", sweep={"model": ["acme/a", "acme/b"], "n": [1, 2, 3, 4]})
    assert run(sweep, tmp_path).completed == 8
    assert probe.loads == ["acme/a", "acme/b"]
    assert probe.closed[:1] == ["acme/a"], "let go before the next one was loaded"


def test_a_model_whose_inference_raises_is_let_go_and_the_next_point_runs(
    probe: Probe, make_sweep: MakeSweep, tmp_path: Path
) -> None:
    probe.fails = frozenset({"fp16"})
    in_order = {"cycle_order": "sequential"}
    sweep = make_sweep(backend="probe", sweep={"precision": ["fp32", "fp16", "bf16"]}, execution=in_order)
    result = run(sweep, tmp_path)
    assert [row["status"] for row in result.table.to_pylist()] == ["completed", "failed", "completed"]
    assert len(probe.loads) == 2, "loaded again, because it was released"
    assert len(probe.closed) >= 1


def test_equal_points_run_once(probe: Probe, make_sweep: MakeSweep, tmp_path: Path) -> None:
    sweep = make_sweep(
        backend="probe",
        n=4,
        sweep={"precision": ["fp32", "fp32", "bf16"]},
        include=[{"precision": "bf16"}, {"decoder": {"temperature": 1.0}, "precision": "fp32"}],
    )
    result = run(sweep, tmp_path)
    assert (result.completed, result.failed) == (2, 0)
    assert sorted(probe.batches) == [("bf16", 0), ("fp32", 0)]


def test_the_output_path_is_no_part_of_an_experiments_identity(make_sweep: MakeSweep, tmp_path: Path) -> None:
    sweep = make_sweep(sweep={"n": [1, 2]})
    ids = [
        [(one.experiment_id, one.measurement_config_hash) for one in results(run(sweep, output).folder)]
        for output in (tmp_path / "one", tmp_path / "elsewhere" / "two")
    ]
    assert ids[0] == ids[1]


def test_two_runs_within_a_second_never_share_a_folder(make_sweep: MakeSweep, tmp_path: Path) -> None:
    sweep = make_sweep()
    folders = [run(sweep, tmp_path / "out").folder for _ in range(4)]
    assert len(set(folders)) == 4
    assert len({folder.name[: len("grid_2026-01-01T00-00-00")] for folder in folders}) < 4, "within a second"
    assert [len(results(folder)) for folder in folders] == [1] * 4


@pytest.mark.parametrize("name", ["../../escaped", "/etc/escaped", "..", "a/b\\c", "-rf ~", "\x1b[2Jx"])
def test_no_name_leads_out_of_the_output_folder(make_sweep: MakeSweep, tmp_path: Path, name: str) -> None:
    output = tmp_path / "deep" / "er" / "out"
    sweep = make_sweep(name=name, model="acme/../../../escaped")
    folder = run(sweep, output).folder
    assert folder.parent == output
    assert list(output.iterdir()) == [folder]
    assert all(path.is_relative_to(folder) for path in tmp_path.rglob("result.json"))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["deep", "grid.yaml"]


@pytest.mark.parametrize(
    ("point", "exit_code"),
    [
        ({}, 0),
        ({"synthetic": {"fail_at": "run"}}, 1),
        ({"sweep": {"synthetic.fail_at": ["load", "oom"]}}, 1),
        ({"sweep": {"synthetic.fail_at": [None, "run"]}}, 1),
        ({"sweep": {"gpus": [1, 2]}}, 1),
        ({"gpus": 2}, 3),
        ({"synthetic": {"fail_at": "die"}}, 2),
    ],
)
def test_the_exit_code_tells_of_failures(
    grid: Callable[..., Path], tmp_path: Path, point: dict[str, Any], exit_code: int
) -> None:
    line = [str(grid(**point)), "--inline", "--simulate-gpus", "1", "--output", str(tmp_path / "out"), "-q"]
    assert main(line) == exit_code


def test_a_dry_run_computes_nothing_and_writes_nothing(
    probe: Probe, grid: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = grid(backend="probe", sweep={"n": [1, 2]})
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    for options in (["--inline"], [], ["--output", str(work / "out")]):
        assert main([str(path), "--dry-run", "--simulate-gpus", "1", "-q", *options]) == 0
    assert (probe.loads, probe.batches) == ([], [])
    assert list(work.iterdir()) == []


class FullDisk(SilentView):
    """From when it is first told of the sweep's folder no file can grow beyond ``LIMIT_BYTES``."""

    LIMIT_BYTES = 150_000

    def message(self, text: str) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.LIMIT_BYTES, hard))


@pytest.fixture
def full_disk() -> Iterator[FullDisk]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield FullDisk()
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_result_that_cannot_be_saved_is_a_failed_experiment(
    probe: Probe, make_sweep: MakeSweep, tmp_path: Path, full_disk: FullDisk
) -> None:
    probe.remark = "x" * 200_000
    result = run(make_sweep(backend="probe"), tmp_path / "out", view=full_disk)
    assert (result.completed, result.failed, result.exit_code) == (0, 1, 1)
    (row,) = pq.read_table(result.folder / "summary.parquet").to_pylist()
    assert (row["status"], row["failure_stage"]) == ("failed", "save")
    assert not events(result.folder, "completed")
    assert [event["kind"] for event in events(result.folder, "failed")] == ["save_failed"]
    assert not list(result.folder.rglob("result.json*"))
    assert not list(result.folder.rglob("timeseries*"))
    assert len(list(result.folder.rglob("failure.json"))) == 1
    assert load_results(result.folder).num_rows == 0
