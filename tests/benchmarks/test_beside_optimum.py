"""The comparison with optimum-benchmark, without it: one grid for both, what is read back, and the verdict."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors import safe_open

import beside_optimum
from beside.grid import FULL_WARM_UPS, Grid, Point, our_point, our_sweep, their_point, their_sweep
from beside.programs import TINY, Done, Program, Run, ours, run, save_checkpoint, theirs
from beside_optimum import FORK, INLINE, RAY, SPAWN
from llem_sweep import load_sweep, plan_sweep

GRID = Grid()
POINT = Point(1, 16, 8, 10)


def our_configs(folder: Path, grid: Grid = GRID) -> list[dict[str, Any]]:
    ours("ours").write(grid, TINY, folder)
    plan = plan_sweep(load_sweep(folder / "grid.yaml"))
    assert not plan.skipped
    return [experiment.config.model_dump(mode="json") for experiment in plan.experiments]


def their_configs(folder: Path, grid: Grid = GRID) -> list[dict[str, Any]]:
    """What Hydra makes of the file: every combination of the sweeper's lists, put in its place."""
    theirs("theirs", "spawn").write(grid, TINY, folder)
    written = (folder / "grid.yaml").read_text()
    lists = yaml.safe_load(written)["hydra"]["sweeper"]["params"]
    configs = []
    for values in product(*(str(each).split(",") for each in lists.values())):
        config = yaml.safe_load(written)
        for key, value in zip(lists, values, strict=True):
            *sections, last = key.split(".")
            section = config
            for name in sections:
                section = section[name]
            assert last in section, "Hydra refuses a key that isn't in the file"
            section[last] = int(value)
        generate = config["scenario"]["generate_kwargs"]
        assert generate["min_new_tokens"] == "${scenario.generate_kwargs.max_new_tokens}"
        generate["min_new_tokens"] = generate["max_new_tokens"]
        configs.append(config)
    return configs


@pytest.mark.parametrize("grid", [GRID, Grid((2,), (8, 9), (3, 4, 5), iterations=7), GRID.first])
def test_both_files_describe_the_same_points_once_each(tmp_path: Path, grid: Grid) -> None:
    ours_found = [our_point(config) for config in our_configs(tmp_path, grid)]
    theirs_found = [their_point(config) for config in their_configs(tmp_path, grid)]
    assert sorted(ours_found) == sorted(theirs_found) == sorted(grid.points)


def test_the_grid_has_twelve_points_of_one_model() -> None:
    assert len(GRID.points) == 12
    assert {point.iterations for point in GRID.points} == {GRID.iterations}


def test_both_compute_alike() -> None:
    our, their = our_sweep(GRID, TINY), their_sweep(GRID, TINY, "spawn", Path("out"))
    assert our["model"] == their["backend"]["model"]
    assert (our["precision"], their["backend"]["torch_dtype"]) == ("fp32", "float32")
    assert (our["gpus"], their["backend"]["device"]) == (0, "cpu")
    assert our["warmup"]["n_warmup"] == FULL_WARM_UPS + their["scenario"]["warmup_runs"]
    assert their["scenario"]["warmup_runs"] > 0, "0 would leave the whole batches out, too"


@pytest.mark.parametrize(
    ("section", "key", "value"), [("generate_kwargs", "min_new_tokens", 1), (None, "duration", 10)]
)
def test_work_that_isnt_fixed_is_refused(tmp_path: Path, section: str | None, key: str, value: int) -> None:
    config = their_configs(tmp_path)[0]
    scenario = config["scenario"]
    (scenario[section] if section else scenario)[key] = value
    with pytest.raises(ValueError, match="aren't fixed"):
        their_point(config)


def test_our_results_are_read_back(tmp_path: Path) -> None:
    config = our_configs(tmp_path, GRID.first)[0]
    path = tmp_path / "results" / "sweep" / "experiment" / "result.json"
    path.parent.mkdir(parents=True)
    result = {
        "effective_config": {"config": config, "backend": {"cpu_threads": 3}},
        "output_tokens": 80,
        "total_inference_time_sec": 1.5,
    }
    path.write_text(json.dumps(result))
    assert list(ours("ours").read(tmp_path)) == [Done(POINT, 1.5, 3)]
    path.write_text(json.dumps(result | {"output_tokens": 79}))
    with pytest.raises(RuntimeError, match="79 output tokens"):
        list(ours("ours").read(tmp_path))


def test_their_reports_are_read_back_with_the_iterations_that_were_run(tmp_path: Path) -> None:
    config = their_configs(tmp_path, GRID.first)[0]
    path = tmp_path / "out" / "0" / "benchmark.json"
    path.parent.mkdir(parents=True)
    report = {"generate": {"latency": {"count": 9, "total": 2.5}}}
    path.write_text(json.dumps({"config": config, "report": report}))
    assert list(theirs("theirs", "fork").read(tmp_path)) == [Done(POINT._replace(iterations=9), 2.5)]


def program(code: str, *done: Done) -> Program:
    def read(folder: Path) -> Iterator[Done]:
        assert (folder / "log").exists()
        yield from done

    return Program("it", lambda grid, model, folder: [sys.executable, "-c", code], read)


def test_a_sweep_is_timed_whole_on_the_threads_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    code = "import os; assert os.environ['OMP_NUM_THREADS'] == '2'; assert 'RAY_ADDRESS' not in os.environ"
    told = run(program(code, Done(POINT, 0.25, 2)), GRID.first, TINY, tmp_path / "it", 2)
    assert told.measured_s == 0.25
    assert told.wall_s > 0


@pytest.mark.parametrize(
    ("code", "done", "message"),
    [
        ("raise SystemExit('no such model')", [Done(POINT, 1.0)], r"ended with 1:\nno such model"),
        ("print('hello')", [], r"ran \[\], not .*\nhello"),
        ("pass", [Done(POINT, 1.0), Done(POINT, 1.0)], "ran .*, not"),
        ("pass", [Done(POINT._replace(iterations=9), 1.0)], "ran .*, not"),
        ("pass", [Done(POINT, 1.0, 1)], r"on \{1\} threads, not 2"),
    ],
)
def test_other_work_than_asked_for_is_no_time(
    tmp_path: Path, code: str, done: list[Done], message: str
) -> None:
    with pytest.raises(RuntimeError, match=message):
        run(program(code, *done), GRID.first, TINY, tmp_path / "it", 2)


def test_the_checkpoint_keeps_the_shipped_config_and_the_embedding(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "model")
    assert (tmp_path / "model" / "config.json").read_text() == (TINY / "config.json").read_text()
    assert (tmp_path / "model" / "tokenizer.json").exists()
    with safe_open(tmp_path / "model" / "model.safetensors", "pt") as weights:
        # Tied to the head; transformers 4 wants it under this name.
        assert "model.embed_tokens.weight" in weights.keys()  # noqa: SIM118 - not a dict


def test_every_program_runs_once_a_round_after_one_point_that_isnt_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int]] = []

    def ran(each: Program, grid: Grid, model: Path, folder: Path, threads: int) -> Run:
        seen.append((each.name, len(grid.points)))
        return Run(float(len(seen)), 1.0)

    monkeypatch.setattr(beside_optimum, "run", ran)
    monkeypatch.setattr(beside_optimum, "save_checkpoint", lambda folder: None)
    one, two = program("")._replace(name="one"), program("")._replace(name="two")
    runs = beside_optimum.compare((one, two), GRID, 2, 1, tmp_path)
    assert seen == [("one", 1), ("two", 1), ("one", 12), ("two", 12), ("two", 12), ("one", 12)]
    assert [each.wall_s for each in runs["one"]] == [3.0, 6.0]


def rounds(*walls_s: float, measured_s: float = 4.0) -> list[Run]:
    return [Run(wall_s, measured_s) for wall_s in walls_s]


def test_the_default_launcher_decides_and_every_figure_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    runs = {
        SPAWN: rounds(60.0, 64.0, 90.0),
        FORK: rounds(20.0, 21.0, 22.0),
        RAY: rounds(20.0, 20.0, 20.0),
        INLINE: rounds(10.0, 10.0, 12.0),
    }
    assert beside_optimum.report(runs, 12, 3.2)
    printed = capsys.readouterr().out
    assert (
        "takes 3.20 times as long as llem-sweep (median, rounds 3.00 to 4.50), target 3.2: reached" in printed
    )
    row = next(line for line in printed.splitlines() if line.startswith(SPAWN)).removeprefix(SPAWN)
    assert row.split() == ["64.0", "4.0", "6%", "60.0", "5.00", "3.20"]
    assert not beside_optimum.report(runs, 12, 3.3)
    assert "MISSED" in capsys.readouterr().out


def test_it_says_how_long_points_may_take_for_the_target_to_hold(capsys: pytest.CaptureFixture[str]) -> None:
    runs = {SPAWN: rounds(64.0), RAY: rounds(22.0)}
    beside_optimum.report(runs, 12, 2.0)
    # 60 s + 12 m = 2 (18 s + 12 m)
    assert "up to 2.0 s of measuring a point" in capsys.readouterr().out


def test_without_the_package_it_says_where_it_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(beside_optimum, "OPTIMUM", tmp_path)
    monkeypatch.setattr(sys, "argv", ["beside_optimum.py"])
    assert beside_optimum.main() == 3
    assert "make bench" in capsys.readouterr().out
