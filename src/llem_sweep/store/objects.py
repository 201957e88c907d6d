"""An object store as a folder of named objects, each of which appears whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

from llem_sweep.errors import ConfigError, OutputError
from llem_sweep.store.uri import StoreUri

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

AT_ONCE = 8
"""Objects moved at the same time."""

_UNSAFE = {"", ".", ".."}
"""Parts of a name that would lead elsewhere once it is a path."""
_WHOLE_OR_NOTHING = {"s3", "gcs", "abfs"}
"""File systems in which nobody sees an object before all of it is written; in others, a move makes it so."""
_PARTIAL = ".partial"


class Entry(NamedTuple):
    """What a listing tells of an object."""

    size: int
    """Bytes."""
    modified: datetime
    """When it was last written, by the store's own clock."""


class ObjectStore(Protocol):
    """A folder in an object store. Names are relative, with slashes. Every method may raise OSError.

    May be used from several threads at once.
    """

    @property
    def uri(self) -> StoreUri:
        """Where it is."""

    def put(self, name: str, data: bytes) -> None:
        """Create or replace an object; one that fails leaves what was there before."""

    def get(self, name: str) -> bytes:
        """An object's content. Raises FileNotFoundError when there is none."""

    def entries(self, under: str = "") -> dict[str, Entry]:
        """Every object in the folder ``under`` and below, by name; empty when there is none."""

    def delete(self, name: str) -> None:
        """Remove an object; one that isn't there is fine."""

    def below(self, name: str) -> ObjectStore:
        """The folder called ``name`` in this one."""


class ArrowStore:
    """An object store that pyarrow knows."""

    def __init__(self, filesystem: FileSystem, root: str, uri: StoreUri) -> None:
        self._filesystem = filesystem
        self._root = root.rstrip("/")
        self._uri = uri

    @property
    def uri(self) -> StoreUri:
        return self._uri

    def put(self, name: str, data: bytes) -> None:
        path = f"{self._root}/{name}"
        if self._filesystem.type_name in _WHOLE_OR_NOTHING:
            self._write(path, data)
            return
        try:
            self._write(path + _PARTIAL, data)
        except FileNotFoundError:
            self._filesystem.create_dir(path.rpartition("/")[0], recursive=True)
            self._write(path + _PARTIAL, data)
        self._filesystem.move(path + _PARTIAL, path)

    def get(self, name: str) -> bytes:
        with self._filesystem.open_input_stream(f"{self._root}/{name}") as stream:
            data: bytes = stream.read()
            return data

    def entries(self, under: str = "") -> dict[str, Entry]:
        from pyarrow.fs import FileSelector, FileType

        top = f"{self._root}/{under}".rstrip("/")
        found = self._filesystem.get_file_info(FileSelector(top, recursive=True, allow_not_found=True))
        names = {info.path[len(self._root) + 1 :]: info for info in found if info.type == FileType.File}
        return {
            name: Entry(info.size, info.mtime or datetime.now(UTC))
            for name, info in names.items()
            if _UNSAFE.isdisjoint(name.split("/")) and not name.endswith(_PARTIAL)
        }

    def delete(self, name: str) -> None:
        try:
            self._filesystem.delete_file(f"{self._root}/{name}")
        except FileNotFoundError:
            return

    def below(self, name: str) -> ArrowStore:
        return ArrowStore(self._filesystem, f"{self._root}/{name}", self._uri.below(name))

    def _write(self, path: str, data: bytes) -> None:
        # All of the content is at hand: a stream left by an exception would commit what it got so far.
        with self._filesystem.open_output_stream(path) as stream:
            stream.write(data)


def open_store(uri: StoreUri) -> ArrowStore:
    """The object store at ``uri``, with the credentials that pyarrow finds in the environment.

    Raises ConfigError when it isn't a URI that pyarrow takes, OutputError when the store doesn't answer.
    """
    import pyarrow as pa
    from pyarrow.fs import FileSystem

    try:
        filesystem, root = FileSystem.from_uri(uri.whole)
    except pa.ArrowNotImplementedError as exc:
        raise ConfigError(f"{uri.shown}: this pyarrow is built without that: {why(exc, uri)}") from None
    except (ValueError, TypeError) as exc:
        raise ConfigError(f"{uri.shown} isn't a place that pyarrow knows: {why(exc, uri)}") from None
    except OSError as exc:
        raise OutputError(unreachable(uri, exc)) from None
    if not root.strip("/"):
        raise ConfigError(f"{uri.shown}: name a bucket, and best a folder in it")
    return ArrowStore(filesystem, root, uri)


def unreachable(uri: StoreUri, exc: Exception) -> str:
    """What went wrong with a store, and what to do about it."""
    return f"can't use {uri.shown}: {why(exc, uri)}; check the URI, the credentials and the network"


def why(exc: Exception, uri: StoreUri) -> str:
    """The reason that the store's library gives, in one line and without the secrets of ``uri``."""
    text = " ".join(str(exc).split())
    text = re.sub(r"^When .*?AWS Error |curlCode: [^;]*; Details: |\s*\(Request ID: [^)]*\)", "", text)
    for secret in uri.secrets:
        text = text.replace(secret, "***")
    return text or type(exc).__name__


def get_all(store: ObjectStore, names: Iterable[str]) -> dict[str, bytes]:
    """The contents of ``names``, several fetched at once. Raises OSError."""
    wanted = list(names)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(wanted, pool.map(store.get, wanted), strict=True))
