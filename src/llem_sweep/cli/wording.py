"""Numbers as people read them. Unknown is an en dash, never 0."""

from __future__ import annotations

from llem_sweep.execution.progress import STARTING, Progress, WorkerState
from llem_sweep.phases import Phase
from llem_sweep.report import rounding

UNKNOWN = "–"
_PHASES = {Phase.CONTEXT: "baseline", Phase.PREFILL: "measure", Phase.DECODE: "measure"}
"""Of the phases that have another name for people: idle power with the model resident is a baseline as well."""


def energy(energy_j: float | None) -> str:
    """Energy with three digits and its unit, for example ``1.23 kJ``."""
    if energy_j is None:
        return UNKNOWN
    size = abs(energy_j)
    for unit, factor in (("GJ", 1e9), ("MJ", 1e6), ("kJ", 1e3), ("J", 1.0)):
        # A number that rounds up to the next unit is shown in that one: 1.00 kJ rather than 1e+03 J.
        if size >= 0.9995 * factor:
            return f"{significant(energy_j / factor)} {unit}"
    return f"{significant(energy_j * 1e3)} mJ" if size else "0 J"


def gigabytes(size: float | None) -> str:
    """Memory of ``size`` bytes in GB (10^9 bytes), for example ``85.5 GB``: boards and estimates in one unit."""
    return UNKNOWN if size is None else f"{size / 1e9:,.1f} GB"


def significant(value: float | None, digits: int = 3) -> str:
    """A number with ``digits`` digits that count, where it is known."""
    return UNKNOWN if value is None else rounding.significant(value, digits)


def percent(part: float | None, whole: float | None) -> str:
    """A share with two digits, for example ``0.43 %``."""
    if part is None or not whole:
        return UNKNOWN
    return f"{significant(100 * part / abs(whole), 2)} %"


def duration(duration_s: float | None) -> str:
    """Time in its two largest units, for example ``2 min 05 s``."""
    if duration_s is None:
        return UNKNOWN
    seconds = round(max(0.0, duration_s))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if not minutes:
        return f"{seconds} s"
    if not hours:
        return f"{minutes} min {seconds % 60:02} s"
    if not days:
        return f"{hours} h {minutes % 60:02} min"
    return f"{days} d {hours % 24:02} h"


def count(number: int, noun: str) -> str:
    """A number and its noun, for example ``1 experiment`` or ``2 experiments``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def progress_counts(progress: Progress) -> str:
    """How far a sweep is, for example ``3 of 8 done, 1 failed, 2 running``."""
    parts = [f"{progress.done:,} of {progress.total:,} done"]
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    if progress.running:
        parts.append(f"{progress.running:,} running")
    return ", ".join(parts)


def progress_times(progress: Progress) -> str:
    """Time spent and left; ``roughly`` until anything has completed that corrects the forecast."""
    parts = [f"{duration(progress.elapsed_s)} so far"]
    if progress.remaining_s is not None and progress.done + progress.failed < progress.total:
        how = "about" if progress.learnt else "roughly"
        parts.append(f"{how} {duration(progress.remaining_s)} left")
    return ", ".join(parts)


def progress_energy(progress: Progress) -> str | None:
    """The energy so far, what it counts, and whether it is simulated; None before any is known."""
    if progress.energy_j is None:
        return None
    kind = "simulated" if progress.energy_simulated else "measured"
    return f"{energy(progress.energy_j)} in {count(progress.energy_windows, f'{kind} window')}"


def phase_name(worker: WorkerState) -> str:
    """What a worker is at: starting, idle, baseline, load, warm-up, settle, measure or cool."""
    return STARTING if worker.board == STARTING else _PHASES.get(worker.phase, worker.phase.value)


def short_model(model: str) -> str:
    """The last component of a model's name or path."""
    return model.rstrip("/").rsplit("/", 1)[-1] or model
