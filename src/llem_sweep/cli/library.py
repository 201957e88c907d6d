"""What the command line calls of the package, imported when it is called: help must not wait for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from llem_sweep.analysis import Format, Per
    from llem_sweep.config.sweep import SweepConfig
    from llem_sweep.drawing import Wanted
    from llem_sweep.execution.doctor import Examination
    from llem_sweep.execution.progress import SweepView
    from llem_sweep.report.compare import Comparison
    from llem_sweep.report.footprint import Rates
    from llem_sweep.sweep import DryRun, SweepResult
    from llem_sweep.verify import VerifyReport


class Where(NamedTuple):
    """Where a sweep is to run, as the command line says it."""

    simulate_gpus: int | None = None
    inline: bool = False
    address: str | None = None
    allow_remote_code: bool = False


class Going(NamedTuple):
    """How a sweep's folder is to be gone on with, as the command line says it."""

    extend: bool = False
    accept_changes: bool = False
    retry_failed: bool = False


class Library(Protocol):
    """One call for each thing a command does."""

    def load_sweep(self, path: Path, overrides: Sequence[str]) -> SweepConfig:
        """Read a sweep file."""

    def run_sweep(
        self,
        sweep: SweepConfig | None,
        *,
        output: Path | str,
        resume: Path | str | None,
        going: Going,
        where: Where,
        require_publishable: bool,
        view: SweepView,
    ) -> SweepResult:
        """Run a sweep, or complete a folder."""

    def dry_run(self, sweep: SweepConfig, where: Where) -> DryRun:
        """Plan a sweep and hold it against the GPUs there."""

    def report_sweep(
        self,
        folder: Path | str,
        *,
        output: Path | None,
        timelines: int | None,
        figures: Wanted | None,
    ) -> SweepResult:
        """Read a folder back, and write its page and the figures asked for."""

    def verify_results(self, folder: Path | str) -> VerifyReport:
        """Hold every result in a folder against its samples."""

    def compare(self, a: Path | str, b: Path | str, across: Collection[str]) -> Comparison:
        """Hold the configurations of two folders against each other."""

    def export(
        self,
        folders: Sequence[Path | str],
        form: Format,
        *,
        per: Per,
        rates: Rates | None,
        output: Path | str | None,
    ) -> str:
        """Results as text for other programs, written to a file if asked."""

    def examine(
        self, *, calibrate: bool, simulate_gpus: int | None, tell: Callable[[str], None]
    ) -> Examination:
        """Examine this machine, and calibrate its boards' sensors if asked."""

    def sweep_schema(self) -> dict[str, Any]:
        """The JSON Schema of sweep files."""


class Package:
    """The package itself."""

    def load_sweep(self, path: Path, overrides: Sequence[str]) -> SweepConfig:
        from llem_sweep.config.load import load_sweep

        return load_sweep(path, overrides)

    def run_sweep(
        self,
        sweep: SweepConfig | None,
        *,
        output: Path | str,
        resume: Path | str | None,
        going: Going,
        where: Where,
        require_publishable: bool,
        view: SweepView,
    ) -> SweepResult:
        from llem_sweep.sweep import run_sweep

        return run_sweep(
            sweep,
            output=output,
            resume=resume,
            require_publishable=require_publishable,
            view=view,
            **going._asdict(),
            **where._asdict(),
        )

    def dry_run(self, sweep: SweepConfig, where: Where) -> DryRun:
        from llem_sweep.sweep import dry_run

        return dry_run(sweep, **where._asdict())

    def report_sweep(
        self,
        folder: Path | str,
        *,
        output: Path | None,
        timelines: int | None,
        figures: Wanted | None,
    ) -> SweepResult:
        from llem_sweep.sweep import report_sweep

        how = {} if timelines is None else {"timelines": timelines}
        return report_sweep(folder, output=output, figures=figures, **how)

    def verify_results(self, folder: Path | str) -> VerifyReport:
        from llem_sweep.verify import verify_results

        return verify_results(folder)

    def compare(self, a: Path | str, b: Path | str, across: Collection[str]) -> Comparison:
        from llem_sweep.analysis import compare

        return compare(a, b, across=across)

    def export(
        self,
        folders: Sequence[Path | str],
        form: Format,
        *,
        per: Per,
        rates: Rates | None,
        output: Path | str | None,
    ) -> str:
        from llem_sweep.analysis import export

        return export(folders, form, per=per, rates=rates, output=output)

    def examine(
        self, *, calibrate: bool, simulate_gpus: int | None, tell: Callable[[str], None]
    ) -> Examination:
        from llem_sweep.execution.doctor import examine

        return examine(calibrate=calibrate, simulate_gpus=simulate_gpus, tell=tell)

    def sweep_schema(self) -> dict[str, Any]:
        from llem_sweep.config.schema import sweep_json_schema

        return sweep_json_schema()
