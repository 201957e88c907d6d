"""Files of an object store as local ones, for what reads results."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from llem_sweep.errors import OutputError, StoreError
from llem_sweep.store.objects import AT_ONCE, ObjectStore, open_store, unreachable
from llem_sweep.store.uri import StoreUri, inside, parse_place, retold


class LocalCopy(NamedTuple):
    """A folder to read from."""

    path: Path
    uri: StoreUri | None
    """Where it was copied from; None for a folder that is where it is kept."""

    def named(self, path: Path) -> Path | str:
        """What users call ``path``, which is in this folder."""
        if self.uri is None:
            return path
        return inside(self.uri.shown, *path.relative_to(self.path).parts)

    def told(self, text: str) -> str:
        """``text`` with the place that users know instead of the copy."""
        return text if self.uri is None else retold(text, self.path, self.uri.shown)


@contextmanager
def local_copy(place: Path | str, names: Collection[str]) -> Iterator[LocalCopy]:
    """The folder ``place``; of a URI, a copy, gone afterwards, of every file in it called one of ``names``.

    Raises StoreError when there is nothing at a URI; one raised within names the URI.
    """
    where = parse_place(place)
    if isinstance(where, Path):
        yield LocalCopy(where, None)
        return
    with TemporaryDirectory(prefix="llem-sweep-") as folder:
        copy = LocalCopy(Path(folder), where)
        try:
            store = open_store(where)
            entries = store.entries()
            if not entries:
                raise StoreError(f"nothing at {where.shown}: give a sweep, or what is above it")
            fetch(store, (name for name in entries if name.rpartition("/")[2] in names), copy.path)
        except OutputError as exc:
            raise StoreError(str(exc)) from exc
        except OSError as exc:
            raise StoreError(unreachable(where, exc)) from exc
        try:
            yield copy
        except StoreError as exc:
            raise StoreError(copy.told(str(exc))) from exc


def fetch(store: ObjectStore, names: Iterable[str], folder: Path) -> None:
    """Copy the objects ``names`` into ``folder``, several at once. Raises OSError."""

    def copy(name: str) -> None:
        data = store.get(name)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(copy, list(names)):
            pass
