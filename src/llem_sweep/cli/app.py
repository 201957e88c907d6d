"""The commands: each parses, calls the library once, and prints what came back."""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter, Token
from cyclopts.exceptions import CycloptsError
from cyclopts.validators import Number

from llem_sweep.cli.complaints import print_error, usage_problem
from llem_sweep.cli.library import Going, Library, Package, Where
from llem_sweep.errors import LlemSweepError
from llem_sweep.store.uri import as_given

EXIT_USAGE = 2
EXIT_ENVIRONMENT = 3
EXIT_INTERRUPTED = 130
INLINE_THREAD = "llem-sweep-inline"
"""As in ``execution.inline``, whose import would cost every command its time."""


def _whole(kind: type, tokens: Sequence[Token]) -> int:
    """A whole number as written; cyclopts on its own would cut 1.5 down to 1."""
    return int(tokens[0].value)


def _place(kind: type, tokens: Sequence[Token]) -> Path | str:
    """A path, or a URI as written."""
    return as_given(tokens[0].value)


_Flag = Parameter(negative="")
_Grid = Annotated[Path | None, Parameter(help="Sweep file (YAML).")]
_DryRun = Annotated[bool, _Flag, Parameter(help="Show what would run here, and start nothing.")]
_Resume = Annotated[
    Path | str | None,
    Parameter(converter=_place, help="Complete this sweep's folder (a path or a URI); needs no sweep file."),
]
_Extend = Annotated[
    bool,
    _Flag,
    Parameter(help="With --resume: add what the sweep file plans; nothing planned is taken away."),
]
_Accept = Annotated[
    bool,
    _Flag,
    Parameter(
        help="With --resume: go on although the file, versions, driver or boards are others than before."
    ),
]
_Retry = Annotated[bool, _Flag, Parameter(help="With --resume: run again what has failed.")]
_Output = Annotated[
    Path | str | None,
    Parameter(
        converter=_place,
        help="Where the sweep's folder is made: a path, or a URI like s3://bucket/folder [default: results].",
    ),
]
_Set = Annotated[
    list[str] | None,
    Parameter(name="--set", negative="", help="Override a field, key=value; repeat it for more."),
]
_Simulate = Annotated[
    int | None,
    Parameter(
        converter=_whole,
        validator=Number(gte=1),
        help="Rehearse on this many simulated GPUs; no number is a measurement.",
    ),
]
_Inline = Annotated[bool, _Flag, Parameter(help="Run one worker in this process, without Ray.")]
_Address = Annotated[str | None, Parameter(help="Join this Ray cluster; auto is one on this machine.")]
_RemoteCode = Annotated[
    bool,
    _Flag,
    Parameter(
        help="Let models bring code or pickled weights, and transformers kernels for fp8 from the Hub, where the"
        " file asks for it as well."
    ),
]
_Quiet = Annotated[bool, _Flag, Parameter(name=["--quiet", "-q"], help="Print errors and the folder alone.")]
_Verbose = Annotated[bool, _Flag, Parameter(name=["--verbose", "-v"], help="Print everything, cut nothing.")]
_Calibrate = Annotated[
    bool, _Flag, Parameter(help="Find the timing of every board's sensors; about 45 s of load on each.")
]
_Publishable = Annotated[
    bool, _Flag, Parameter(help="Fail on the first result that may not be published, and begin nothing more.")
]
_MustBePublishable = Annotated[bool, _Flag, Parameter(help="Fail when any result may not be published.")]
_Folder = Annotated[Path | str, Parameter(converter=_place, help="Folder of a sweep, a path or a URI.")]
_Side = Annotated[
    Path | str,
    Parameter(
        converter=_place,
        help="Folder of a sweep, or of an experiment, which stands for its configuration; a path or a URI.",
    ),
]
_Across = Annotated[
    str,
    Parameter(
        help="Compare although these aren't alike, and mark each row: boards, measured_on (real or simulated),"
        " methods; separated by commas."
    ),
]
_Intensity = Annotated[
    str | None,
    Parameter(
        help="Carbon of the grid, told apart from the energy: gCO2e per kWh, or a country's ISO 3166-1 alpha-3"
        " code (the carbon extra)."
    ),
]
_Price = Annotated[
    str | None, Parameter(help='Price of electricity, told apart from the energy: per kWh, as "0.30 EUR".')
]
_Pue = Annotated[float | None, Parameter(help="Power usage effectiveness of the building, 1 or more.")]
_Exported = Annotated[
    Path | str,
    Parameter(converter=_place, help="Further folders; their rows are told apart."),
]
_Format = Annotated[
    Literal["csv", "jsonl", "latex"],
    Parameter(help="csv, jsonl (a JSON object a line) or latex [default: csv]."),
]
_Per = Annotated[
    Literal["configuration", "experiment"],
    Parameter(
        help="A row a configuration, its cycles together, or a row an experiment [default: configuration]."
    ),
]
_ExportTo = Annotated[
    Path | str | None,
    Parameter(converter=_place, help="File to write, in place of what is there [default: standard output]."),
]

_ReportFile = Annotated[
    Path | None,
    Parameter(help="Where to write the report, for a folder that can't be written or is in an object store."),
]
_Timelines = Annotated[
    int | None,
    Parameter(
        converter=_whole,
        validator=Number(gte=0),
        help="Most experiments whose power and temperature the report shows over time [default: 200].",
    ),
]
_Figures = Annotated[
    bool, _Flag, Parameter(help="Draw figures for papers, into a folder called figures beside the report.")
]
_FigureFormat = Annotated[
    Literal["svg", "pdf", "both"] | None,
    Parameter(name="--format", help="With --figures: what they are written as [default: both]."),
]
_TimelineOf = Annotated[
    list[str] | None,
    Parameter(
        negative="",
        help="With --figures: draw power and temperature of the experiment in this folder over time; repeat it"
        " for more [default: the best of each model].",
    ),
]


def main(tokens: Sequence[str] | None = None, library: Library | None = None) -> int:
    """Run the command line ``tokens`` (by default this process's) and return its exit code."""
    given = list(sys.argv[1:] if tokens is None else tokens)
    _never_fail_to_encode()
    try:
        code = build_app(library or Package())(given)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except CycloptsError as error:
        print(f"error: {usage_problem(error, given)}", file=sys.stderr)
        return EXIT_USAGE
    except LlemSweepError as error:
        print_error(error, sys.stderr, verbose=not {"-v", "--verbose"}.isdisjoint(given))
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away, as `head` does; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"error: what this command prints could not be written: {error.strerror}", file=sys.stderr)
        return EXIT_ENVIRONMENT


def console() -> None:
    """The program: run the command line and leave with its exit code."""
    code = main()
    if any(thread.name == INLINE_THREAD for thread in threading.enumerate()):
        # The worker cut off is still computing: taking the interpreter down under it would abort the process.
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
        os._exit(code)
    sys.exit(code)


def build_app(library: Library) -> App:
    """The command line over ``library``."""
    app = App(
        name="llem-sweep",
        help="Measure what LLM inference costs in energy, over a grid of configurations, on every GPU at once.",
        usage="Usage: llem-sweep GRID.yaml [OPTIONS]\n       llem-sweep --resume DIR\n       llem-sweep COMMAND",
        version=lambda: version("llem-sweep"),
        default_parameter=Parameter(show_default=False),
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
    )

    _add_sweep(app, library)
    _add_readers(app, library)
    _add_tools(app, library)
    return app


def _add_sweep(app: App, library: Library) -> None:
    """What runs without a command's name."""

    @app.default
    def sweep(
        grid: _Grid = None,
        /,
        *,
        dry_run: _DryRun = False,
        resume: _Resume = None,
        extend: _Extend = False,
        accept_changes: _Accept = False,
        retry_failed: _Retry = False,
        output: _Output = None,
        set_: _Set = None,
        simulate_gpus: _Simulate = None,
        inline: _Inline = False,
        address: _Address = None,
        allow_remote_code: _RemoteCode = False,
        require_publishable: _Publishable = False,
        quiet: _Quiet = False,
        verbose: _Verbose = False,
    ) -> int:
        """Run a sweep, or complete one."""
        from llem_sweep.cli.commands import Request, check_together, plan, run

        where = Where(simulate_gpus, inline, address, allow_remote_code)
        going = Going(extend, accept_changes, retry_failed)
        request = Request(
            grid, tuple(set_ or ()), resume, output, where, quiet, verbose, require_publishable, going
        )
        check_together(request, dry_run=dry_run)
        return plan(library, request) if dry_run else run(library, request)


def _add_readers(app: App, library: Library) -> None:
    """Commands that look at what a sweep has left."""

    @app.command
    def report(
        folder: _Folder,
        /,
        *,
        output: _ReportFile = None,
        timelines: _Timelines = None,
        figures: _Figures = False,
        format_: _FigureFormat = None,
        timeline_of: _TimelineOf = None,
        grid_intensity: _Intensity = None,
        price: _Price = None,
        pue: _Pue = None,
        verbose: _Verbose = False,
    ) -> int:
        """Show what is in a sweep's folder and write its report.html anew, without running anything."""
        from llem_sweep.cli.commands import report, wanted_figures
        from llem_sweep.report.footprint import read_rates

        rates = read_rates(grid_intensity, price, pue)
        wanted = wanted_figures(figures=figures, format_=format_, timeline_of=timeline_of)
        return report(
            library, folder, rates, output=output, timelines=timelines, figures=wanted, verbose=verbose
        )

    @app.command
    def compare(
        a: _Side,
        b: _Side,
        /,
        *,
        across: _Across = "",
        grid_intensity: _Intensity = None,
        price: _Price = None,
        pue: _Pue = None,
        verbose: _Verbose = False,
    ) -> int:
        """Hold two sweeps, or two configurations, against each other: differences with bounds."""
        from llem_sweep.cli.commands import compare
        from llem_sweep.report.footprint import read_rates

        names = [name.strip() for name in across.split(",") if name.strip()]
        return compare(library, a, b, names, read_rates(grid_intensity, price, pue), verbose=verbose)

    @app.command
    def export(
        folder: _Folder,
        /,
        *more: _Exported,
        format: _Format = "csv",  # noqa: A002 - the option's name
        per: _Per = "configuration",
        output: _ExportTo = None,
        grid_intensity: _Intensity = None,
        price: _Price = None,
        pue: _Pue = None,
    ) -> int:
        """Write results for other programs or for a paper: CSV, JSON lines or a LaTeX table."""
        from llem_sweep.cli.commands import export
        from llem_sweep.report.footprint import read_rates

        rates = read_rates(grid_intensity, price, pue)
        return export(library, (folder, *more), format, per=per, rates=rates, output=output)

    @app.command
    def verify(
        folder: _Folder, /, *, require_publishable: _MustBePublishable = False, verbose: _Verbose = False
    ) -> int:
        """Compute every energy, doubt and verdict in a folder again, from the samples alone."""
        from llem_sweep.cli.commands import verify

        return verify(library, folder, require_publishable=require_publishable, verbose=verbose)


def _add_tools(app: App, library: Library) -> None:
    """Commands that need no sweep."""

    @app.command
    def doctor(*, calibrate: _Calibrate = False, simulate_gpus: _Simulate = None) -> int:
        """Examine this machine: is it fit to measure, and how well are its sensors known?"""
        from llem_sweep.cli.commands import doctor

        return doctor(library, calibrate=calibrate, simulate_gpus=simulate_gpus)

    @app.command
    def schema() -> int:
        """Print the JSON Schema of sweep files, for editors."""
        print(json.dumps(library.sweep_schema(), indent=2))
        return 0


def _never_fail_to_encode() -> None:
    """Let a terminal that can't show a character show its code instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
