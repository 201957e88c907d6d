"""A dry run as printed: what would run here, in which order, and what wouldn't."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from llem_sweep.cli.colours import BAD, DOUBT, GOOD, HEADER
from llem_sweep.cli.escape import outside
from llem_sweep.cli.listing import refused_experiments, skipped_points
from llem_sweep.cli.wording import UNKNOWN, count, duration, energy, gigabytes, short_model
from llem_sweep.plan.values import point

if TYPE_CHECKING:
    from llem_sweep.plan.forecast import Forecast
    from llem_sweep.plan.memory import MemoryEstimate
    from llem_sweep.plan.types import ClusterShape, NodeShape, PlannedExperiment
    from llem_sweep.sweep import DryRun

HEAD, TAIL = 20, 5
"""Experiments shown of a longer plan, from its start and its end."""


class _Line(NamedTuple):
    number: int
    experiment: PlannedExperiment
    refused: str | None
    least: MemoryEstimate | None


def dry_run_report(dry: DryRun, *, verbose: bool = False) -> Iterator[RenderableType]:
    """Headline, the GPUs there, every experiment in order, and what is left out with its reason.

    Long plans are cut in the middle, and say so, unless ``verbose``.
    """
    refused = {each.experiment.experiment_id: each.reason for each in dry.admission.refused}
    lines = [
        _Line(
            number,
            experiment,
            refused.get(experiment.experiment_id),
            dry.memory.get(experiment.config_hash),
        )
        for number, experiment in enumerate(dry.plan.experiments, start=1)
    ]
    yield outside(headline(dry), "bold")
    yield Text("Nothing was started, and nothing written.")
    for warning in dry.plan.warnings:
        yield outside(f"warning: {warning}", DOUBT)
    yield Text()
    yield from _cluster(dry.cluster)
    if dry.forecast is not None:
        yield from _forecast(dry.forecast)
    yield Text()
    yield _experiments(lines, verbose)
    yield from skipped_points(dry.plan.skipped, verbose=verbose)
    yield from refused_experiments(dry.admission.refused, verbose=verbose)


def headline(dry: DryRun) -> str:
    """One line, for example ``quickstart: 8 experiments, 1 of them refused here; 2 points skipped``."""
    plan, parts = dry.plan, [f"{dry.plan.name}: {count(len(dry.plan.experiments), 'experiment')}"]
    if plan.execution.n_cycles > 1:
        parts.append(f" in {plan.execution.n_cycles} cycles")
    if dry.admission.refused:
        parts.append(f", {len(dry.admission.refused):,} of them refused here")
    if plan.skipped:
        parts.append(f"; {count(len(plan.skipped), 'point')} skipped")
    if plan.merged:
        parts.append(f"; {count(plan.merged, 'point')} left out for being equal to an earlier one")
    return "".join(parts)


def _cluster(cluster: ClusterShape) -> Iterator[Text]:
    gpus = sum(node.gpus for node in cluster.nodes)
    kind = "simulated GPU" if cluster.simulated else "GPU"
    where = "in this process" if cluster.inline else f"on {count(len(cluster.nodes), 'node')}"
    yield Text(f"{count(gpus, kind)} {where}", f"bold {DOUBT}" if cluster.simulated or not gpus else "bold")
    for node in cluster.nodes:
        yield outside(f"  {node.name}: {_offer(node, simulated=cluster.simulated)}")


def _forecast(forecast: Forecast) -> Iterator[Text]:
    """Ranges with what is expected, and the least that any order could take beside them."""
    took, used = forecast.makespan_s, forecast.energy_j
    yield Text(
        f"Expected: about {duration(took.expected)} ({duration(took.low)} to {duration(took.high)}), with"
        f" {count(forecast.loads, 'load')}; at best {duration(forecast.bound_s)} with the same estimates"
    )
    between = (
        f"about {energy(used.expected)} ({energy(used.low)} to {energy(used.high)})" if used else UNKNOWN
    )
    yield Text(f"Energy of the boards: {between}")


def _offer(node: NodeShape, *, simulated: bool) -> str:
    parts = []
    if node.gpus:
        board = node.board or "GPU"
        marked = " (simulated)" if simulated and "simulated" not in board.lower() else ""
        memory = f", {gigabytes(1e6 * node.board_memory_mb)} each" if node.board_memory_mb else ""
        parts.append(f"{node.gpus} × {board}{marked}{memory}")
    return ", ".join([*parts, f"{node.cpus:g} CPUs"])


def _experiments(lines: Sequence[_Line], verbose: bool) -> Table:
    cut = not verbose and len(lines) > HEAD + TAIL
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=HEADER)
    table.add_column("order", justify="right")
    table.add_column("model", overflow="fold")
    table.add_column("experiment", overflow="fold")
    table.add_column("cycle", justify="right")
    if told := any(line.least is not None for line in lines):
        table.add_column("least memory", justify="right")
    table.add_column("here", no_wrap=True)
    for line in lines[:HEAD] if cut else lines:
        table.add_row(*_cells(line, told))
    if cut:
        table.add_row("…", "", Text(f"{len(lines) - HEAD - TAIL:,} more; -v shows them"))
        for line in lines[-TAIL:]:
            table.add_row(*_cells(line, told))
    return table


def _cells(line: _Line, told: bool) -> tuple[RenderableType, ...]:
    return (
        f"{line.number:,}",
        outside(short_model(line.experiment.config.model)),
        outside(point(_other_fields(line.experiment))),
        str(line.experiment.cycle),
        *([gigabytes(line.least.total if line.least is not None else None)] if told else []),
        Text("runs", GOOD) if line.refused is None else Text("refused", BAD),
    )


def _other_fields(experiment: PlannedExperiment) -> dict[str, object]:
    return {name: value for name, value in experiment.varied.items() if name != "model"}
