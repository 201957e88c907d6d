"""Brings a sweep's folder on this machine and the one in the object store together, before a run goes on.

The store is the truth about what is in it; what waits here from an earlier run is added to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from llem_sweep.errors import ResumeError, StoreError
from llem_sweep.store.atomic import write_file
from llem_sweep.store.layout import (
    DAMAGED,
    FAILURE,
    FIGURES,
    JOURNAL_SEGMENTS,
    LEASE,
    PLAN,
    RESULT,
    RETRIED,
    SETTINGS,
    candidates,
    sources,
)
from llem_sweep.store.objects import Entry, ObjectStore, get_all
from llem_sweep.store.read import load_result
from llem_sweep.store.spool import Spool
from llem_sweep.store.uri import StoreUri


class Superseded(NamedTuple):
    """A result that waited here while another run completed its experiment."""

    experiment_id: str
    folder: str


def check_sweep(entries: Mapping[str, Entry], uri: StoreUri) -> None:
    """Raises ResumeError unless ``entries``, the listing of ``uri``, are those of a sweep."""
    if missing := [name for name in (PLAN, SETTINGS) if name not in entries]:
        raise ResumeError(f"{uri.shown} isn't the folder of a sweep: it holds no {' and no '.join(missing)}")


def outcomes_in(entries: Mapping[str, Entry]) -> dict[str, str]:
    """The marker of every complete experiment's folder, by the folder's name."""
    found: dict[str, str] = {}
    for marker in (FAILURE, RESULT):
        names = (name.split("/") for name in entries)
        found |= {parts[0]: marker for parts in names if len(parts) == 2 and parts[1] == marker}
    return found


def gather(store: ObjectStore, entries: Mapping[str, Entry], spool: Spool) -> tuple[Superseded, ...]:
    """Make ``spool`` hold every outcome there is, and know which of them ``store`` has.

    ``entries`` is the listing of ``store``. Returns what another run has superseded, which is removed here.
    Raises OSError.
    """
    stored = outcomes_in(entries)
    _forget_what_was_removed(spool, stored)
    _find_what_waits(spool, stored, entries)
    missing = [
        f"{folder}/{marker}" for folder, marker in stored.items() if _differs(spool, folder, marker, entries)
    ]
    for name in (SETTINGS, PLAN, RETRIED, *_sources(spool)):
        if name not in entries:
            (spool.path / name).unlink(missing_ok=True)
    head = [name for name in entries if "/" not in name]
    for name, content in get_all(store, head + missing).items():
        (spool.path / name).parent.mkdir(exist_ok=True)
        write_file(spool.path / name, content)
    for folder in stored:
        spool.note_uploaded(folder)
    _remove_halves(store, entries, stored)
    return _drop_superseded(spool)


def _sources(spool: Spool) -> list[str]:
    """Sweep files here."""
    return list(takewhile(lambda name: (spool.path / name).exists(), sources()))


def _forget_what_was_removed(spool: Spool, stored: Mapping[str, str]) -> None:
    """A user moves an outcome away in the store to have its experiment run again."""
    for folder in sorted(spool.uploaded - stored.keys()):
        spool.forget(folder)


def _find_what_waits(spool: Spool, stored: Mapping[str, str], entries: Mapping[str, Entry]) -> None:
    """Give a new name to what waits under one that another run has used since."""
    for folder in spool.waiting():
        if folder in stored and _differs(spool, folder, stored[folder], entries):
            taken = stored.keys() | {path.name for path in spool.path.iterdir()}
            free = next(name for name in candidates(folder) if name not in taken)
            (spool.path / folder).rename(spool.path / free)


def _differs(spool: Spool, folder: str, marker: str, entries: Mapping[str, Entry]) -> bool:
    """Whether the outcome here, if there is one, is another than the store's."""
    file = spool.path / folder / marker
    return not file.is_file() or file.stat().st_size != entries[f"{folder}/{marker}"].size


def _remove_halves(store: ObjectStore, entries: Mapping[str, Entry], stored: Mapping[str, str]) -> None:
    """Delete what uploads that never came to an end have left; what waits here is uploaded anew."""
    for name in entries:
        folder, slash, _ = name.partition("/")
        if slash and folder not in (JOURNAL_SEGMENTS, LEASE, DAMAGED, FIGURES) and folder not in stored:
            store.delete(name)


def _drop_superseded(spool: Spool) -> tuple[Superseded, ...]:
    outcomes = spool.outcomes()
    results = [folder for folder, marker in outcomes.items() if marker == RESULT]
    completed = {_experiment(spool.path / folder) for folder in results if folder in spool.uploaded}
    dropped = []
    for folder in results:
        if folder not in spool.uploaded and (experiment := _experiment(spool.path / folder)) in completed:
            spool.forget(folder)
            dropped.append(Superseded(experiment, folder))
    return tuple(dropped)


def _experiment(folder: Path) -> str:
    """The experiment of a result; the name of its folder where it is damaged, which is told later."""
    try:
        return load_result(folder).experiment_id
    except StoreError:
        return folder.name
