"""What a sweep's folder holds. Reading changes nothing, so it may be done while a run is at work."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from llem_sweep.errors import DamagedError, ResumeError, StoreError
from llem_sweep.plan.serial import plan_from_json
from llem_sweep.plan.surroundings import Surroundings, surroundings_of, together
from llem_sweep.plan.types import PlannedExperiment, Refusal, RefusedExperiment, SweepPlan
from llem_sweep.results.experiment import ExperimentResult
from llem_sweep.results.failure import FailureRecord
from llem_sweep.results.outcome import FailureKind
from llem_sweep.store.layout import (
    FAILURE,
    FIGURES,
    PARTIAL,
    PLAN,
    RESULT,
    RETRIED,
    SETTINGS,
    SIDECARS,
    SUMMARY_PARQUET,
    TIMESERIES,
    sources,
)
from llem_sweep.store.read import check_sidecar, load_result
from llem_sweep.store.uri import inside, retold

_REFUSED = ("experiment_id", "status", "failure_kind", "failure_message")


class RunSettings(NamedTuple):
    """How a sweep runs, fixed when its folder is created, and what it has run on."""

    simulate_gpus: int | None
    inline: bool
    address: str | None
    tool_version: str
    surroundings: Mapping[str, tuple[str, ...]] = {}
    """Everything that runs of it were begun with."""


class Settled(NamedTuple):
    """An experiment that is done with."""

    state: Literal["completed", "failed"]
    folder: str
    """Name of its folder inside the sweep's."""


class SweepRecords:
    """The plan, the settings and every outcome stored in a sweep's folder."""

    def __init__(self, path: Path, plan: SweepPlan, settings: RunSettings, place: str | None = None) -> None:
        """Without looking for outcomes: :meth:`scan` does that."""
        self.path = path
        """The folder on this machine, which for a sweep in an object store is a copy."""
        self.place = place or str(path)
        """Where the sweep is kept, as users give it: a path or a URI."""
        self.plan = plan
        self.settings = settings
        self.elsewhere: Callable[[str], bytes] | None = None
        """Gives a file of the sweep that isn't kept on this machine, by its name; may raise OSError."""
        self._planned = {experiment.experiment_id for experiment in plan.experiments}
        self._settled: dict[str, Settled] = {}
        self._tried: defaultdict[str, Counter[FailureKind]] = defaultdict(Counter)
        self._failures: dict[str, str] = {}
        """Experiment id of every failed attempt by its folder, oldest first."""
        self._retried: frozenset[str] = frozenset()
        self._surroundings: Surroundings = settings.surroundings

    def _follow(self, plan: SweepPlan) -> None:
        """Take ``plan``, which holds all of the earlier one, for the sweep's from now on."""
        self.plan = plan
        self._planned = {experiment.experiment_id for experiment in plan.experiments}

    def settled(self) -> dict[str, Settled]:
        """Experiments that are done with, by id."""
        return dict(self._settled)

    def unsettled(
        self, plan: SweepPlan | None = None, retried: Collection[str] = ()
    ) -> tuple[PlannedExperiment, ...]:
        """Experiments that aren't, in planned order; of ``plan`` if given, and as if ``retried`` ones weren't."""
        settled = self._settled.keys() - set(retried)
        return tuple(
            planned for planned in (plan or self.plan).experiments if planned.experiment_id not in settled
        )

    def tried(self) -> dict[str, Counter[FailureKind]]:
        """Failed attempts by experiment id and kind; what a user cut off isn't counted."""
        return {experiment_id: Counter(kinds) for experiment_id, kinds in self._tried.items()}

    def attempts(self) -> dict[str, int]:
        """How often each experiment has failed, by id; what a user cut off, or has had retried since, isn't
        counted."""
        return {experiment_id: kinds.total() for experiment_id, kinds in self._tried.items()}

    def completed(self, experiment_id: str) -> str | None:
        """Name of the folder that holds the experiment's result; None when there is none."""
        settled = self._settled.get(experiment_id)
        return settled.folder if settled is not None and settled.state == "completed" else None

    def retried(self) -> frozenset[str]:
        """Folders of the failures that settle their experiments no longer: these were to be run again."""
        return self._retried

    def surroundings(self) -> Surroundings:
        """What runs were begun with, and what the results found by :meth:`scan` were measured with."""
        return self._surroundings

    def results(self) -> Iterator[tuple[str, ExperimentResult]]:
        """Folder name and result of every completed experiment, in planned order. Raises StoreError."""
        for experiment in self.plan.experiments:
            if (folder := self.completed(experiment.experiment_id)) is not None:
                yield folder, load_result(self.path / folder)

    def failures(self) -> Iterator[tuple[str, FailureRecord]]:
        """Folder name and record of every failed attempt, oldest first. Raises StoreError."""
        for folder in self._failures:
            yield folder, load_failure(self.path / folder)

    def sidecar(self, folder: str) -> bytes:
        """The samples beside the result in ``folder``. Raises StoreError where there are none."""
        return self._file(f"{folder}/{TIMESERIES}")

    def sources(self) -> Iterator[tuple[str, str]]:
        """Name and content of every sweep file, in the order in which they were taken in. Raises StoreError."""
        for name in takewhile(lambda name: (self.path / name).is_file(), sources()):
            yield name, self._file(name).decode("utf-8", "replace")

    def _file(self, name: str) -> bytes:
        try:
            file = self.path / name
            return (
                self._fetched(name) if self.elsewhere is not None and not file.exists() else file.read_bytes()
            )
        except OSError as exc:
            raise StoreError(
                f"can't read {inside(self.place, *name.split('/'))}: {exc.strerror or exc}"
            ) from exc

    def _fetched(self, name: str) -> bytes:
        assert self.elsewhere is not None, "the caller has looked"
        try:
            return self.elsewhere(name)
        except FileNotFoundError:
            raise
        except OSError:
            # A store that is down takes minutes to say so, each time it is asked.
            self.elsewhere = None
            raise

    def refused(self) -> tuple[RefusedExperiment, ...]:
        """What the last run that came to an end refused, of what isn't settled, as its summary says.

        Raises StoreError for a summary that can't be read; where there is none, nothing was refused.
        """
        try:
            summary = pq.read_table(pa.BufferReader(self._file(SUMMARY_PARQUET)), columns=list(_REFUSED))
        except StoreError as exc:
            if isinstance(exc.__cause__, FileNotFoundError):
                return ()
            raise
        except (pa.ArrowException, OSError) as exc:
            raise StoreError(f"{inside(self.place, SUMMARY_PARQUET)} can't be read: {exc}") from exc
        rows = {row["experiment_id"]: row for row in summary.to_pylist() if row["status"] == "refused"}
        return tuple(
            RefusedExperiment(planned, Refusal(row["failure_kind"]), row["failure_message"])
            for planned in self.unsettled()
            if (row := rows.get(planned.experiment_id)) is not None
        )

    def scan(self, damaged: Callable[[str, str], None] | None = None) -> None:
        """Find the outcomes stored.

        With ``damaged`` they are looked at more closely, sidecars too; it is told the folder and the reason of
        each that isn't whole, which then isn't counted. Raises ResumeError for the first of them without it, and
        for outcomes that are whole but don't belong here.
        """
        self._retried = _read_retried(self.path / RETRIED)
        failed: list[tuple[str, FailureRecord]] = []
        try:
            for entry in sorted(self.path.iterdir()):
                try:
                    self._look_at(entry, failed, closely=damaged is not None)
                except DamagedError as exc:
                    if damaged is None:
                        raise
                    damaged(entry.name, self._told(exc))
        except DamagedError as exc:
            raise ResumeError(
                f"{self.place} is damaged: {self._told(exc)}; --resume moves that folder aside and runs it again"
            ) from exc
        except StoreError as exc:
            raise ResumeError(
                f"{self.place} can't be used: {self._told(exc)}; move that folder away"
            ) from exc
        for folder, record in sorted(failed, key=lambda each: (each[1].time, each[1].attempt)):
            self.note_failed(record, folder)

    def _look_at(self, entry: Path, failed: list[tuple[str, FailureRecord]], *, closely: bool) -> None:
        if (entry / RESULT).is_file():
            result = load_result(entry)
            if closely:
                self._check_sidecar(entry, result)
                known = surroundings_of(result.environment_snapshot)
                self._surroundings = together(self._surroundings, known)
            self.note_completed(result.experiment_id, entry.name)
        elif (entry / FAILURE).is_file():
            failed.append((entry.name, load_failure(entry)))
        elif closely and (left := _left_of_an_outcome(entry)):
            raise DamagedError(f"{entry} holds {left}, but neither {RESULT} nor {FAILURE}")

    def _check_sidecar(self, folder: Path, result: ExperimentResult) -> None:
        check_sidecar(folder, result)

    def _told(self, error: StoreError) -> str:
        return retold(str(error), self.path, self.place)

    def note_completed(self, experiment_id: str, folder: str) -> None:
        """Count ``folder`` in. Raises StoreError when its experiment is completed already, or not planned."""
        if experiment_id not in self._planned:
            raise StoreError(f"{folder} holds experiment {experiment_id}, which this sweep doesn't plan")
        if (earlier := self.completed(experiment_id)) is not None:
            raise StoreError(f"{folder} and {earlier} both hold the result of {experiment_id}")
        self._settled[experiment_id] = Settled("completed", folder)

    def note_failed(self, record: FailureRecord, folder: str) -> None:
        """Count ``folder`` in."""
        self._failures[folder] = record.experiment_id
        if folder in self._retried:
            return
        if record.counts:
            self._tried[record.experiment_id][record.kind] += 1
        if record.settles:
            self._settled.setdefault(record.experiment_id, Settled("failed", folder))


def read_sweep_folder(path: Path, place: str | None = None) -> SweepRecords:
    """The sweep in the folder ``path``, which users call ``place``.

    Raises ResumeError when ``path`` isn't a sweep's folder, or is damaged.
    """
    records = SweepRecords(*read_sweep_head(path), place)
    records.scan()
    return records


def read_sweep_head(path: Path) -> tuple[Path, SweepPlan, RunSettings]:
    """What was fixed when the folder was created. Raises ResumeError."""
    check_sweep_folder(path)
    return path, _read_plan(path / PLAN), _read_settings(path / SETTINGS)


def load_failure(folder: Path) -> FailureRecord:
    """The failed attempt stored in ``folder``. Raises StoreError; DamagedError when it is broken."""
    file = folder / FAILURE
    try:
        return FailureRecord.model_validate_json(file.read_bytes())
    except OSError as exc:
        raise StoreError(f"can't read {file}: {exc.strerror or exc}") from exc
    except ValidationError as exc:
        raise DamagedError(f"{file} isn't a failure record: {exc.errors()[0]['msg']}") from exc


def check_sweep_folder(path: Path) -> None:
    """Raises ResumeError unless ``path`` is the folder of a sweep."""
    if not path.is_dir():
        raise ResumeError(f"{path} isn't a folder: give the folder of an earlier sweep")
    missing = [name for name in (PLAN, SETTINGS) if not (path / name).is_file()]
    if missing:
        raise ResumeError(f"{path} isn't the folder of a sweep: it holds no {' and no '.join(missing)}")


def _read_plan(file: Path) -> SweepPlan:
    try:
        return plan_from_json(file.read_text(encoding="utf-8"))
    except (ResumeError, OSError, UnicodeDecodeError) as exc:
        raise ResumeError(f"{file} can't be used, so the sweep can't be continued: {exc}") from exc


def _read_settings(file: Path) -> RunSettings:
    try:
        return TypeAdapter(RunSettings).validate_json(file.read_bytes())
    except OSError as exc:
        raise ResumeError(f"{file} can't be used, so the sweep can't be continued: {exc}") from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        reason = ": ".join([*map(str, first["loc"]), first["msg"]])
        raise ResumeError(f"{file} can't be used, so the sweep can't be continued: {reason}") from exc


def _read_retried(file: Path) -> frozenset[str]:
    try:
        return TypeAdapter(frozenset[str]).validate_json(file.read_bytes())
    except FileNotFoundError:
        return frozenset()
    except OSError as exc:
        raise ResumeError(f"can't read {file}: {exc.strerror or exc}") from exc
    except ValidationError as exc:
        raise ResumeError(
            f"{file} is damaged: {exc.errors()[0]['msg']}; without it, what was to be retried counts as failed"
            " again, and --retry-failed takes it up"
        ) from exc


def _left_of_an_outcome(folder: Path) -> str | None:
    """A file in ``folder`` that only an experiment leaves there, finished or not."""
    if folder.name.startswith(".") or folder.name == FIGURES or not folder.is_dir():
        return None
    names = sorted(file.name for file in folder.iterdir())
    return next((name for name in names if name in SIDECARS or name.endswith(PARTIAL)), None)


def retried_to_json(folders: Collection[str]) -> str:
    """What :data:`RETRIED` holds."""
    return json.dumps(sorted(folders), indent=1) + "\n"


def settings_to_json(settings: RunSettings) -> str:
    """What :data:`SETTINGS` holds."""
    return json.dumps(settings._asdict(), indent=2) + "\n"
