"""What the page needs of results and failures beside the rows of the summary, kept small."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from llem_sweep.results.environment import BoardInfo
from llem_sweep.results.experiment import ExperimentResult
from llem_sweep.results.failure import FailureRecord
from llem_sweep.results.warnings import REMEDIES, WarningCode

MOST_MESSAGES = 5
"""Messages kept of each kind of warning."""
MOST_FAILURES = 200
"""Failed attempts whose texts are kept, the latest."""
_TEXT = 4000
"""Characters kept of a traceback or a log, from its end."""


class Doubt(NamedTuple):
    """One kind of warning over the whole sweep."""

    code: WarningCode
    results: int
    """How many have it."""
    messages: tuple[tuple[str, str], ...]
    """Folder and message of the first few."""

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return REMEDIES[self.code]


class Evidence:
    """What results say about themselves, taken in one at a time."""

    def __init__(self) -> None:
        self.boards: dict[tuple[str, str, bool], BoardInfo] = {}
        """Every board that was metered, by node, UUID and whether it was simulated."""
        self.said: dict[str, Counter[str]] = {}
        """How many results say what, for each fact that belongs to the whole of a sweep."""
        self.packages: dict[str, Counter[str]] = {}
        """Versions of the packages that matter."""
        self.backends: dict[str, dict[str, object]] = {}
        """What the backend made of each configuration, by its hash."""
        self.span: tuple[datetime, datetime] | None = None
        """From the start of the first window to the end of the last."""
        self.failures: list[tuple[str, FailureRecord]] = []
        self._doubts: dict[WarningCode, tuple[int, list[tuple[str, str]]]] = {}
        self._made: dict[str, dict[str, object]] = {}
        """The different ones of ``backends``: most configurations have the same."""

    def add(self, folder: str, result: ExperimentResult) -> None:
        """Take in ``result``, stored in ``folder``."""
        snapshot = result.environment_snapshot
        for board in snapshot.devices:
            self.boards.setdefault((snapshot.node, board.uuid, board.simulated), board)
        for name, value in _facts(result):
            self.said.setdefault(name, Counter())[value] += 1
        for package, version in snapshot.installed_packages.items():
            self.packages.setdefault(package, Counter())[version] += 1
        began, ended = self.span or (result.start_time, result.end_time)
        self.span = min(began, result.start_time), max(ended, result.end_time)
        made = result.effective_config.backend
        self.backends.setdefault(result.measurement_config_hash, self._made.setdefault(repr(made), made))
        for warning in result.measurement_warnings:
            count, messages = self._doubts.get(warning.code, (0, []))
            if len(messages) < MOST_MESSAGES:
                messages.append((folder, warning.message))
            self._doubts[warning.code] = (count + 1, messages)

    def add_failure(self, folder: str, record: FailureRecord) -> None:
        """Take in a failed attempt; of many, the latest are kept."""
        slim = record.model_copy(
            update={
                "config": {},
                "traceback": record.traceback[-_TEXT:],
                "log_tail": record.log_tail[-_TEXT:],
            }
        )
        self.failures.append((folder, slim))
        del self.failures[:-MOST_FAILURES]

    def doubts(self) -> tuple[Doubt, ...]:
        """Every kind of warning, the most frequent first."""
        found = [Doubt(code, count, tuple(messages)) for code, (count, messages) in self._doubts.items()]
        return tuple(sorted(found, key=lambda doubt: -doubt.results))


def _facts(result: ExperimentResult) -> Iterable[tuple[str, str]]:
    snapshot = result.environment_snapshot
    breakdown = result.energy_breakdown
    known: dict[str, object] = {
        "llem-sweep": snapshot.tool_version,
        "Python": snapshot.python_version,
        "Backend": f"{result.backend} ({result.backend_version})",
        "CUDA": snapshot.cuda_version,
        "NVML library": snapshot.nvml_library,
        "Platform": snapshot.hardware.cpu.platform,
        "CPU": snapshot.hardware.cpu.model,
        "Identity of boards": snapshot.identity,
        "Window": result.measurement_methodology,
        "Energy by": None
        if breakdown is None
        else ", ".join(sorted(filter(None, {*breakdown.energy_methods}))),
        "Idle power by": None if breakdown is None else breakdown.baseline_method,
        "Estimator": result.energy_estimator,
        "Coverage": None if result.energy_coverage is None else f"{result.energy_coverage:.0%}",
        "Gain error of the boards": _gain(result),
    }
    return ((name, str(value)) for name, value in known.items() if value not in (None, ""))


def _gain(result: ExperimentResult) -> str | None:
    gain = result.energy_breakdown.gain_error_pct if result.energy_breakdown else None
    return None if gain is None else f"{gain[0]:+g} % to {gain[1]:+g} %, in no bound"
