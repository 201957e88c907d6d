"""Sweeps to work on or to read, wherever they are kept: in a local folder or, by a URI, in an object store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from llem_sweep.clock import Clock
from llem_sweep.errors import OutputError
from llem_sweep.plan.types import SweepPlan
from llem_sweep.store.folder import SweepFolder
from llem_sweep.store.layout import PLAN, RESULT
from llem_sweep.store.objects import open_store, unreachable
from llem_sweep.store.records import RunSettings, SweepRecords, read_sweep_folder
from llem_sweep.store.remote import create_in_store, open_in_store, read_from_store
from llem_sweep.store.uri import StoreUri, parse_place

Tell = Callable[[str], None]


def create_sweep(
    output: Path | str, plan: SweepPlan, settings: RunSettings, source: str, clock: Clock, tell: Tell
) -> SweepFolder:
    """Make ``{sweep}_{time}`` (or ``…-2``, …) for ``plan`` in ``output``, a path or a URI.

    ``source`` is the sweep's file as given; ``tell`` hears what happens to a store while the sweep runs.
    Raises ConfigError for a URI that isn't one, OutputError with nothing left behind.
    """
    place = parse_place(output)
    if isinstance(place, Path):
        return SweepFolder.create(place, plan, settings, source, clock)
    return create_in_store(open_store(place), plan, settings, source, clock, tell)


def open_sweep(place: Path | str, clock: Clock, tell: Tell) -> SweepFolder:
    """Continue the sweep at ``place``, a path or a URI, after putting right what a crash left unfinished.

    Raises ResumeError when it isn't a sweep's folder, is damaged, or another run is working on it;
    OutputError when it can't be written.
    """
    where = parse_place(place)
    if isinstance(where, Path):
        return SweepFolder.open(where, clock)
    return open_in_store(open_store(where), clock, tell)


def read_sweep(place: Path | str) -> SweepRecords:
    """The sweep stored at ``place``, a path or a URI.

    Raises ResumeError when it isn't a sweep's folder, or is damaged; OutputError when a store doesn't answer.
    """
    where = parse_place(place)
    return read_sweep_folder(where) if isinstance(where, Path) else read_from_store(open_store(where))


def sweeps_in(place: Path | str) -> tuple[str, ...]:
    """Every sweep right in ``place``, a path or a URI, as :func:`open_sweep` takes it: credentials in a URI stay.

    Raises ConfigError for a URI that isn't one, OutputError when a store doesn't answer.
    """
    where = parse_place(place)
    if isinstance(where, Path):
        return tuple(str(plan.parent) for plan in sorted(where.glob(f"*/{PLAN}")))
    try:
        entries = open_store(where).entries()
    except OSError as exc:
        raise OutputError(unreachable(where, exc)) from exc
    names = sorted(name.split("/") for name in entries)
    return tuple(where.below(top).whole for top, *rest in names if rest == [PLAN])


def experiment_at(place: Path | str) -> tuple[Path | str, str | None]:
    """The sweep that the experiment's folder ``place``, a path or a URI, is in, and its folder's name there.

    Of an experiment that is in no sweep's folder, its own, which is called ``.`` in itself. Where ``place`` holds
    no result it is no experiment's folder: then itself and None. One folder is told in one way, however it was
    written: absolute, or without a slash at its end. Raises OutputError when a store doesn't answer.
    """
    where = parse_place(place)
    if isinstance(where, Path):
        folder = where.resolve()
        if not (folder / RESULT).is_file():
            return folder, None
        return (folder.parent, folder.name) if (folder.parent / PLAN).is_file() else (folder, ".")
    above = where._replace(path=where.path.rpartition("/")[0])
    try:
        if not _is_in(where, RESULT):
            return where.whole, None
        return (above.whole, where.name) if _is_in(above, PLAN) else (where.whole, ".")
    except OSError as exc:
        raise OutputError(unreachable(where, exc)) from exc


def _is_in(where: StoreUri, name: str) -> bool:
    try:
        open_store(where).get(name)
    except FileNotFoundError:
        return False
    return True
