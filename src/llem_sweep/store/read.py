"""Reading results back."""

from __future__ import annotations

import gc
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import permutations
from pathlib import Path
from typing import get_args

import pyarrow as pa
from pydantic import ValidationError
from pydantic_core import from_json

from llem_sweep.errors import ConfigError, DamagedError, OutputError, StoreError
from llem_sweep.results.experiment import SCHEMA_VERSION, ExperimentResult, SchemaVersion
from llem_sweep.results.outcome import REQUESTS
from llem_sweep.store.fetch import local_copy
from llem_sweep.store.layout import DAMAGED, RESULT, STAGING
from llem_sweep.store.objects import open_store, unreachable
from llem_sweep.store.tables import ResultTable
from llem_sweep.store.uri import StoreUri, parse_place, shown

_READ_AT_ONCE = 128
"""Results are kept as objects for as long as it takes to make columns of them."""


def load_result(path: Path | str) -> ExperimentResult:
    """The result stored at ``path``, a ``result.json`` or the folder that holds one; a URI may name either.

    Raises StoreError when there is none, or it is of another schema version; DamagedError when it is broken.
    """
    where = parse_place(path)
    if isinstance(where, Path):
        return _parsed(*_read_file(where / RESULT if where.is_dir() else where))
    return _parsed(*_read_stored(where))


def load_results(folder: Path | str | Sequence[Path | str]) -> pa.Table:
    """Every result in ``folder``, a path or a URI, and below, one row each, in the order of their folders' names.

    Columns are the fields of :class:`ExperimentResult` (nested ones dotted; energy per device, device UUIDs and
    warning codes as lists), ``config.<field>`` for each configuration field that departs from its default in any
    row, and ``folder``, relative to the given one. Column types are the same however many rows there are. Rows
    that aren't measurements say so in ``measured_on``.

    Of several folders, a sequence, the rows follow each other as the folders do, and ``sweep``, right before
    ``folder``, says of which one a row is: the folder as given, without credentials.

    Raises StoreError when a folder can't be read or any result in it is broken, ConfigError for no folder, or one
    that lies in another: its results would count twice.
    """
    folders = (folder,) if isinstance(folder, str | Path) else tuple(folder)
    _check_apart(folders)
    gathered = ResultTable()
    for each in folders:
        with local_copy(each, {RESULT}) as copy, _no_collections():
            _gather(copy.path, shown(each), gathered)
    return gathered.table(several=not isinstance(folder, str | Path))


@contextmanager
def _no_collections() -> Iterator[None]:
    """Python's collector of cycles at rest: results hold none, and looking for some among thousands of them would
    take a quarter of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _gather(top: Path, sweep: str, gathered: ResultTable) -> None:
    if not top.is_dir():
        raise StoreError(f"no folder at {top}: give a sweep's folder or one above it")
    places = sorted(result_folders(top))
    for start in range(0, len(places), _READ_AT_ONCE):
        few = places[start : start + _READ_AT_ONCE]
        results = [_parsed(*_read_file(place / RESULT)) for place in few]
        gathered.add(sweep, [place.relative_to(top).as_posix() for place in few], results)


def _check_apart(folders: Sequence[Path | str]) -> None:
    """Raises ConfigError unless there are folders, and none is in another."""
    if not folders:
        raise ConfigError("no folder to load results from: give a sweep's folder or one above it")
    parts = [_parts(each) for each in folders]
    for one, other in permutations(range(len(folders)), 2):
        if parts[other][: len(parts[one])] == parts[one]:
            where = "is given twice" if parts[one] == parts[other] else f"lies in {shown(folders[one])}"
            raise ConfigError(
                f"{shown(folders[other])} {where}: its results would count twice; leave one out"
            )


def _parts(folder: Path | str) -> tuple[str, ...]:
    where = parse_place(folder)
    if isinstance(where, Path):
        return where.resolve().parts
    return (where.scheme, where.authority.rpartition("@")[2], *where.path.split("/"))


def load_sidecar(folder: Path, result: ExperimentResult) -> bytes:
    """The sidecar of ``result``, which was read from ``folder``. Raises StoreError when there is none."""
    if result.timeseries is None:
        raise StoreError(f"{folder / RESULT} names no sidecar")
    return _read_beside(folder, result.timeseries)


def load_request_records(folder: Path, result: ExperimentResult) -> bytes | None:
    """The records of the requests of ``result``, which was read from ``folder``; None where it names none.

    Raises StoreError.
    """
    names = {further.name for further in result.further_files or ()}
    return _read_beside(folder, REQUESTS) if REQUESTS in names else None


def check_sidecar(
    folder: Path, result: ExperimentResult, elsewhere: Callable[[str], bool] = lambda name: False
) -> None:
    """Raises DamagedError unless the files that ``result`` names are beside it in ``folder``, and those that it
    was stored with. Those that are kept ``elsewhere``, by name, aren't looked for."""
    if result.timeseries is not None and not elsewhere(result.timeseries):
        _check_beside(folder / Path(result.timeseries).name, result.timeseries_sha256)
    check_further(folder, result, elsewhere)


def check_further(
    folder: Path, result: ExperimentResult, elsewhere: Callable[[str], bool] = lambda name: False
) -> None:
    """The same for what is there beside the sidecar."""
    for further in result.further_files or ():
        if not elsewhere(further.name):
            _check_beside(folder / Path(further.name).name, further.sha256)


def _read_beside(folder: Path, name: str) -> bytes:
    # A name with folders in it would lead out of the experiment's own.
    file = folder / Path(name).name
    try:
        return file.read_bytes()
    except OSError as exc:
        raise StoreError(f"can't read {file}: {exc.strerror or exc}") from exc


def _check_beside(file: Path, digest: str | None) -> None:
    try:
        with file.open("rb") as content:
            if digest is None:
                return
            found = hashlib.file_digest(content, "sha256").hexdigest()
    except FileNotFoundError as exc:
        raise DamagedError(f"{file} is missing") from exc
    except OSError as exc:
        raise StoreError(f"can't read {file}: {exc.strerror or exc}") from exc
    if found != digest:
        raise DamagedError(
            f"{file} isn't the one that its result was stored with: its digest is {found[:12]}…,"
            f" not {digest[:12]}…"
        )


def result_folders(top: Path) -> Iterator[Path]:
    """Every folder in ``top`` and below, itself included, that holds a result. Raises StoreError."""
    for place, folders, files in os.walk(top, onerror=_refuse):
        folders[:] = [name for name in folders if name not in (STAGING, DAMAGED)]
        if RESULT in files:
            yield Path(place)


def _parsed(file: str, text: bytes) -> ExperimentResult:
    try:
        return ExperimentResult.model_validate_json(text)
    except ValidationError as exc:
        raise _unreadable(file, text, exc) from exc


def _read_file(file: Path) -> tuple[str, bytes]:
    """A result's file and content."""
    try:
        return str(file), file.read_bytes()
    except FileNotFoundError as exc:
        raise StoreError(f"no result at {file}: give a {RESULT} or the folder of an experiment") from exc
    except OSError as exc:
        raise StoreError(f"can't read {file}: {exc.strerror or exc}") from exc


def _read_stored(uri: StoreUri) -> tuple[str, bytes]:
    """The same from an object store, of the file or its folder."""
    file = uri if uri.name == RESULT else uri.below(RESULT)
    try:
        folder, _, name = file.path.rpartition("/")
        return file.shown, open_store(file._replace(path=folder)).get(name)
    except FileNotFoundError as exc:
        raise StoreError(
            f"no result at {file.shown}: give a {RESULT} or the folder of an experiment"
        ) from exc
    except OSError as exc:
        raise StoreError(unreachable(file, exc)) from exc
    except OutputError as exc:
        raise StoreError(str(exc)) from exc


def _refuse(exc: OSError) -> None:
    raise StoreError(f"can't read {exc.filename}: {exc.strerror}") from exc


def _unreadable(file: str, text: bytes, error: ValidationError) -> StoreError:
    """What is wrong with a result that doesn't validate."""
    try:
        raw = from_json(text)
    except ValueError as exc:
        return DamagedError(f"{file} isn't whole JSON: {exc}")
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version is not None and version not in get_args(SchemaVersion):
        return StoreError(
            f"{file} has schema version {version}, and this llem-sweep reads {SCHEMA_VERSION}: use the version of "
            "llem-sweep that wrote it"
        )
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    return DamagedError(
        f"{file} isn't a result: {field or 'it'}: {first['msg']} ({error.error_count()} problems)"
    )
