from __future__ import annotations

from collections.abc import Callable

import pytest

from factories import make_plan
from llem_sweep.cli.render_plan import dry_run_report
from llem_sweep.plan.forecast import Forecast, Range
from llem_sweep.plan.memory import MemoryEstimate
from llem_sweep.plan.types import (
    Admission,
    ClusterShape,
    NodeShape,
    Refusal,
    RefusedExperiment,
    SkippedPoint,
    SweepPlan,
)
from llem_sweep.sweep import DryRun

Printed = Callable[..., str]
CLUSTER = ClusterShape((NodeShape("node7", 4, 16.0, "NVIDIA H100 80GB HBM3", 85_520.8),))


def dry(
    plan: SweepPlan, refused: tuple[RefusedExperiment, ...] = (), cluster: ClusterShape = CLUSTER
) -> DryRun:
    unfit = {each.experiment.experiment_id for each in refused}
    admitted = tuple(each for each in plan.experiments if each.experiment_id not in unfit)
    return DryRun(plan, Admission(admitted, refused), cluster)


def test_experiments_are_listed_in_order(grid_plan: SweepPlan, printed: Printed) -> None:
    text = printed(dry_run_report(dry(grid_plan)))
    rows = [line.split() for line in text.splitlines() if line.rstrip().endswith("runs")]
    assert [row[:4] for row in rows] == [
        ["1", "Llama-3.1-8B", "precision=fp32", "batch_size=1"],
        ["2", "Llama-3.1-8B", "precision=fp32", "batch_size=8"],
        ["3", "Llama-3.1-8B", "precision=bf16", "batch_size=1"],
        ["4", "Llama-3.1-8B", "precision=bf16", "batch_size=8"],
    ]
    assert "grid: 4 experiments\nNothing was started, and nothing written.\n" in text


def test_the_gpus_there_are_named_with_their_memory_in_the_unit_of_the_estimates(
    grid_plan: SweepPlan, printed: Printed
) -> None:
    """NVML's bytes, which the facts hold by 10^6, are no whole number of any GiB."""
    text = printed(dry_run_report(dry(grid_plan)))
    assert "4 GPUs on 1 node\n  node7: 4 × NVIDIA H100 80GB HBM3, 85.5 GB each, 16 CPUs\n" in text


@pytest.mark.parametrize("board", ["Simulated GPU", "H100", None])
def test_simulated_boards_are_called_so(grid_plan: SweepPlan, printed: Printed, board: str | None) -> None:
    cluster = ClusterShape((NodeShape("here", 2, 2.0, board),), simulated=True)
    text = printed(dry_run_report(dry(grid_plan, cluster=cluster)))
    assert "2 simulated GPUs on 1 node" in text
    (line,) = [line for line in text.splitlines() if line.startswith("  here")]
    assert "imulated" in line


def test_the_forecast_is_a_range_with_the_least_possible_beside_it(
    grid_plan: SweepPlan, printed: Printed
) -> None:
    forecast = Forecast(Range(1800, 3600, 7200), 3000, 7, Range(1e6, 5e6, 2e7))
    text = printed(dry_run_report(dry(grid_plan)._replace(forecast=forecast)))
    assert (
        "Expected: about 1 h 00 min (30 min 00 s to 2 h 00 min), with 7 loads; at best 50 min 00 s with the same"
        " estimates\nEnergy of the boards: about 5.00 MJ (1.00 MJ to 20.0 MJ)\n" in text
    )
    text = printed(
        dry_run_report(dry(grid_plan)._replace(forecast=forecast._replace(energy_j=None, loads=1)))
    )
    assert "with 1 load;" in text
    assert "Energy of the boards: –\n" in text
    assert "Expected" not in printed(dry_run_report(dry(grid_plan))), "nothing can run"


def test_no_gpu_at_all_is_said(grid_plan: SweepPlan, printed: Printed) -> None:
    cluster = ClusterShape((NodeShape("laptop", 0, 8.0),), inline=True)
    text = printed(dry_run_report(dry(grid_plan, cluster=cluster)))
    assert "0 GPUs in this process\n  laptop: 8 CPUs\n" in text


def test_refused_skipped_merged_and_doubtful_points_are_told(grid_plan: SweepPlan, printed: Printed) -> None:
    plan = grid_plan._replace(
        skipped=(SkippedPoint({"decoder.temperature": 3.0}, "must be at most 2"),),
        merged=2,
        warnings=("runners has no effect",),
    )
    refused = (RefusedExperiment(plan.experiments[1], Refusal.NO_SUCH_GPU, "no node has 8 GPUs"),)
    text = printed(dry_run_report(dry(plan, refused)))
    assert (
        "grid: 4 experiments, 1 of them refused here; 1 point skipped; 2 points left out for being equal"
        " to an earlier one\n" in text
    )
    assert "no_such_gpu: no node has 8 GPUs\n    1 experiment: precision=fp32 batch_size=8\n" in text
    assert "must be at most 2\n    1 point: temperature=3.0\n" in text
    assert "warning: runners has no effect\n" in text
    (row,) = [line for line in text.splitlines() if line.rstrip().endswith("refused")]
    assert row.split()[0] == "2"


def test_a_long_plan_is_cut_in_the_middle_and_says_so(printed: Printed) -> None:
    run = dry(make_plan(400))
    text = printed(dry_run_report(run))
    assert "375 more; -v shows them" in text
    assert len(text.splitlines()) < 50
    assert "run_seconds=399.0" in text
    verbose = printed(dry_run_report(run, verbose=True))
    assert "more; -v" not in verbose
    assert sum(1 for line in verbose.splitlines() if line.rstrip().endswith("runs")) == 400


def test_the_least_memory_of_each_point_is_told_where_any_is_known(
    grid_plan: SweepPlan, printed: Printed
) -> None:
    run = dry(grid_plan)
    assert "least memory" not in printed(dry_run_report(run))
    estimate = MemoryEstimate(16_000_000_000, 2_000_000_000, 560_000_000)
    known = run._replace(memory={grid_plan.experiments[1].config_hash: estimate})
    rows = [line for line in printed(dry_run_report(known)).splitlines() if line.rstrip().endswith("runs")]
    assert [row.split()[-3:-1] for row in rows[:2]] == [["1", "–"], ["18.6", "GB"]]


def test_cycles_are_counted(printed: Printed) -> None:
    text = printed(dry_run_report(dry(make_plan(2, n_cycles=3))))
    assert "grid: 6 experiments in 3 cycles\n" in text


def test_nothing_is_wider_than_eighty_columns_except_text(grid_plan: SweepPlan, printed: Printed) -> None:
    text = printed(dry_run_report(dry(grid_plan)), 80)
    assert max(len(line) for line in text.splitlines()) <= 80
