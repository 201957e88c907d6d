"""Where a sweep is kept when that isn't a path: the URI of an object store, never shown with its secrets."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from llem_sweep.errors import ConfigError

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_LOST_A_SLASH = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/[^/]")
_WITHIN_PATH = "/%:@!$&'()*+,;=~"
_SHOWN_OPTIONS = {
    "allow_bucket_creation",
    "allow_bucket_deletion",
    "blob_storage_authority",
    "blob_storage_scheme",
    "dfs_storage_authority",
    "dfs_storage_scheme",
    "enable_tls",
    "endpoint_override",
    "force_virtual_addressing",
    "project_id",
    "region",
    "replication",
    "retry_limit_seconds",
    "scheme",
}
"""Options of a URI that hold no secret. What isn't known is taken for one."""

_USER_IS_NO_SECRET = {"abfs", "abfss", "hdfs"}


class StoreUri(NamedTuple):
    """The URI of a folder in an object store."""

    scheme: str
    authority: str
    """The bucket, with the credentials in front of it if the user wrote any there."""
    path: str
    """Percent-encoded, without a slash at its end."""
    query: str

    @property
    def shown(self) -> str:
        """The URI as it may be printed and stored: credentials and options that may be secret left out."""
        options = [(key, value) for key, value in parse_qsl(self.query) if key in _SHOWN_OPTIONS]
        query = urlencode([(key, re.sub(r"//[^/@]*@", "//", value)) for key, value in options], safe=":/")
        return self._text(self._place(), query)

    @property
    def whole(self) -> str:
        """The URI as given, for the library that opens it alone."""
        return self._text(self.authority, self.query)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The parts that :attr:`shown` leaves out, as they might turn up in another library's message."""
        users, hidden = [self.authority.rpartition("@")[0]], []
        for key, value in parse_qsl(self.query):
            if key in _SHOWN_OPTIONS:
                users += re.findall(r"//([^/@]*)@", value)
            else:
                hidden.append(value)
        for user in users:
            hidden += [part for part in (user, *user.split(":")) if part != self._user_shown()]
        spellings = {text for part in hidden for text in (part, unquote(part), quote(part, safe=""))}
        given = {text for text in spellings if len(text) > 2}  # shorter ones would tear words apart
        return tuple(sorted(given, key=len, reverse=True))

    @property
    def key(self) -> str:
        """A short name for the place alone, the same whatever credentials and options stand in the URI."""
        endpoint = dict(parse_qsl(self.query)).get("endpoint_override", "")
        text = "\n".join(
            (self.scheme, self._place(), unquote(self.path), re.sub(r"//[^/@]*@", "//", endpoint))
        )
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def name(self) -> str:
        """The last part of the path."""
        return unquote(self.path.rpartition("/")[2])

    def below(self, name: str) -> StoreUri:
        """The URI of ``name`` in this folder."""
        return self._replace(path=f"{self.path}/{quote(name)}")

    def _place(self) -> str:
        """The authority without credentials."""
        user = self._user_shown()
        host = self.authority.rpartition("@")[2]
        return f"{user}@{host}" if user else host

    def _user_shown(self) -> str:
        """What stands before ``@`` and is no credential: Azure's container, HDFS's user, Google's anonymous."""
        user = self.authority.rpartition("@")[0].partition(":")[0]
        return user if self.scheme in _USER_IS_NO_SECRET or user == "anonymous" else ""

    def _text(self, authority: str, query: str) -> str:
        return f"{self.scheme}://{authority}{self.path}" + (f"?{query}" if query else "")


def parse_place(place: Path | str) -> Path | StoreUri:
    """A path, or the URI of an object store; ``file://`` is a path. Raises ConfigError for a URI made a path."""
    text = str(place)
    if isinstance(place, Path) or not _URI.match(text):
        if isinstance(place, Path) and _LOST_A_SLASH.match(text):
            raise ConfigError(f"{text}: give a URI as text, since a path drops one of its slashes")
        return Path(place)
    parts = urlsplit(text)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    path = quote(parts.path, safe=_WITHIN_PATH).rstrip("/")
    return StoreUri(parts.scheme, parts.netloc, path, parts.query)


def shown(place: Path | str) -> str:
    """``place`` as it may be printed."""
    where = parse_place(place)
    return str(where) if isinstance(where, Path) else where.shown


def inside(place: str, *names: str) -> str:
    """What is called ``names`` in ``place``, as printed."""
    where = parse_place(place)
    if isinstance(where, Path):
        return str(where.joinpath(*names))
    for name in names:
        where = where.below(name)
    return where.shown


def retold(text: str, copy: Path, place: str) -> str:
    """``text`` about files in ``copy`` as one about the same files in ``place``, of which it is a copy."""
    if place == str(copy):
        return text
    named = re.compile(re.escape(str(copy)) + r"((?:/[^/\s:;,()]+)*)")
    return named.sub(lambda found: inside(place, *found.group(1).split("/")[1:]), text)


def as_given(text: str) -> Path | str:
    """``text`` from a command line, as the library takes it: URIs as they are, and paths."""
    return text if _URI.match(text) else Path(text)
