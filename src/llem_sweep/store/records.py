"""What a sweep's folder holds. Reading changes nothing, so it may be done while a run is at work."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import TypeAdapter, ValidationError

from llem_sweep.errors import ResumeError, StoreError
from llem_sweep.plan.serial import plan_from_json
from llem_sweep.plan.types import PlannedExperiment, SweepPlan
from llem_sweep.results.experiment import ExperimentResult
from llem_sweep.results.failure import FailureRecord
from llem_sweep.results.outcome import FailureKind
from llem_sweep.store.layout import FAILURE, PLAN, RESULT, SETTINGS
from llem_sweep.store.read import load_result


class RunSettings(NamedTuple):
    """How a sweep runs, fixed when its folder is created."""

    simulate_gpus: int | None
    inline: bool
    address: str | None
    tool_version: str


class Settled(NamedTuple):
    """An experiment that is done with."""

    state: Literal["completed", "failed"]
    folder: str
    """Name of its folder inside the sweep's."""


class SweepRecords:
    """The plan, the settings and every outcome stored in a sweep's folder."""

    def __init__(self, path: Path, plan: SweepPlan, settings: RunSettings) -> None:
        """Without looking for outcomes: :meth:`scan` does that."""
        self.path = path
        self.plan = plan
        self.settings = settings
        self._planned = {experiment.experiment_id for experiment in plan.experiments}
        self._settled: dict[str, Settled] = {}
        self._tried: defaultdict[str, Counter[FailureKind]] = defaultdict(Counter)
        self._failures: list[str] = []

    def settled(self) -> dict[str, Settled]:
        """Experiments that are done with, by id."""
        return dict(self._settled)

    def unsettled(self) -> tuple[PlannedExperiment, ...]:
        """Experiments that aren't, in planned order."""
        return tuple(
            planned for planned in self.plan.experiments if planned.experiment_id not in self._settled
        )

    def tried(self) -> dict[str, Counter[FailureKind]]:
        """Failed attempts by experiment id and kind; what a user cut off isn't counted."""
        return {experiment_id: Counter(kinds) for experiment_id, kinds in self._tried.items()}

    def attempts(self) -> dict[str, int]:
        """How often each experiment has failed, by id; what a user cut off isn't counted."""
        return {experiment_id: kinds.total() for experiment_id, kinds in self._tried.items()}

    def completed(self, experiment_id: str) -> str | None:
        """Name of the folder that holds the experiment's result; None when there is none."""
        settled = self._settled.get(experiment_id)
        return settled.folder if settled is not None and settled.state == "completed" else None

    def results(self) -> Iterator[tuple[str, ExperimentResult]]:
        """Folder name and result of every completed experiment, in planned order. Raises StoreError."""
        for experiment in self.plan.experiments:
            if (folder := self.completed(experiment.experiment_id)) is not None:
                yield folder, load_result(self.path / folder)

    def failures(self) -> Iterator[tuple[str, FailureRecord]]:
        """Folder name and record of every failed attempt, oldest first. Raises StoreError."""
        for folder in self._failures:
            yield folder, load_failure(self.path / folder)

    def scan(self) -> None:
        """Find the outcomes stored. Raises ResumeError when one of them is damaged."""
        failed: list[tuple[str, FailureRecord]] = []
        try:
            for entry in sorted(self.path.iterdir()):
                if (entry / RESULT).is_file():
                    self.note_completed(load_result(entry).experiment_id, entry.name)
                elif (entry / FAILURE).is_file():
                    failed.append((entry.name, load_failure(entry)))
        except StoreError as exc:
            raise ResumeError(
                f"{self.path} is damaged: {exc}; move that folder away to run it again"
            ) from exc
        for folder, record in sorted(failed, key=lambda each: (each[1].time, each[1].attempt)):
            self.note_failed(record, folder)

    def note_completed(self, experiment_id: str, folder: str) -> None:
        """Count ``folder`` in. Raises StoreError when its experiment is completed already, or not planned."""
        if experiment_id not in self._planned:
            raise StoreError(f"{folder} holds experiment {experiment_id}, which this sweep doesn't plan")
        if (earlier := self.completed(experiment_id)) is not None:
            raise StoreError(f"{folder} and {earlier} both hold the result of {experiment_id}")
        self._settled[experiment_id] = Settled("completed", folder)

    def note_failed(self, record: FailureRecord, folder: str) -> None:
        """Count ``folder`` in."""
        self._failures.append(folder)
        if record.counts:
            self._tried[record.experiment_id][record.kind] += 1
        if record.settles:
            self._settled.setdefault(record.experiment_id, Settled("failed", folder))


def read_sweep(path: Path | str) -> SweepRecords:
    """The sweep stored at ``path``.

    Raises ResumeError when ``path`` isn't a sweep's folder, or is damaged.
    """
    records = SweepRecords(*read_sweep_head(Path(path)))
    records.scan()
    return records


def read_sweep_head(path: Path) -> tuple[Path, SweepPlan, RunSettings]:
    """What was fixed when the folder was created. Raises ResumeError."""
    check_sweep_folder(path)
    return path, _read_plan(path / PLAN), _read_settings(path / SETTINGS)


def load_failure(folder: Path) -> FailureRecord:
    """The failed attempt stored in ``folder``. Raises StoreError."""
    file = folder / FAILURE
    try:
        return FailureRecord.model_validate_json(file.read_bytes())
    except OSError as exc:
        raise StoreError(f"can't read {file}: {exc.strerror or exc}") from exc
    except ValidationError as exc:
        raise StoreError(f"{file} isn't a failure record: {exc.errors()[0]['msg']}") from exc


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


def settings_to_json(settings: RunSettings) -> str:
    """What :data:`SETTINGS` holds."""
    return json.dumps(settings._asdict(), indent=2) + "\n"
