"""Finished sweeps and plans to be printed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

from factories import START, make_plan, make_result_of
from llem_sweep.cli.listing import show
from llem_sweep.plan.types import PlannedExperiment, RefusedExperiment, SkippedPoint, SweepPlan
from llem_sweep.report.summary import energy_by_board, summary_table
from llem_sweep.results.failure import FailureRecord
from llem_sweep.results.outcome import FailureKind, Stage
from llem_sweep.sweep import SweepResult

GRID: dict[str, Any] = {
    "shared": {"model": "meta-llama/Llama-3.1-8B"},
    "sweep": {"precision": ["fp32", "bf16"], "pytorch.batch_size": [1, 8]},
}

MakeResult = Callable[..., SweepResult]
Printed = Callable[..., str]


@pytest.fixture
def grid_plan() -> SweepPlan:
    """Four experiments, precision × batch size."""
    return make_plan(**GRID)


@pytest.fixture
def make_sweep_result(grid_plan: SweepPlan) -> MakeResult:
    """Makes a finished sweep in which the experiments at ``failed`` failed and the rest completed.

    ``fields`` are those of every result, ``each`` gives those of one.
    """

    def make(
        plan: SweepPlan = grid_plan,
        *,
        failed: dict[int, str] | None = None,
        refused: Sequence[RefusedExperiment] = (),
        pending: Sequence[int] = (),
        skipped: Sequence[SkippedPoint] = (),
        interrupted: bool = False,
        warnings: Sequence[str] = (),
        folder: str = "/results/grid_20260304-050607",
        each: Callable[[PlannedExperiment], dict[str, Any]] = lambda planned: {},
        **fields: Any,
    ) -> SweepResult:
        failed = failed or {}
        unfit = {each.experiment.experiment_id for each in refused}
        results = [
            (f"folder{number}", make_result_of(planned, **fields | each(planned)))
            for number, planned in enumerate(plan.experiments)
            if number not in failed and number not in pending and planned.experiment_id not in unfit
        ]
        failures = [
            (f"failure{number}", _failure(plan.experiments[number], message))
            for number, message in failed.items()
        ]
        return SweepResult(
            folder=Path(folder),
            table=summary_table(plan, results, failures, refused),
            boards=energy_by_board(results),
            completed=len(results),
            failed=len(failures),
            refused=tuple(refused),
            skipped=tuple(skipped),
            interrupted=interrupted,
            warnings=tuple(warnings),
        )

    return make


@pytest.fixture
def printed() -> Printed:
    """What reaches a terminal of a given width, without colours."""

    def on_console(parts: Sequence[RenderableType], width: int = 140) -> str:
        console = Console(width=width, markup=False, emoji=False, highlight=False, color_system=None)
        with console.capture() as capture:
            show(console, parts)
        return capture.get()

    return on_console


def _failure(planned: PlannedExperiment, message: str) -> FailureRecord:
    return FailureRecord(
        experiment_id=planned.experiment_id,
        attempt=1,
        final=True,
        stage=Stage.LOAD,
        kind=FailureKind.OUT_OF_MEMORY,
        message=message,
        traceback="",
        log_tail="",
        worker="node7/gpu0",
        time=START,
        config={},
    )
