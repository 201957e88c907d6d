"""Sweeps kept in an object store: gathered in a local folder by the run at work on them, uploaded from there.

What is settled is durable on local disk; a machine lost for good takes along what it hadn't uploaded yet, and the
next run measures that again.
"""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import takewhile
from pathlib import Path
from tempfile import mkdtemp
from typing import NamedTuple

from llem_sweep.clock import Clock
from llem_sweep.errors import OutputError, ResumeError
from llem_sweep.plan.types import SweepPlan
from llem_sweep.store import layout
from llem_sweep.store.atomic import recover
from llem_sweep.store.fetch import fetch
from llem_sweep.store.folder import SweepFolder
from llem_sweep.store.gather import check_sweep, gather, outcomes_in
from llem_sweep.store.lease import Lease
from llem_sweep.store.objects import ObjectStore, unreachable
from llem_sweep.store.records import RunSettings, SweepRecords, read_sweep_folder
from llem_sweep.store.spool import Spool, spool_folder
from llem_sweep.store.upload import StoreMirror
from llem_sweep.store.uri import StoreUri

_HEAD = (layout.SOURCE, layout.SETTINGS, layout.PLAN)
"""In this order: a sweep is there once its plan is."""


class _Claimed(NamedTuple):
    store: ObjectStore
    spool: Spool
    lease: Lease


def create_in_store(
    top: ObjectStore,
    plan: SweepPlan,
    settings: RunSettings,
    source: str,
    clock: Clock,
    tell: Callable[[str], None],
) -> SweepFolder:
    """Make ``{sweep}_{time}`` (or ``…-2``, …) for ``plan`` in ``top``; ``tell`` hears when the store fails.

    Raises OutputError, with nothing left behind.
    """
    with _reaching(top.uri), ExitStack() as undo:
        store, spool, lease = _claim_new(top, layout.sweep_folder(plan.name, clock.now()), clock)
        undo.callback(spool.remove)
        undo.callback(spool.lock.close)
        undo.callback(lease.release)
        mirror = StoreMirror(store, spool, lease, {}, clock, tell)
        folder = SweepFolder.fill(spool.path, plan, settings, source, spool.lock, clock, mirror)
        undo.pop_all()
        undo.callback(folder.discard)
        for name in _HEAD:
            store.put(name, (spool.path / name).read_bytes())
        folder.elsewhere = store.get
        mirror.start()
        undo.pop_all()
    return folder


def open_in_store(store: ObjectStore, clock: Clock, tell: Callable[[str], None]) -> SweepFolder:
    """Continue the sweep in ``store``; what waits on this machine from an earlier run is uploaded.

    Raises ResumeError when it isn't a sweep, is damaged, or another run is working on it; OutputError when it or
    the local folder can't be written.
    """
    with _reaching(store.uri), ExitStack() as undo:
        check_sweep(store.entries(), store.uri)
        spool = Spool(spool_folder(store.uri))
        undo.callback(spool.lock.close)
        lease = Lease(store, spool.token, clock)
        lease.take()
        undo.callback(lease.release)
        recovered = recover(spool.path, (layout.RESULT, layout.FAILURE))
        # Listed again: whoever held the lease may have written until it was taken.
        entries = store.entries()
        superseded = gather(store, entries, spool)
        mirror = StoreMirror(store, spool, lease, entries, clock, tell)
        undo.pop_all()
        folder = SweepFolder.continued(spool.path, spool.lock, clock, mirror)
        undo.callback(folder.close)
        folder.elsewhere = store.get
        mirror.start()
        for name in recovered:
            folder.journal("recovered", folder=name)
        for each in superseded:
            folder.journal("superseded", **each._asdict())
            tell(
                f"{each.folder} waited here, but another run has completed its experiment since: it is dropped"
            )
        undo.pop_all()
    return folder


def read_from_store(store: ObjectStore) -> SweepRecords:
    """The sweep in ``store``, from a copy of its outcomes that goes when the records do.

    Raises ResumeError when it isn't a sweep or is damaged, OutputError when the store doesn't answer.
    """
    path = Path(mkdtemp(prefix="llem-sweep-"))
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, path)
        with _reaching(store.uri):
            entries = store.entries()
            check_sweep(entries, store.uri)
            outcomes = [f"{folder}/{marker}" for folder, marker in outcomes_in(entries).items()]
            head = [name for name in (layout.PLAN, layout.SETTINGS, layout.RETRIED) if name in entries]
            head += takewhile(entries.__contains__, layout.sources())
            fetch(store, head + outcomes, path)
        records = read_sweep_folder(path, store.uri.shown)
        records.elsewhere = store.get
        undo.pop_all()
    weakref.finalize(records, shutil.rmtree, path)
    return records


def _claim_new(top: ObjectStore, name: str, clock: Clock) -> _Claimed:
    """A folder of ``top`` that nobody has yet, called ``name`` or ``name-2``, …."""
    for free in layout.candidates(name):
        store = top.below(free)
        path = spool_folder(store.uri)
        if path.exists() or store.entries():
            continue
        spool = Spool(path)
        lease = Lease(store, spool.token, clock)
        try:
            lease.take()
            if layout.PLAN not in store.entries():
                return _Claimed(store, spool, lease)
            lease.release()
        except ResumeError:
            pass  # somebody makes a sweep of that name at this moment
        except OSError:
            spool.remove()
            raise
        spool.lock.close()
        spool.remove()
    raise AssertionError("there is always another name")


@contextmanager
def _reaching(uri: StoreUri) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise OutputError(unreachable(uri, exc)) from exc
