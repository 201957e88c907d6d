"""Object stores for tests: one in memory that fails when told to, and moto's S3 server on this machine.

As a program, ``object_stores.py PORT`` runs that server; each line on its standard input, ``stop`` or ``start``,
stops or starts it, with all that it holds, and is answered by a line.
"""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from llem_sweep.clock import Clock
from llem_sweep.store.objects import ArrowStore, Entry, open_store
from llem_sweep.store.uri import StoreUri, parse_place


class Disk:
    """What a :class:`MemoryStore` holds, and how it behaves."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.objects: dict[str, tuple[bytes, Entry]] = {}
        self.written: list[str] = []
        """Every name put, in order."""
        self.down = False
        self.before_put: Callable[[str], None] = lambda name: None

    def reach(self) -> None:
        """Raises OSError while the store is down."""
        if self.down:
            raise OSError("could not connect to server")


class MemoryStore:
    """A folder of a :class:`Disk`."""

    def __init__(self, disk: Disk, uri: str = "mem://bucket/runs") -> None:
        where = parse_place(uri)
        assert isinstance(where, StoreUri)
        self.disk = disk
        self.uri = where
        self._root = f"{where.path.lstrip('/')}/"

    def put(self, name: str, data: bytes) -> None:
        self.disk.reach()
        self.disk.before_put(name)
        self.disk.objects[self._root + name] = (data, Entry(len(data), self.disk.clock.now()))
        self.disk.written.append(name)

    def get(self, name: str) -> bytes:
        self.disk.reach()
        if self._root + name not in self.disk.objects:
            raise FileNotFoundError(f"Path does not exist {name!r}")
        return self.disk.objects[self._root + name][0]

    def entries(self, under: str = "") -> dict[str, Entry]:
        self.disk.reach()
        top = f"{self._root}{under}/" if under else self._root
        return {
            name.removeprefix(self._root): entry
            for name, (_, entry) in sorted(self.disk.objects.items())
            if name.startswith(top)
        }

    def delete(self, name: str) -> None:
        self.disk.reach()
        self.disk.objects.pop(self._root + name, None)

    def below(self, name: str) -> MemoryStore:
        return MemoryStore(self.disk, self.uri.below(name).shown)


class S3Server:
    """moto's server in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self._process = process
        self._port = port
        self._buckets = itertools.count()
        self._open = False

    def new_bucket(self) -> str:
        """The URI of a new bucket, with the options that lead to this server."""
        bucket = f"bucket{next(self._buckets)}"
        options = f"endpoint_override=http://127.0.0.1:{self._port}&region=us-east-1"
        uri = parse_place(f"s3://{bucket}?{options}&allow_bucket_creation=true")
        assert isinstance(uri, StoreUri)
        from pyarrow.fs import FileSystem

        filesystem, root = FileSystem.from_uri(uri.whole)
        filesystem.create_dir(root)
        return f"s3://{bucket}?{options}"

    def folder(self, name: str = "runs") -> str:
        """The URI of a folder in a new bucket."""
        bucket, options = self.new_bucket().split("?")
        return f"{bucket}/{name}?{options}"

    def stop(self) -> None:
        """Let nobody in; what is stored stays."""
        if self._open:
            self._open = False
            self._order("stop")

    def start(self) -> None:
        """Let everybody in again."""
        if not self._open:
            self._order("start")
            self._open = True

    def _order(self, word: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline().strip() == "done"


def store_at(uri: str) -> ArrowStore:
    """The object store at ``uri``."""
    where = parse_place(uri)
    assert isinstance(where, StoreUri)
    return open_store(where)


@contextmanager
def s3_server(log: Path) -> Iterator[S3Server]:
    """A server on a free port of this machine; what it says goes to ``log``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, __file__, str(port)]
    with (
        log.open("w") as said,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True
        ) as process,
    ):
        server = S3Server(process, port)
        server.start()
        try:
            yield server
        finally:
            process.kill()


def _serve(port: int) -> None:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    for line in sys.stdin:
        if line.strip() == "stop":
            server.stop()
        else:
            server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
            server.start()
        print("done", flush=True)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
