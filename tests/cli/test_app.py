"""The command line from its tokens to its exit code, over a library that only remembers what it was asked."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from factories import make_plan
from llem_sweep.analysis import Format, Per
from llem_sweep.cli.app import main
from llem_sweep.cli.library import Going, Where
from llem_sweep.config.sweep import SweepConfig
from llem_sweep.drawing import Wanted
from llem_sweep.errors import ConfigError, DeviceError, LlemSweepError, NoGpuError, Problem, StoreError
from llem_sweep.execution.doctor import Examination
from llem_sweep.execution.progress import Progress, SweepView
from llem_sweep.harness.verification import Verification
from llem_sweep.plan.types import Admission, ClusterShape, NodeShape
from llem_sweep.report.compare import Comparison
from llem_sweep.report.footprint import Rates
from llem_sweep.report.grid_intensity import GridIntensity
from llem_sweep.results.verdict import Verdict
from llem_sweep.sweep import DryRun, SweepResult
from llem_sweep.verify import Verified, VerifyReport

MakeResult = Callable[..., SweepResult]


class Run(NamedTuple):
    """How run_sweep was called."""

    sweep: SweepConfig | None
    output: Path | str
    resume: Path | str | None
    where: Where
    require_publishable: bool = False
    going: Going = Going()


class FakeLibrary:
    """Answers with ``result``, or raises ``error``, and keeps what it was called with."""

    def __init__(self, result: SweepResult, error: BaseException | None = None) -> None:
        self.result = result
        self.error = error
        self.loaded: list[tuple[Path, tuple[str, ...]]] = []
        self.runs: list[Run] = []
        self.dry_runs: list[Where] = []
        self.reports: list[Path | str] = []
        self.pages: list[tuple[Path | None, int | None]] = []
        self.figures: list[Wanted | None] = []
        self.verified: list[Path | str] = []
        self.verify_report = VerifyReport(())
        self.compared: list[tuple[Path | str, Path | str, tuple[str, ...]]] = []
        self.comparison = Comparison({}, (), (), (), ())
        self.exports: list[tuple[tuple[Path | str, ...], str, str, Rates | None, Path | str | None]] = []
        self.examinations: list[tuple[bool, int | None]] = []

    def load_sweep(self, path: Path, overrides: Sequence[str]) -> SweepConfig:
        self.loaded.append((path, tuple(overrides)))
        return SweepConfig(name="grid")

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
        self.runs.append(Run(sweep, output, resume, where, require_publishable, going))
        if self.error is not None:
            raise self.error
        view.message("results go to somewhere")
        view.update(Progress(4, 4, 0, 0, elapsed_s=1.0, remaining_s=0.0, workers=(), recent_failures=()))
        return self.result

    def dry_run(self, sweep: SweepConfig, where: Where) -> DryRun:
        self.dry_runs.append(where)
        plan = make_plan(2)
        return DryRun(
            plan, Admission(plan.experiments, ()), ClusterShape((NodeShape("here", 1, 2.0, "H100"),))
        )

    def report_sweep(
        self,
        folder: Path | str,
        *,
        output: Path | None,
        timelines: int | None,
        figures: Wanted | None,
    ) -> SweepResult:
        self.reports.append(folder)
        self.figures.append(figures)
        self.pages.append((output, timelines))
        return self.result

    def verify_results(self, folder: Path | str) -> VerifyReport:
        self.verified.append(folder)
        return self.verify_report

    def compare(self, a: Path | str, b: Path | str, across: Collection[str]) -> Comparison:
        self.compared.append((a, b, tuple(across)))
        return self.comparison

    def export(
        self,
        folders: Sequence[Path | str],
        form: Format,
        *,
        per: Per,
        rates: Rates | None,
        output: Path | str | None,
    ) -> str:
        self.exports.append((tuple(folders), form, per, rates, output))
        return "a,b\n1,2\n"

    def examine(
        self, *, calibrate: bool, simulate_gpus: int | None, tell: Callable[[str], None]
    ) -> Examination:
        self.examinations.append((calibrate, simulate_gpus))
        return Examination("3.11.7", {"torch": "2.13.0"}, None, (), None, simulated=False, problem="no GPU")

    def sweep_schema(self) -> dict[str, Any]:
        return {"title": "sweep"}


@pytest.fixture
def library(make_sweep_result: MakeResult) -> FakeLibrary:
    return FakeLibrary(make_sweep_result())


@pytest.fixture
def grid(tmp_path: Path) -> str:
    path = tmp_path / "grid.yaml"
    path.write_text("model: tiny\n")
    return str(path)


def test_a_grid_file_alone_runs(library: FakeLibrary, grid: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([grid], library) == 0
    assert library.loaded == [(Path(grid), ())]
    assert library.runs == [Run(SweepConfig(name="grid"), Path("results"), None, Where())]
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == str(library.result.folder)
    assert "results go to somewhere" in err
    assert "4 of 4 done" in err


def test_every_option_arrives(library: FakeLibrary, grid: str) -> None:
    line = ["--set", "n=4", "--simulate-gpus", "2", grid, "--output", "/o", "--set=precision=[bf16, fp16]"]
    assert main([*line, "--allow-remote-code", "--inline"], library) == 0
    assert library.loaded == [(Path(grid), ("n=4", "precision=[bf16, fp16]"))]
    assert library.runs[0].output == Path("/o")
    assert library.runs[0].where == Where(simulate_gpus=2, inline=True, allow_remote_code=True)
    assert main([grid, "--address", "10.0.0.1:6379"], library) == 0
    assert library.runs[1].where == Where(address="10.0.0.1:6379")


def test_resuming_needs_no_file_and_checks_one_that_is_given(library: FakeLibrary, grid: str) -> None:
    assert main(["--resume", "/results/x"], library) == 0
    assert main([grid, "--resume", "/results/x"], library) == 0
    assert [(run.sweep is None, run.resume) for run in library.runs] == [
        (True, Path("/results/x")),
        (False, Path("/results/x")),
    ]


def test_uris_arrive_as_they_are_written(library: FakeLibrary, grid: str) -> None:
    place = "s3://bucket/runs?region=eu-west-1"
    assert main([grid, "--output", place], library) == 0
    assert main(["--resume", place], library) == 0
    assert main(["report", place], library) == 0
    assert main(["verify", place], library) == 0
    assert [(run.output, run.resume) for run in library.runs] == [(place, None), (Path("results"), place)]
    assert (library.reports, library.verified) == ([place], [place])


def test_the_credentials_of_a_uri_are_not_repeated(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--resume", "s3://key:sesame@bucket/x", "--output", "out"], library) == 2
    said = capsys.readouterr().err
    assert "--resume goes on in s3://bucket/x" in said
    assert "sesame" not in said


def test_how_a_folder_is_gone_on_with_arrives(library: FakeLibrary, grid: str) -> None:
    assert main([grid, "--resume", "/results/x", "--extend"], library) == 0
    assert main(["--resume", "/results/x", "--accept-changes", "--retry-failed"], library) == 0
    assert [run.going for run in library.runs] == [
        Going(extend=True),
        Going(accept_changes=True, retry_failed=True),
    ]


def test_a_dry_run_runs_nothing(library: FakeLibrary, grid: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([grid, "--dry-run", "--simulate-gpus", "3"], library) == 0
    assert library.runs == []
    assert library.dry_runs == [Where(simulate_gpus=3)]
    assert "Nothing was started" in capsys.readouterr().out


def test_a_report_may_go_elsewhere_and_hold_more_timelines(library: FakeLibrary) -> None:
    assert main(["report", "results/x", "--output", "page.html", "--timelines", "900"], library) == 0
    assert library.pages == [(Path("page.html"), 900)]


def test_a_report_reads_a_folder(library: FakeLibrary, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "results/x"], library) == 0
    assert library.reports == [Path("results/x")]
    assert library.pages == [(None, None)]
    assert library.runs == []
    assert "4 of 4 experiments completed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ("", None),
        ("--figures", Wanted(("svg", "pdf"))),
        ("--figures --format both", Wanted(("svg", "pdf"))),
        ("--figures --format pdf", Wanted(("pdf",))),
        ("--figures --timeline-of a --timeline-of b", Wanted(("svg", "pdf"), ("a", "b"))),
    ],
)
def test_figures_are_drawn_on_request(library: FakeLibrary, options: str, wanted: Wanted | None) -> None:
    assert main(["report", "results/x", *options.split()], library) == 0
    assert library.figures == [wanted]


def test_options_of_figures_need_figures(library: FakeLibrary, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "x", "--format", "svg", "--timeline-of", "a"], library) == 2
    assert library.reports == []
    printed = capsys.readouterr().err
    assert "--format is about figures: add --figures" in printed
    assert "--timeline-of is about figures: add --figures" in printed


def test_the_schema_is_json(library: FakeLibrary, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"], library) == 0
    assert json.loads(capsys.readouterr().out) == {"title": "sweep"}


def test_quiet_prints_the_folder_alone(
    library: FakeLibrary, grid: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([grid, "-q"], library) == 0
    assert capsys.readouterr() == (f"{library.result.folder}\n", "")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, 0),
        ({"failed": {0: "broke"}}, 1),
        ({"failed": dict.fromkeys(range(4), "broke")}, 1),
        ({"interrupted": True}, 130),
    ],
)
def test_what_became_of_the_sweep_is_the_exit_code(
    make_sweep_result: MakeResult, grid: str, fields: dict[str, Any], code: int
) -> None:
    assert main([grid], FakeLibrary(make_sweep_result(**fields))) == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("the grid is empty"), 2),
        (NoGpuError("no GPU: try --simulate-gpus 2"), 3),
        (DeviceError("board 0 is in MIG mode"), 3),
        (StoreError("the disk is full"), 1),
    ],
)
def test_an_error_is_told_plainly_with_its_exit_code(
    library: FakeLibrary, grid: str, capsys: pytest.CaptureFixture[str], error: LlemSweepError, code: int
) -> None:
    library.error = error
    assert main([grid], library) == code
    assert capsys.readouterr().err == f"error: {error}\n"


def test_verbose_shows_where_an_error_came_from(
    library: FakeLibrary, grid: str, capsys: pytest.CaptureFixture[str]
) -> None:
    library.error = StoreError("the disk is full")
    main([grid, "-v"], library)
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.endswith("error: the disk is full\n")


def test_all_problems_are_told_whole_and_harmless(
    library: FakeLibrary, grid: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = "/home/" + "a-long-folder/" * 20 + "grid.yaml"
    library.error = ConfigError(
        [Problem("unknown field", "pytorch.batchsize", file, 3), Problem("bad \x1b[2J value", "n", file, 4)]
    )
    assert main([grid], library) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: 2 problems",
        f"{file}:3: pytorch.batchsize: unknown field",
        f"{file}:4: n: bad \\x1b[2J value",
    ]


def test_a_bug_is_not_dressed_as_an_error(library: FakeLibrary, grid: str) -> None:
    library.error = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError):
        main([grid], library)


def test_ctrl_c_before_the_sweep_has_begun_is_an_interrupt(
    library: FakeLibrary, grid: str, capsys: pytest.CaptureFixture[str]
) -> None:
    library.error = KeyboardInterrupt()
    assert main([grid], library) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("", "give a sweep file"),
        ("nowhere.yaml", "there is no file nowhere.yaml"),
        ("reprot results/x", "no such command: reprot\nDid you mean: llem-sweep report"),
        ("schem", "there is no file schem\nDid you mean: llem-sweep schema"),
        ("report a b", "not understood: b"),
        ("report", "FOLDER"),
        ("/", "/ is a folder, not a sweep file\nTo complete it: llem-sweep --resume /"),
        ("--dry-rnu", "Did you mean --dry-run?"),
        ("GRID --simulate-gpus 0", "--simulate-gpus. Must be >= 1"),
        ("GRID --simulate-gpus two", "two"),
        ("GRID other.yaml", "not understood: other.yaml"),
        ("--resume x --dry-run", "leave --resume out"),
        ("--resume x --output y", "leave --output out"),
        ("--resume x --set n=1", "give a sweep file"),
        ("--resume x --extend", "--extend adds to x what a sweep file plans"),
        ("GRID --extend", "--extend goes on in a folder: give --resume DIR"),
        ("GRID --accept-changes", "--accept-changes goes on in a folder"),
        ("GRID --retry-failed", "--retry-failed goes on in a folder"),
        ("GRID --inline --address auto", "leave --address out"),
        ("GRID --simulate-gpus 2 --address auto", "leave --address out"),
        ("GRID -q -v", "opposites"),
        ("compare a", "B"),
        ("export", "FOLDER"),
        ("export a --format xlsx", "xlsx"),
        ("export a --per board", "board"),
        ("compare a b --pue 1.1", "give --grid-intensity or --price with it"),
        ("report a --grid-intensity 400 --pue 0.5", "a PUE is 1 or more"),
    ],
)
def test_a_wrong_command_line_is_explained(
    library: FakeLibrary, grid: str, capsys: pytest.CaptureFixture[str], line: str, told: str
) -> None:
    assert main(line.replace("GRID", grid).split(), library) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert told in err
    assert not set("╭│╰") & set(err)
    assert not library.runs
    assert not library.dry_runs
    assert not library.reports


def test_two_folders_are_compared_by_one_call(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", "a", "s3://b/c", "--across", "boards, methods"], library) == 0
    assert library.compared == [(Path("a"), "s3://b/c", ("boards", "methods"))]
    assert "A  a\nB  s3://b/c\n" in capsys.readouterr().out


def test_an_export_goes_to_standard_output_as_it_is(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "a", "s3://b/c"], library) == 0
    assert library.exports == [((Path("a"), "s3://b/c"), "csv", "configuration", None, None)]
    assert capsys.readouterr().out == "a,b\n1,2\n"


def test_an_export_to_a_file_prints_its_path(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    line = "export a --format latex --per experiment --output t.tex --grid-intensity 400 --pue 1.2"
    assert main(line.split(), library) == 0
    rates = Rates(GridIntensity(400.0, "as given"), None, 1.2)
    assert library.exports == [((Path("a"),), "latex", "experiment", rates, Path("t.tex"))]
    assert capsys.readouterr().out == "t.tex\n"


def test_a_report_tells_carbon_and_cost_where_it_is_asked(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "a"], library) == 0
    assert "gCO2e" not in capsys.readouterr().out
    assert main(["report", "a", "--grid-intensity", "400", "--price", "0.30 EUR"], library) == 0
    told = capsys.readouterr().out.partition("Carbon and cost, apart from the measured energy")[2]
    for words in ("400 gCO2e/kWh: as given", "0.3 EUR/kWh: as given", "PUE 1: none given"):
        assert words in told


def test_several_contradictions_are_told_at_once(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--resume", "x", "--output", "y", "-q", "-v"], library) == 2
    assert capsys.readouterr().err.startswith("error: 2 problems\n")


def in_fresh_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    done = in_fresh_python(
        "import sys\n"
        "from llem_sweep.cli.app import main\n"
        "assert main(['--help']) == 0\n"
        "heavy = {'torch', 'ray', 'transformers', 'pyarrow', 'pydantic', 'numpy', 'yaml'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    assert done.returncode == 0, done.stderr
    for word in (
        "GRID",
        "compare",
        "export",
        "report",
        "schema",
        "--dry-run",
        "--resume",
        "--simulate-gpus",
        "--set",
        "--version",
    ):
        assert word in done.stdout


def test_help_takes_little_more_than_importing_what_parses_it() -> None:
    def cpu_seconds(code: str) -> float:
        """Processor time: a busy machine stretches it as well, but both alike."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        in_fresh_python(code)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # Measured: 0.40 s, where the import took 0.15 s.
    pairs = [
        (
            cpu_seconds("from llem_sweep.cli.app import main; main(['--help'])"),
            cpu_seconds("import cyclopts, rich.console"),
        )
        for _ in range(5)
    ]
    assert min(took_s for took_s, _ in pairs) < 4 * min(alone_s for _, alone_s in pairs)


def test_the_version_is_the_package_s(library: FakeLibrary, capsys: pytest.CaptureFixture[str]) -> None:
    from importlib.metadata import version

    assert main(["--version"], library) == 0
    assert capsys.readouterr().out.strip() == version("llem-sweep")


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    command = (
        f"{sys.executable} -c 'import sys; from llem_sweep.cli.app import main; sys.exit(main())' schema"
    )
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | true; echo $?"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_a_terminal_without_unicode_gets_codes_instead_of_an_error(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from llem_sweep.cli.app import main; main(['naïve–' ])"],
        capture_output=True,
        timeout=60,
        check=False,
        env={"PYTHONIOENCODING": "ascii", "PATH": "/usr/bin"},
    )
    assert b"there is no file na\\xefve\\u2013" in done.stderr


def test_the_doctor_says_what_is_wrong_and_exits_3(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--calibrate", "--simulate-gpus", "2"], library) == 3
    assert library.examinations == [(True, 2)]
    assert "Not fit to measure" in capsys.readouterr().out


FINE = Verified(Path("fine"), Verification((), True, Verdict(publishable=True)))
SHORT = Verified(
    Path("short"), Verification((), True, Verdict(publishable=False, because=("short_window: 2 s",)))
)
ALTERED = Verified(
    Path("altered"),
    Verification(
        ("total_energy_j is 1.0 in the result, 2.0 by its samples",), True, Verdict(publishable=False)
    ),
)


@pytest.mark.parametrize(
    ("results", "flags", "code"),
    [
        ((FINE, SHORT), [], 0),
        ((FINE, SHORT), ["--require-publishable"], 1),
        ((FINE,), ["--require-publishable"], 0),
        ((FINE, ALTERED), [], 1),
    ],
)
def test_verify_fails_on_contradictions_and_if_asked_on_what_is_not_publishable(
    library: FakeLibrary, results: tuple[Verified, ...], flags: list[str], code: int
) -> None:
    library.verify_report = VerifyReport(results)
    assert main(["verify", "some/folder", *flags], library) == code
    assert library.verified == [Path("some/folder")]


def test_verify_says_what_disagrees_and_why_a_result_is_not_publishable(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    library.verify_report = VerifyReport((FINE, SHORT, ALTERED))
    main(["verify", "some/folder"], library)
    told = capsys.readouterr().out
    assert "contradicted: total_energy_j is 1.0 in the result, 2.0 by its samples" in told
    assert "not publishable: short_window: 2 s" in told
    assert "3 of 3 results computed again" in told
    assert "fine" not in told


def test_requiring_publishable_results_reaches_the_sweep_and_makes_no_sense_for_a_dry_run(
    library: FakeLibrary, grid: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main([grid, "--require-publishable"], library)
    assert library.runs[0].require_publishable
    assert main([grid, "--require-publishable", "--dry-run"], library) == 2
    assert "leave --require-publishable out" in capsys.readouterr().err
