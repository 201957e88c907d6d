"""The shipped shapes on one board: energy per token, by phase, and the share of the board's peaks that was used.

    python benchmarks/gpu_shapes.py [--sweep sweeps/board.yaml] [--output build/gpu_shapes]
    python benchmarks/gpu_shapes.py --simulate

Runs the sweep in this process, without Ray, on the first board that it may use, and prints the table as Markdown,
which is also written into the sweep's folder, as ``table.md``. With ``--simulate`` the smallest shape takes the
others' place, on a simulated board, and everything printed says so. What was interrupted goes on by
``llem-sweep --resume``.

Exit code 1 when an experiment didn't complete.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from llem_sweep import ExperimentResult, load_sweep, run_sweep
from llem_sweep.errors import LlemSweepError
from llem_sweep.execution.progress import FailureNote
from llem_sweep.results.parts import PhaseMetrics
from llem_sweep.store.sweeps import read_sweep
from llem_sweep.sweep import SilentView

ROOT = Path(__file__).parents[1]
SWEEP = ROOT / "sweeps" / "board.yaml"
OUTPUT = Path("build/gpu_shapes")
REHEARSAL = (
    f"model={ROOT / 'sweeps' / 'models' / 'tiny-llama'}",
    "dataset.n=32",
    "dataset.input_len=32",
    "dataset.output_len=16",
    "measurement.min_duration_seconds=1",
    "baseline.duration_seconds=1",
    "baseline.after_seconds=0",
    "warmup.thermal_floor_seconds=0",
)
"""What it overrides."""
COLUMNS = (
    "model",
    "precision",
    "batch",
    "tokens/s",
    "J/token",
    "prefill s",
    "prefill J",
    "decode s",
    "decode J",
    "MFU %",
    "MBU %",
    "memory GB",
    "publishable",
)


class Telling(SilentView):
    """Prints what happens as it happens."""

    def message(self, text: str) -> None:
        print(text, flush=True)

    def failed(self, note: FailureNote) -> None:
        print(f"{note.experiment} failed ({note.stage}): {note.message}", flush=True)


def row(result: ExperimentResult) -> tuple[str, ...]:
    """One experiment, cell by cell; unknown is ``–``."""
    config = result.effective_config.config
    extended = result.extended_metrics
    hardware = extended.hardware if extended else None
    memory = extended.memory if extended else None
    phases = result.phases
    return (
        Path(result.model).name,
        str(config["precision"]),
        str(config["pytorch"]["batch_size"]),
        f"{result.avg_tokens_per_second:.1f}",
        bounded(result.avg_energy_per_token_j, result.avg_energy_per_token_uncertainty_j, 4),
        *phase(phases.prefill if phases else None),
        *phase(phases.decode if phases else None),
        percent(hardware.model_flops_utilisation if hardware else None),
        percent(hardware.memory_bandwidth_utilisation if hardware else None),
        number(memory.peak_memory_mb / 1000 if memory and memory.peak_memory_mb else None, 2),
        "yes" if result.verdict is not None and result.verdict.publishable else "no",
    )


def phase(metrics: PhaseMetrics | None) -> tuple[str, str]:
    """Time and energy of a phase, all of the window's batches together."""
    if metrics is None:
        return ("–", "–")
    return number(metrics.time_s, 2), bounded(metrics.energy_j, metrics.energy_uncertainty_j, 1)


def number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def bounded(value: float | None, bound: float | None, digits: int) -> str:
    return f"{number(value, digits)} ± {number(bound, digits)}"


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"


def table(results: Iterable[ExperimentResult]) -> str:
    """All experiments as Markdown, in the order of the grid: by model, precision and batch size."""

    def place(result: ExperimentResult) -> tuple[str, str, int]:
        config = result.effective_config.config
        return result.model, config["precision"], config["pytorch"]["batch_size"]

    rows: list[Sequence[str]] = [COLUMNS, ["---"] * len(COLUMNS), *map(row, sorted(results, key=place))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows) + "\n"


def about(result: ExperimentResult) -> str:
    """On what the sweep ran."""
    snapshot = result.environment_snapshot
    (board,) = snapshot.devices
    simulated = " (simulated: no measurement)" if result.simulated else ""
    return (
        f"{board.name}{simulated}, driver {board.driver_version or '–'}, {result.backend_version},"
        f" {result.start_time.date()}; energies with their {100 * (result.energy_coverage or 0):.0f} % bounds\n"
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sweep", type=Path, default=SWEEP)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--simulate", action="store_true", help="rehearse: the smallest shape, no board")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    try:
        sweep = load_sweep(given.sweep, REHEARSAL if given.simulate else ())
        outcome = run_sweep(
            sweep,
            output=given.output,
            inline=True,
            simulate_gpus=1 if given.simulate else None,
            view=Telling(),
        )
    except LlemSweepError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    results = [result for _, result in read_sweep(outcome.folder).results()]
    if results:
        text = f"{about(results[0])}\n{table(results)}"
        (outcome.folder / "table.md").write_text(text, encoding="utf-8")
        print(text)
    print(f"{outcome.completed} completed, {outcome.failed} failed; see {outcome.folder}")
    return outcome.exit_code


if __name__ == "__main__":
    sys.exit(main())
