"""The whole flow, from a sweep to its persisted results. Read :func:`run_sweep` first."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from llem_sweep.backends.registry import backend_names
from llem_sweep.clock import Clock, SystemClock
from llem_sweep.config.contents import digest
from llem_sweep.config.experiment import ExperimentConfig, local_names
from llem_sweep.config.identity import config_hash, experiment_id
from llem_sweep.config.sweep import ExecutionConfig, SweepConfig
from llem_sweep.drawing import Drawn, Wanted, draw_figures, figures_folder
from llem_sweep.errors import ConfigError, LlemSweepError, NoGpuError, OutputError, ResumeError
from llem_sweep.execution.connect import open_cluster, wanted_address
from llem_sweep.execution.driver import Orders
from llem_sweep.execution.execute import baselines_s, execute
from llem_sweep.execution.inline import local_shape
from llem_sweep.execution.job import refuse_unpacked
from llem_sweep.execution.ledger import Ending
from llem_sweep.execution.progress import Audience, FailureNote, Progress, SweepView
from llem_sweep.execution.scheduling.rehearsal import expected_runs
from llem_sweep.execution.tally import Tally
from llem_sweep.execution.worker import WorkerSpec, device_environment_restored, open_rig
from llem_sweep.harness.assembly import Measured
from llem_sweep.harness.facts import ModelCatalogue
from llem_sweep.harness.measure import measure
from llem_sweep.plan.admission import admit
from llem_sweep.plan.efficiency import Efficiency
from llem_sweep.plan.estimates import Estimates
from llem_sweep.plan.expand import plan_sweep
from llem_sweep.plan.forecast import Forecast, boards_at_work, forecast
from llem_sweep.plan.memory import MemoryEstimate, memory_estimate
from llem_sweep.plan.need import need_of
from llem_sweep.plan.types import (
    Admission,
    ClusterShape,
    PlannedExperiment,
    Refusal,
    RefusedExperiment,
    SkippedPoint,
    SweepPlan,
)
from llem_sweep.report.page.evidence import Evidence
from llem_sweep.report.page.source import MOST_TIMELINES
from llem_sweep.report.summary import BoardEnergies, BoardEnergy, summary_table
from llem_sweep.reporting import links_from, report_file, report_page, write_page
from llem_sweep.results.experiment import ExperimentResult
from llem_sweep.resumption import Continuation, Resuming, adopt, check_request, continuation
from llem_sweep.store.folder import SweepFolder
from llem_sweep.store.records import RunSettings, SweepRecords
from llem_sweep.store.sweeps import create_sweep, open_sweep, read_sweep
from llem_sweep.store.uri import parse_place

if TYPE_CHECKING:
    import pyarrow


class SweepResult(NamedTuple):
    """What a sweep left behind."""

    folder: Path
    """On this machine. Of a sweep in an object store, a copy that is gone once all of it is there."""
    table: pyarrow.Table
    """One row an experiment."""
    boards: tuple[BoardEnergy, ...]
    """Energy of the whole sweep by node and board."""
    completed: int
    failed: int
    refused: tuple[RefusedExperiment, ...]
    skipped: tuple[SkippedPoint, ...]
    interrupted: bool
    warnings: tuple[str, ...]
    unpublishable: tuple[str, ...] = ()
    """Folders of the results that had to be publishable and aren't."""
    efficiency: Efficiency | None = None
    """How near to the least possible time this run came; None where nothing ran."""
    uri: str | None = None
    """Where the sweep is kept, if in an object store; without credentials."""
    report: Path | None = None
    """The page that was written, on this machine, where ``folder`` is; None where none could be."""
    figures: Drawn | None = None
    """The figures that were asked for."""

    @property
    def place(self) -> str:
        """Where the sweep is kept, as ``--resume`` takes it."""
        return self.uri or str(self.folder)

    @property
    def exit_code(self) -> int:
        """0 all done, 1 some experiments failed, were refused or had to be publishable, 130 interrupted."""
        if self.interrupted:
            return 130
        return 1 if self.failed or self.refused or self.unpublishable else 0


class DryRun(NamedTuple):
    """What a sweep would do here."""

    plan: SweepPlan
    admission: Admission
    cluster: ClusterShape
    forecast: Forecast | None = None
    """What the admitted experiments will take; None when there are none."""
    memory: Mapping[str, MemoryEstimate] = {}
    """What each admitted point needs at least, by its ``config_hash``, where that is known."""


class SilentView:
    """Watches a sweep without showing anything."""

    def message(self, text: str) -> None:
        """Ignored."""

    def failed(self, note: FailureNote) -> None:
        """Ignored."""

    def update(self, progress: Progress) -> None:
        """Ignored."""

    def close(self) -> None:
        """Nothing to close."""


def run_sweep(
    sweep: SweepConfig | None = None,
    *,
    output: str | Path = "results",
    resume: str | Path | None = None,
    extend: bool = False,
    accept_changes: bool = False,
    retry_failed: bool = False,
    simulate_gpus: int | None = None,
    inline: bool = False,
    address: str | None = None,
    allow_remote_code: bool = False,
    require_publishable: bool = False,
    view: SweepView | None = None,
) -> SweepResult:
    """Run ``sweep`` on every GPU of a cluster, or complete the folder ``resume``, and persist each result.

    ``output`` and ``resume`` are paths, or URIs of an object store (``s3://bucket/folder``, text).

    The folder is made before anything is started. Outcomes that have come in are on disk before more are taken up,
    so whatever dies, ``resume`` goes on from the folder. Where it runs (simulated or not, inline or not, which
    cluster) is fixed when the folder is made; resuming repeats it. With ``require_publishable`` nothing more is
    begun after the first result that isn't.

    Resuming is refused when ``sweep`` plans something else than the folder, or when versions, driver or boards are
    others than its results were measured with, unless ``accept_changes``. With ``extend`` the folder takes in what
    ``sweep`` plans; with ``retry_failed`` what has failed is run again, with all its attempts.

    Raises ConfigError, EnvironmentUnfitError or StoreError; failures of single experiments are in the result.
    """
    clock, view = SystemClock(), view or SilentView()
    asked = RunSettings(simulate_gpus, inline, address, version("llem-sweep"))
    resuming = Resuming(extend, accept_changes, retry_failed)
    check_request(resuming, sweep=sweep is not None, resume=resume is not None)
    with _open_folder(sweep, asked, output, resume, clock, view) as folder:
        _tell(view, f"results go to {folder.place}", *folder.repairs)
        step = (
            continuation(folder, sweep, asked, resuming) if resume is not None else Continuation(folder.plan)
        )
        waiting = step.waiting(folder)
        if not waiting.experiments:
            _tell(view, *adopt(folder, step, None))
            return _finish(folder, (), Ending.FINISHED, require_publishable)
        settings = folder.settings
        with open_cluster(
            waiting.name,
            clock,
            inline=settings.inline,
            address=address or settings.address,
            simulate_gpus=settings.simulate_gpus,
            message=view.message,
        ) as cluster:
            _tell(view, *adopt(folder, step, cluster.shape))
            catalogue = ModelCatalogue(clock, platform.node() or "localhost", cluster.describe)
            admission = _admit(waiting, cluster.shape, catalogue, allow_remote_code)
            if not folder.settled():
                _require_work(admission)
            audience = Audience((view, *cluster.watchers))
            tally = _tally(folder, admission, clock, audience)
            orders = Orders(
                waiting.execution,
                require_publishable=require_publishable,
                completed_before=tally.done > 0,
                fetch_key=catalogue.fetch_key,
                baseline_s=baselines_s(admission.admitted),
                watched=not isinstance(view, SilentView),
            )
            estimates = Estimates(catalogue.load_key, catalogue.facts)
            ending = execute(admission.admitted, cluster, folder, orders, clock, tally, estimates)
            needs = {need_of(each.config) for each in admission.admitted}
            boards = boards_at_work(needs, cluster.shape, waiting.execution)
            reached = tally.efficiency(boards)
        return _finish(folder, admission.refused, ending, require_publishable)._replace(efficiency=reached)


def dry_run(
    sweep: SweepConfig,
    *,
    simulate_gpus: int | None = None,
    inline: bool = False,
    address: str | None = None,
    allow_remote_code: bool = False,
) -> DryRun:
    """Plan ``sweep`` and hold it against the GPUs there, without starting or writing anything.

    Without ``address`` (or RAY_ADDRESS) the GPUs are this machine's; with it, those of the cluster that it names.
    """
    clock = SystemClock()
    plan = plan_sweep(sweep)
    if inline or simulate_gpus is not None or wanted_address(address) is None:
        shape = local_shape(simulate_gpus, inline=inline)
    else:
        with open_cluster(plan.name, clock, address=address) as cluster:
            shape = cluster.shape
    catalogue = ModelCatalogue(clock, platform.node() or "localhost")
    admission = _admit(plan, shape, catalogue, allow_remote_code)
    expected = _forecast(admission, shape, plan.execution, catalogue)
    return DryRun(plan, admission, shape, expected, _memory(admission, catalogue))


def report_sweep(
    folder: str | Path,
    *,
    output: Path | None = None,
    timelines: int = MOST_TIMELINES,
    figures: Wanted | None = None,
) -> SweepResult:
    """What is in a sweep's folder (a path or a URI) now, without running anything; works while it runs, too.

    Its page is written to ``output``, else anew into the folder, with ``timelines`` timelines at most. A folder
    that can't be written is a warning, as is one in an object store. Raises OutputError where ``output`` can't be.
    With ``figures`` these are drawn into a folder beside the page (:func:`llem_sweep.drawing.draw_figures`).
    """
    records, evidence = read_sweep(folder), Evidence()
    result = _result(records, records.refused(), interrupted=False, evidence=evidence)
    if figures is not None:
        place = figures_folder(records, output)
        drawn = draw_figures(records, result.table, result.boards, figures, place)
        result = result._replace(figures=drawn)
    file = report_file(records, output)
    if file is None:
        return _without_report(result, OutputError("the sweep is in an object store"))
    links = links_from(file, records)
    page = report_page(records, result.table, result.boards, evidence, links=links, timelines=timelines)
    try:
        return result._replace(report=write_page(file, page))
    except OutputError as error:
        if output is not None:
            raise
        return _without_report(result, error)


def run_experiment(config: ExperimentConfig, *, simulate_gpus: bool = False) -> Measured:
    """Measure one configuration in this process, without Ray: ``(result, timeseries_parquet)``.

    Of its requests the result has the statistics; their records are stored by :func:`run_sweep` alone.

    The boards are the first ``config.gpus`` that this process may use, or simulated ones; a CUDA that this
    call is the first to start keeps to them in this process. Raises DeviceError or BackendError, and ConfigError
    for a configuration that asks for several processes, or for files that only a sweep's folder has.
    """
    if config.save_outputs:
        raise ConfigError("save_outputs: outputs are kept in a sweep's folder: use run_sweep()")
    if (processes := need_of(config).processes) > 1:
        raise ConfigError(f"num_processes: {processes} need processes of their own: use run_sweep()")
    node = platform.node() or "localhost"
    simulated = tuple(range(config.gpus)) if simulate_gpus else None
    spec = WorkerSpec(f"{node}/inline", node, config.gpus, simulated, baseline_s=0.0, takes_first=True)
    contents = {name: digest(Path(name)) for name in local_names(config)}
    planned = PlannedExperiment(
        experiment_id(config, 1, contents), config_hash(config, contents), config, cycle=1, varied={}
    )
    with device_environment_restored(), closing(open_rig(spec, SystemClock())) as rig:
        return measure(planned, rig)


@contextmanager
def _open_folder(
    sweep: SweepConfig | None,
    asked: RunSettings,
    output: str | Path,
    resume: str | Path | None,
    clock: Clock,
    view: SweepView,
) -> Iterator[SweepFolder]:
    """The sweep's folder: a new one, or the one to resume, put right."""
    if resume is not None:
        folder = open_sweep(resume, clock, view.message)
    elif sweep is not None:
        if isinstance(place := parse_place(output), Path):
            refuse_unpacked(place)
        folder = create_sweep(output, plan_sweep(sweep), asked, sweep.source, clock, view.message)
    else:
        raise ConfigError("nothing to run: give a sweep, or a folder to resume")
    try:
        yield folder
    except ResumeError:
        raise
    except LlemSweepError as error:
        if folder.settled() or folder.attempts():
            error.add_note(f"What was finished is kept; go on with --resume {shlex.quote(folder.place)}")
        elif resume is None:
            # Nothing was begun: a folder left behind would only be one more to clean up.
            folder.discard()
        raise
    finally:
        folder.close()


def _tell(view: SweepView, *texts: str) -> None:
    for text in texts:
        view.message(text)


def _admit(
    plan: SweepPlan, shape: ClusterShape, catalogue: ModelCatalogue, allow_remote_code: bool
) -> Admission:
    return admit(plan, shape, catalogue.facts, allow_remote_code=allow_remote_code, backends=backend_names())


def _forecast(
    admission: Admission, shape: ClusterShape, execution: ExecutionConfig, catalogue: ModelCatalogue
) -> Forecast | None:
    estimates = Estimates(catalogue.load_key, catalogue.facts)
    expected = expected_runs(admission.admitted, shape, execution, estimates)
    return forecast(admission.admitted, shape, execution, estimates, expected)


def _memory(admission: Admission, catalogue: ModelCatalogue) -> dict[str, MemoryEstimate]:
    points = {each.config_hash: each.config for each in admission.admitted}
    found = {point: memory_estimate(config, catalogue.facts(config)) for point, config in points.items()}
    return {point: estimate for point, estimate in found.items() if estimate is not None}


def _require_work(admission: Admission) -> None:
    """Raise when nothing at all can run: NoGpuError where GPUs are what is missing, else ConfigError."""
    if admission.admitted:
        return
    reasons = sorted({refused.reason for refused in admission.refused})
    if any(refused.refusal is Refusal.NO_SUCH_GPU for refused in admission.refused):
        raise NoGpuError(
            "no experiment can run here:\n"
            + "\n".join(f"  {reason}" for reason in reasons)
            + "\nRehearse with --simulate-gpus N (N as large as needed), join a cluster that has them with"
            " --address, or run on the CPU, without energy, with --set gpus=0."
        )
    raise ConfigError("no experiment can run:\n" + "\n".join(f"  {reason}" for reason in reasons))


def _tally(folder: SweepFolder, admission: Admission, clock: Clock, view: SweepView) -> Tally:
    """Counts to start from: what was settled before a resume, and what is to run now."""
    states = [settled.state for settled in folder.settled().values()]
    total = len(states) + len(admission.admitted)
    return Tally(total, states.count("completed"), states.count("failed"), clock, view)


def _finish(
    folder: SweepFolder, refused: tuple[RefusedExperiment, ...], ending: Ending, require_publishable: bool
) -> SweepResult:
    evidence = Evidence()
    result = _result(folder, refused, ending is Ending.INTERRUPTED, require_publishable, evidence)
    folder.write_summary(result.table)
    result = _with_report(folder, result, evidence)
    event = "ended" if ending is Ending.FINISHED else str(ending)
    folder.journal(event, completed=result.completed, failed=result.failed)
    folder.flush()
    return result


def _with_report(folder: SweepFolder, result: SweepResult, evidence: Evidence) -> SweepResult:
    try:
        page = report_page(folder, result.table, result.boards, evidence)
        return result._replace(report=folder.write_report(page))
    except Exception as error:  # noqa: BLE001
        # All that was measured is stored: that it can't be drawn must change neither the result nor the exit code.
        return _without_report(result, error)


def _without_report(result: SweepResult, error: Exception) -> SweepResult:
    said = str(error) if isinstance(error, LlemSweepError) else repr(error)
    again = f"llem-sweep report {shlex.quote(result.place)}"
    warning = f"the report wasn't written: {said}; {again} tries again, with --output FILE elsewhere"
    return result._replace(warnings=(*result.warnings, warning))


def _result(
    folder: SweepRecords,
    refused: tuple[RefusedExperiment, ...],
    interrupted: bool,
    require_publishable: bool = False,
    evidence: Evidence | None = None,
) -> SweepResult:
    boards = BoardEnergies()
    unpublishable: list[str] = []

    def results() -> Iterator[tuple[str, ExperimentResult]]:
        # One at a time: thousands of results at once would take more memory than everything else in this process.
        for name, result in folder.results():
            boards.add(result)
            if evidence is not None:
                evidence.add(name, result)
            if require_publishable and not (result.verdict and result.verdict.publishable):
                unpublishable.append(name)
            yield name, result

    table = summary_table(folder.plan, results(), folder.failures(), refused, folder.retried())
    states = [settled.state for settled in folder.settled().values()]
    return SweepResult(
        folder=folder.path,
        table=table,
        boards=boards.boards(),
        completed=states.count("completed"),
        failed=states.count("failed"),
        refused=refused,
        skipped=folder.plan.skipped,
        interrupted=interrupted,
        warnings=folder.plan.warnings,
        unpublishable=tuple(unpublishable),
        uri=folder.place if folder.place != str(folder.path) else None,
    )
