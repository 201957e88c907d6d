"""A sweep's folder, as the one run that works on it sees it."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import pyarrow as pa

from llem_sweep.clock import Clock, SystemClock
from llem_sweep.errors import OutputError, StoreError
from llem_sweep.plan.serial import plan_to_json
from llem_sweep.plan.surroundings import Surroundings, together
from llem_sweep.plan.types import Attempt, PlannedExperiment, SweepPlan
from llem_sweep.redaction import redact
from llem_sweep.results.experiment import ExperimentResult
from llem_sweep.results.failure import FailureRecord
from llem_sweep.results.outcome import Completed, Failed, FailureKind, Outcome, Stage
from llem_sweep.store import layout
from llem_sweep.store.atomic import (
    cannot_write,
    commit_folder,
    make_folder,
    recover,
    set_aside,
    write_file,
)
from llem_sweep.store.journal import Journal
from llem_sweep.store.lock import FolderLock
from llem_sweep.store.mirror import Mirror, NoMirror
from llem_sweep.store.read import check_sidecar
from llem_sweep.store.records import (
    RunSettings,
    SweepRecords,
    check_sweep_folder,
    read_sweep_head,
    retried_to_json,
    settings_to_json,
)
from llem_sweep.store.tables import write_csv, write_parquet
from llem_sweep.store.write import as_stored, commit_result

SAVERS = 8
"""Outcomes that are synced at the same time: more gain nothing on a local disk."""


class SweepFolder(SweepRecords):
    """The only writer of a sweep's folder, from :meth:`create` or :meth:`open` to :meth:`close`.

    Every outcome is on disk when :meth:`commit` or :meth:`commit_all` returns. To be used from one thread.
    """

    def __init__(
        self,
        path: Path,
        plan: SweepPlan,
        settings: RunSettings,
        lock: FolderLock,
        clock: Clock,
        mirror: Mirror,
    ) -> None:
        """Use :meth:`create` or :meth:`open`."""
        super().__init__(path, plan, settings, mirror.place(path))
        self._lock = lock
        self._mirror = mirror
        self._clock = clock
        self._journal = Journal(path / layout.JOURNAL, clock)
        self._labels = layout.model_labels(each.config.model for each in plan.experiments)
        self._savers = ThreadPoolExecutor(SAVERS, "llem-sweep-save")
        self.repairs: tuple[str, ...] = ()
        """What :meth:`open` had to move aside, one sentence each."""

    @classmethod
    def create(
        cls,
        output: Path | str,
        plan: SweepPlan,
        settings: RunSettings,
        source: str,
        clock: Clock | None = None,
    ) -> Self:
        """Make ``output/{sweep}_{time}`` (or ``…-2``, …) for ``plan``; ``source`` is its file as given.

        Raises OutputError, with nothing left behind.
        """
        clock = clock or SystemClock()
        name = layout.sweep_folder(plan.name, clock.now())
        try:
            path = make_folder(Path(output), name)
        except OSError as exc:
            raise OutputError(cannot_write(Path(output) / name, exc)) from exc
        with ExitStack() as undo:
            undo.callback(shutil.rmtree, path, ignore_errors=True)
            lock = FolderLock(path / layout.LOCK)
            undo.callback(lock.close)
            folder = cls.fill(path, plan, settings, source, lock, clock, NoMirror())
            undo.pop_all()
        return folder

    @classmethod
    def fill(
        cls,
        path: Path,
        plan: SweepPlan,
        settings: RunSettings,
        source: str,
        lock: FolderLock,
        clock: Clock,
        mirror: Mirror,
    ) -> Self:
        """Make the new folder ``path``, which ``lock`` holds, that of ``plan``; ``mirror`` follows it.

        Raises OutputError.
        """
        try:
            (path / layout.STAGING).mkdir()
            write_file(path / layout.SOURCE, _published(source))
            write_file(path / layout.SETTINGS, _published(settings_to_json(settings)))
            write_file(path / layout.PLAN, _published(plan_to_json(plan)))
        except OSError as exc:
            raise OutputError(cannot_write(path, exc)) from exc
        except StoreError as exc:
            raise OutputError(str(exc)) from exc
        return cls(path, plan, settings, lock, clock, mirror)

    @classmethod
    def open(cls, path: Path | str, clock: Clock | None = None) -> Self:
        """Continue the sweep at ``path``, after putting right what a crash left unfinished.

        Folders of experiments that aren't whole, their sidecars looked at too, are kept under ``.damaged``.

        Raises ResumeError when it isn't a sweep's folder, is damaged, or another run is working on it;
        OutputError when it can't be written.
        """
        place = Path(path)
        check_sweep_folder(place)
        return cls.continued(place, FolderLock(place / layout.LOCK), clock or SystemClock(), NoMirror())

    @classmethod
    def continued(cls, path: Path, lock: FolderLock, clock: Clock, mirror: Mirror) -> Self:
        """The folder ``path``, which ``lock`` holds and ``mirror`` follows; both are closed if this fails.

        Raises as :meth:`open` does.
        """
        with ExitStack() as undo:
            undo.callback(lock.close)
            undo.callback(mirror.close)
            try:
                recovered = recover(path, (layout.RESULT, layout.FAILURE))
            except OSError as exc:
                raise OutputError(cannot_write(path, exc)) from exc
            folder = cls(*read_sweep_head(path), lock, clock, mirror)
            undo.callback(folder.close)
            folder.scan(folder._set_aside)
            for name in recovered:
                folder.journal("recovered", folder=name)
            undo.pop_all()
        return folder

    def commit(
        self, experiment: PlannedExperiment, attempt: int, outcome: Outcome, *, final: bool, worker: str
    ) -> Outcome:
        """Store and journal the outcome of an attempt; returns the outcome that is on disk.

        That is a failure at stage ``save`` where a result couldn't be stored. ``final`` says whether a failure
        settles the experiment. Raises StoreError, with nothing changed, when the experiment has a result already
        or isn't of this sweep; OutputError when not even a failure can be stored.
        """
        self._refuse_another(experiment.experiment_id)
        stored = self._save(experiment, outcome) if isinstance(outcome, Completed) else outcome
        return self._note(Attempt(experiment, attempt, worker), stored, final=final)

    def commit_all(self, completed: Sequence[tuple[Attempt, Completed]]) -> list[Outcome]:
        """Store and journal outcomes of different experiments, each as :meth:`commit` does a final one.

        Their files are synced at the same time: for a file system that is little more work than for one of them.
        """
        for attempt, _ in completed:
            self._refuse_another(attempt.experiment.experiment_id)
        save = map if len(completed) == 1 else self._savers.map
        stored = list(save(lambda each: self._save(each[0].experiment, each[1]), completed))
        noted = zip(completed, stored, strict=True)
        return [self._note(attempt, each, final=True) for (attempt, _), each in noted]

    def journal(self, event: str, **fields: object) -> None:
        """Add a line to the journal, durably. Raises OutputError."""
        self._mirror.check()
        with self._resumable():
            self._journal.append(event, fields)

    def mention(self, event: str, **fields: object) -> None:
        """Add a line to the journal that becomes durable with the next durable one. Raises OutputError."""
        with self._resumable():
            self._journal.append(event, fields, sync=False)

    def extend(self, plan: SweepPlan, source: str) -> str:
        """Put ``plan``, which holds all of the earlier one, in its place; returns the name under which ``source``,
        the sweep file that it comes from, is kept. Raises OutputError."""
        with self._resumable():
            name = self._keep_source(_published(source))
            self._put(layout.PLAN, _published(plan_to_json(plan)))
        self._follow(plan)
        self._labels = layout.model_labels(each.config.model for each in plan.experiments)
        return name

    def retry(self, experiments: Collection[str]) -> None:
        """Settle these failed experiments no longer: they are to be run again, as if they had never been tried.

        Their failures are kept. Raises OutputError.
        """
        folders = {folder for folder, key in self._failures.items() if key in experiments}
        with self._resumable():
            self._put(layout.RETRIED, retried_to_json(self._retried | folders).encode())
        self._retried |= folders
        for key in experiments:
            self._settled.pop(key)
            self._tried.pop(key, None)

    def keep_surroundings(self, now: Surroundings) -> None:
        """Remember what a run is begun with, beside what was known. Raises OutputError."""
        settings = self.settings._replace(surroundings=together(self._surroundings, now))
        if settings == self.settings:
            return
        with self._resumable():
            self._put(layout.SETTINGS, _published(settings_to_json(settings)))
        self.settings, self._surroundings = settings, settings.surroundings

    def write_summary(self, table: pa.Table) -> None:
        """Create or replace ``summary.parquet`` and ``summary.csv``. Raises OutputError."""
        with self._resumable():
            write_parquet(self.path / layout.SUMMARY_PARQUET, table)
            write_csv(self.path / layout.SUMMARY_CSV, table)
        for name in (layout.SUMMARY_PARQUET, layout.SUMMARY_CSV):
            self._mirror.add_file(name)

    def write_report(self, page: bytes) -> Path:
        """Create or replace ``report.html``; returns its path, on this machine. Raises OutputError."""
        with self._resumable():
            write_file(self.path / layout.REPORT, page)
        self._mirror.add_file(layout.REPORT)
        return self.path / layout.REPORT

    def flush(self) -> None:
        """Wait until all is where the sweep is kept, which on local disk it always is. Raises OutputError."""
        self._mirror.flush()

    def close(self) -> None:
        """Let the folder go, for another run. Safe to call twice."""
        self._savers.shutdown()
        self._journal.close()
        self._mirror.close()
        self._lock.close()

    def discard(self) -> None:
        """Remove a folder in which nothing was begun. Raises StoreError when it holds any outcome."""
        if self._settled or self._tried:
            raise StoreError(f"{self.place} holds results, so it isn't removed")
        self._mirror.discard()
        self.close()
        shutil.rmtree(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _set_aside(self, name: str, reason: str) -> None:
        try:
            kept = set_aside(self.path, name)
        except OSError as exc:
            raise OutputError(cannot_write(self.path / name, exc)) from exc
        self._mirror.set_aside(name, kept)
        place = kept.relative_to(self.path).as_posix()
        self.journal("damaged", folder=name, reason=reason, kept=place)
        self.repairs += (f"{reason}; kept in {place}, and its experiment runs again",)

    def _keep_source(self, content: bytes) -> str:
        """Write ``content`` under the first free name, unless the last one taken holds just that."""
        last = name = layout.SOURCE
        for name in layout.sources():
            if not (self.path / name).exists():
                break
            last = name
        try:
            if last != name and (self.path / last).read_bytes() == content:
                return last
        except OSError as exc:
            raise StoreError(f"can't read {self.path / last}: {exc.strerror or exc}") from exc
        self._put(name, content)
        return name

    def _put(self, name: str, content: bytes) -> None:
        """Create or replace a file of the sweep."""
        write_file(self.path / name, content)
        self._mirror.put_file(name)

    def _check_sidecar(self, folder: Path, result: ExperimentResult) -> None:
        check_sidecar(folder, result, lambda name: self._mirror.keeps_sidecar(folder.name, name))

    def _refuse_another(self, experiment_id: str) -> None:
        if experiment_id not in self._planned:
            raise StoreError(f"{experiment_id} isn't an experiment of {self.place}")
        if (folder := self.completed(experiment_id)) is not None:
            raise StoreError(f"{experiment_id} has its result in {self.place}, folder {folder}, already")

    def _save(self, experiment: PlannedExperiment, outcome: Completed) -> _Saved | Failed:
        result = as_stored(outcome.result, outcome.timeseries_parquet, outcome.further)
        try:
            if result.experiment_id != experiment.experiment_id:
                raise StoreError(
                    f"the result is of {result.experiment_id}, not of {experiment.experiment_id}"
                )
            name = self._name(experiment, result.start_time)
            sidecars = {layout.TIMESERIES: outcome.timeseries_parquet, **outcome.further}
            folder = commit_result(self.path, name, result, sidecars)
        except StoreError as exc:
            return Failed(Stage.SAVE, FailureKind.SAVE_FAILED, str(exc))
        return _Saved(folder.name, outcome._replace(result=result))

    def _note(self, attempt: Attempt, stored: _Saved | Failed, *, final: bool) -> Outcome:
        if isinstance(stored, Failed):
            self._record_failure(attempt, stored, final=final)
            return stored
        self.note_completed(attempt.experiment.experiment_id, stored.folder)
        fields: dict[str, object] = {"attempt": attempt.number, "worker": attempt.worker}
        self._note_outcome("completed", attempt.experiment, fields | {"folder": stored.folder})
        self._mirror.add_outcome(stored.folder)
        return stored.outcome

    def _record_failure(self, attempt: Attempt, failed: Failed, *, final: bool) -> None:
        experiment = attempt.experiment
        now = self._clock.now()
        record = FailureRecord(
            experiment_id=experiment.experiment_id,
            attempt=attempt.number,
            final=final,
            **failed.kept(),
            worker=attempt.worker,
            time=now,
            config=experiment.config.model_dump(mode="json"),
        )
        content = _published(record.model_dump_json(indent=2))
        with self._resumable():
            folder = commit_folder(self.path, self._name(experiment, now), layout.FAILURE, content, {})
        self.note_failed(record, folder.name)
        told = record.model_dump(
            mode="json", include={"attempt", "final", "stage", "kind", "message", "worker"}
        )
        self._note_outcome("failed", experiment, {**told, "folder": folder.name})
        self._mirror.add_outcome(folder.name)

    def _note_outcome(self, event: str, experiment: PlannedExperiment, fields: dict[str, object]) -> None:
        """Not synced: the outcome's folder is already, and tells the same."""
        with self._resumable():
            self._journal.append(event, {"experiment_id": experiment.experiment_id, **fields}, sync=False)

    @contextmanager
    def _resumable(self) -> Iterator[None]:
        """What can't be written stops the run, and nothing that was written is lost: say how to go on."""
        try:
            yield
        except (StoreError, OutputError) as exc:
            raise OutputError(f"{exc}; then go on with --resume {shlex.quote(self.place)}") from exc

    def _name(self, experiment: PlannedExperiment, at: datetime) -> str:
        config = experiment.config
        cycle = experiment.cycle if max(self.plan.execution.n_cycles, experiment.cycle) > 1 else None
        return layout.experiment_folder(
            self._labels[config.model], config.backend, experiment.varied, cycle, at
        )


def _published(text: str) -> bytes:
    """``text`` as it may be read by whoever the folder is given to."""
    return redact(text).encode("utf-8", "replace")


class _Saved(NamedTuple):
    folder: str
    outcome: Completed
