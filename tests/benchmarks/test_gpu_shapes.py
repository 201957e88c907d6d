"""The shipped shapes over precision and batch size: the file, and a rehearsal of what makes a table of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llem_sweep import load_results, load_sweep, plan_sweep

ROOT = Path(__file__).parents[2]


def test_the_file_has_both_sizes_over_precision_and_batch_size() -> None:
    plan = plan_sweep(load_sweep(ROOT / "sweeps" / "board.yaml"))
    points = {
        (Path(each.config.model).name, each.config.precision, each.config.pytorch.batch_size)
        for each in plan.experiments
    }
    sizes = ("dense-1b", "dense-8b")
    assert points >= {(model, "bf16", batch) for model in sizes for batch in (1, 8, 32)}
    assert len(points) == len(plan.experiments)
    assert not plan.skipped
    for each in plan.experiments:
        assert each.config.n % each.config.pytorch.batch_size == 0


def test_a_rehearsal_prints_what_was_found_and_that_nothing_was_measured(tmp_path: Path) -> None:
    grid = tmp_path / "one.yaml"
    grid.write_text("weights: random\nmodel: any\nsweep: {precision: [bf16], pytorch.batch_size: [8]}\n")
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "gpu_shapes.py", "--simulate", "--sweep", grid],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "build" / "gpu_shapes").iterdir()
    told = (folder / "table.md").read_text(encoding="utf-8")
    assert told in done.stdout
    assert "Simulated GPU (simulated: no measurement)" in told
    head, _, cells = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in told.splitlines() if "|" in line
    )
    found = dict(zip(head, cells, strict=True))
    (result,) = load_results(folder).to_pylist()
    assert (found["model"], found["precision"], found["batch"]) == ("tiny-llama", "bf16", "8")
    assert float(found["tokens/s"]) == round(result["avg_tokens_per_second"], 1)
    for name, column, digits in (
        ("J/token", "avg_energy_per_token", 4),
        ("prefill J", "phases.prefill.energy", 1),
        ("decode J", "phases.decode.energy", 1),
    ):
        # On a busy machine a window this short may not resolve its phases.
        wanted = [result.get(f"{column}_j"), result.get(f"{column}_uncertainty_j")]
        rounded = [None if each is None else round(each, digits) for each in wanted]
        assert [_number(each) for each in found[name].split(" ± ")] == rounded, name
    assert result["avg_energy_per_token_j"] is not None
    whole_s = float(found["prefill s"]) + float(found["decode s"])
    assert whole_s == pytest.approx(result["total_inference_time_sec"], abs=0.011)
    # There is no board whose peaks could have been used.
    assert (found["MFU %"], found["MBU %"], found["publishable"]) == ("–", "–", "no")


def _number(cell: str) -> float | None:
    return None if cell == "–" else float(cell)
