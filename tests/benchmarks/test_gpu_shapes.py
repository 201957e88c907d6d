"""The shipped shapes over precision and batch size: the file, and a rehearsal of what makes a table of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
    energy, bound = found["J/token"].split(" ± ")
    assert float(energy) == round(result["avg_energy_per_token_j"], 4)
    assert float(bound) == round(result["avg_energy_per_token_uncertainty_j"], 4)
    prefill_j, decode_j = (float(found[name].split(" ± ")[0]) for name in ("prefill J", "decode J"))
    assert abs(prefill_j + decode_j - result["total_energy_j"]) < 0.2
    assert (
        abs(float(found["prefill s"]) + float(found["decode s"]) - result["total_inference_time_sec"]) < 0.02
    )
    # There is no board whose peaks could have been used.
    assert (found["MFU %"], found["MBU %"], found["publishable"]) == ("–", "–", "no")
