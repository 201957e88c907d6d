"""A server that answers as the Hub does for a few small models, with its faults, and keeps what it was asked."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

MODEL = "acme/tiny"
COMMIT = "c0ffee" + "0" * 34
TAG = "v1.2"
"""Another name of that commit."""


class Asked(NamedTuple):
    """One request."""

    method: str
    path: str
    authorization: str | None


class Hub:
    """The models served, their faults, and the requests so far."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.files: dict[str, bytes] = {}
        """Of the one model :data:`MODEL`, at :data:`COMMIT` and on its branch ``main``."""
        self.gated = False
        self.answer: int | None = None
        """Status of every answer, where it isn't what it should be."""
        self.listed_sizes: dict[str, int] = {}
        """What the API says instead of the true size."""
        self.pause_s = 0.0
        """Before every file is sent."""
        self.asked: list[Asked] = []

    def serve_folder(self, folder: Path) -> None:
        """Serve the files of ``folder``."""
        self.files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}

    def downloads(self, name: str) -> int:
        """How often the file ``name`` was sent."""
        return sum(
            each.method == "GET" and each.path.endswith(f"/resolve/{COMMIT}/{name}") for each in self.asked
        )


@contextmanager
def serving() -> Iterator[Hub]:
    """A Hub on a free port of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    hub = Hub(f"http://127.0.0.1:{server.server_address[1]}")
    server.hub = hub  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def etag(content: bytes) -> str:
    """Name of a file's content, as git has it."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> Hub:
        hub: Hub = self.server.hub  # type: ignore[attr-defined]
        return hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *args: object) -> None:
        """Nothing: what was asked is kept."""

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(Asked(self.command, path, self.headers.get("authorization")))
        if self.hub.answer is not None:
            return self._send(self.hub.answer, b"no")
        if path.startswith("/api/models/"):
            return self._api(path.removeprefix("/api/models/"))
        model, _, rest = path.lstrip("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        if model != MODEL:
            return self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
        if revision not in ("main", TAG, COMMIT):
            return self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        if self.hub.gated:
            return self._send(
                401, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"}
            )
        commit = {"X-Repo-Commit": COMMIT}
        if name not in self.hub.files:
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound", **commit})
        content = self.hub.files[name]
        if self.command == "GET":
            time.sleep(self.hub.pause_s)
        return self._send(200, content, {"ETag": f'"{etag(content)}"', **commit})

    def _api(self, rest: str) -> None:
        if not rest.startswith(MODEL):
            return self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
        files = self.hub.files
        sizes = {name: self.hub.listed_sizes.get(name, len(content)) for name, content in files.items()}
        if "/tree/" in rest:
            return self._json(
                [
                    {"type": "file", "path": name, "size": sizes[name], "oid": etag(content)}
                    for name, content in files.items()
                ]
            )
        siblings = [{"rfilename": name, "size": size} for name, size in sizes.items()]
        return self._json({"id": MODEL, "sha": COMMIT, "siblings": siblings})

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
