"""What each command does once its arguments are known: one library call, then printing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

from rich.console import Console

from llem_sweep.cli.complaints import command_hint
from llem_sweep.cli.escape import printable
from llem_sweep.cli.library import Going, Library, Where
from llem_sweep.cli.listing import show
from llem_sweep.cli.live import LiveView
from llem_sweep.cli.plain import PlainView, QuietView
from llem_sweep.cli.render_compare import compare_report
from llem_sweep.cli.render_doctor import doctor_report
from llem_sweep.cli.render_footprint import footprint_report
from llem_sweep.cli.render_plan import dry_run_report, headline
from llem_sweep.cli.render_summary import summary_report
from llem_sweep.cli.render_verify import verify_report
from llem_sweep.clock import SystemClock
from llem_sweep.errors import ConfigError, Problem
from llem_sweep.execution.progress import SweepView
from llem_sweep.report.footprint import Rates, totals
from llem_sweep.store.uri import shown

if TYPE_CHECKING:
    from llem_sweep.analysis import Format, Per
    from llem_sweep.drawing import Wanted

DEFAULT_OUTPUT = Path("results")


class Request(NamedTuple):
    """What the command line asks of a sweep."""

    grid: Path | None
    overrides: tuple[str, ...]
    resume: Path | str | None
    output: Path | str | None
    where: Where
    quiet: bool
    verbose: bool
    require_publishable: bool = False
    going: Going = Going()


def check_together(request: Request, *, dry_run: bool) -> None:
    """Refuse options that would have no effect beside the others, and files that aren't there.

    Raises ConfigError, for everything found at once.
    """
    grid, resume, where = request.grid, request.resume, request.where
    problems = []
    if grid is None and (resume is None or dry_run or request.overrides):
        problems.append(Problem("give a sweep file, for example: llem-sweep sweeps/quickstart.yaml"))
    if grid is not None and not grid.is_file():
        problems.append(Problem(_no_such_file(grid)))
    if resume is not None and dry_run:
        problems.append(Problem("--dry-run plans a new sweep: leave --resume out"))
    if resume is not None and request.output is not None:
        problems.append(Problem(f"--resume goes on in {shown(resume)}: leave --output out"))
    for option, asked in request.going._asdict().items():
        if asked and resume is None:
            problems.append(Problem(f"--{option.replace('_', '-')} goes on in a folder: give --resume DIR"))
    if request.going.extend and resume is not None and grid is None:
        problems.append(Problem(f"--extend adds to {shown(resume)} what a sweep file plans: give that file"))
    if where.address is not None and where.inline:
        problems.append(Problem("--inline uses no cluster: leave --address out"))
    if where.address is not None and where.simulate_gpus is not None:
        problems.append(Problem("--simulate-gpus starts a cluster of its own: leave --address out"))
    if dry_run and request.require_publishable:
        problems.append(Problem("--dry-run measures nothing: leave --require-publishable out"))
    if request.quiet and request.verbose:
        problems.append(Problem("--quiet and --verbose ask for opposites: leave one out"))
    if problems:
        raise ConfigError(problems)


def _no_such_file(grid: Path) -> str:
    if grid.is_dir():
        return (
            f"{grid} is a folder, not a sweep file\n"
            f"To complete it: llem-sweep --resume {grid}\nTo read it: llem-sweep report {grid}"
        )
    hint = command_hint(str(grid))
    return f"there is no file {grid}" + (f"\n{hint}" if hint else "")


def run(library: Library, request: Request) -> int:
    """Run or complete a sweep; returns its exit code."""
    sweep = library.load_sweep(request.grid, request.overrides) if request.grid is not None else None
    view = watch(sys.stderr, quiet=request.quiet, verbose=request.verbose)
    try:
        result = library.run_sweep(
            sweep,
            output=request.output or DEFAULT_OUTPUT,
            resume=request.resume,
            going=request.going,
            where=request.where,
            require_publishable=request.require_publishable,
            view=view,
        )
    finally:
        view.close()
    if request.quiet:
        print(printable(result.place))
    else:
        console = console_on(sys.stdout)
        show(console, summary_report(result, console.width, verbose=request.verbose))
    return result.exit_code


def plan(library: Library, request: Request) -> int:
    """Show what would run."""
    assert request.grid is not None, "the caller has checked that there is a sweep file"
    dry = library.dry_run(library.load_sweep(request.grid, request.overrides), request.where)
    if request.quiet:
        print(printable(headline(dry)))
    else:
        show(console_on(sys.stdout), dry_run_report(dry, verbose=request.verbose))
    return 0


def wanted_figures(*, figures: bool, format_: str | None, timeline_of: Sequence[str] | None) -> Wanted | None:
    """The figures that the command line asks for. Raises ConfigError for options that go with --figures."""
    from llem_sweep.drawing import Wanted

    if not figures:
        given = {"--format": format_, "--timeline-of": timeline_of}
        problems = [
            Problem(f"{option} is about figures: add --figures") for option, value in given.items() if value
        ]
        if problems:
            raise ConfigError(problems)
        return None
    formats = ("svg", "pdf") if format_ in (None, "both") else (format_,)
    return Wanted(formats, tuple(timeline_of or ()))


def report(
    library: Library,
    folder: Path | str,
    rates: Rates | None = None,
    *,
    output: Path | None,
    timelines: int | None,
    figures: Wanted | None,
    verbose: bool,
) -> int:
    """Show what is in a folder, and what its energy comes to at ``rates``, and write its page and the figures
    asked for."""
    result = library.report_sweep(folder, output=output, timelines=timelines, figures=figures)
    console = console_on(sys.stdout)
    show(console, summary_report(result, console.width, verbose=verbose))
    if rates is not None:
        show(console, footprint_report(totals(result.table.to_pylist(), rates), rates))
    return 0


def compare(
    library: Library,
    a: Path | str,
    b: Path | str,
    across: Sequence[str],
    rates: Rates | None,
    *,
    verbose: bool,
) -> int:
    """Hold the configurations of two folders against each other."""
    found = library.compare(a, b, across)
    console = console_on(sys.stdout)
    show(console, compare_report(found, shown(a), shown(b), console.width, rates, verbose=verbose))
    return 0


def export(
    library: Library,
    folders: Sequence[Path | str],
    form: Format,
    *,
    per: Per,
    rates: Rates | None,
    output: Path | str | None,
) -> int:
    """Write results for other programs, to a file or to standard output."""
    text = library.export(folders, form, per=per, rates=rates, output=output)
    if output is not None:
        print(printable(str(output)))
    else:
        # A terminal acts on what it is shown; a file or another program takes it as it is.
        sys.stdout.write(printable(text, lines=True) if sys.stdout.isatty() else text)
    return 0


def verify(library: Library, folder: Path | str, *, require_publishable: bool, verbose: bool) -> int:
    """Hold every result in a folder against its samples; returns 0 when all hold (and may be published, if they
    have to)."""
    found = library.verify_results(folder)
    show(console_on(sys.stdout), verify_report(found, verbose=verbose))
    return 1 if found.contradicted or (require_publishable and found.unpublishable) else 0


def doctor(library: Library, *, calibrate: bool, simulate_gpus: int | None) -> int:
    """Show what this machine is fit for; returns 0 when it can measure, 3 when not."""
    examination = library.examine(
        calibrate=calibrate, simulate_gpus=simulate_gpus, tell=lambda text: print(text, file=sys.stderr)
    )
    show(console_on(sys.stdout), doctor_report(examination))
    return examination.exit_code


def watch(stream: TextIO, *, quiet: bool, verbose: bool) -> SweepView:
    """A view that suits ``stream``: live on a terminal, plain lines elsewhere."""
    if quiet:
        return QuietView(stream)
    console = console_on(stream)
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveView(console)
    return PlainView(stream, SystemClock(), verbose=verbose)


def console_on(stream: TextIO) -> Console:
    """A console that takes text as it is; colours follow the terminal and NO_COLOR.

    A terminal of 16 colours gets none: they may be any, and ours would be those that happen to be nearest.
    """
    console = Console(file=stream, markup=False, emoji=False, highlight=False)
    console.no_color = console.no_color or console.color_system == "standard"
    return console
