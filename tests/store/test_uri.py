"""Paths, URIs, and what is shown of a URI."""

from __future__ import annotations

from pathlib import Path

import pytest

from llem_sweep.errors import ConfigError
from llem_sweep.store.objects import open_store, why
from llem_sweep.store.uri import StoreUri, as_given, inside, parse_place, shown


def uri(text: str) -> StoreUri:
    where = parse_place(text)
    assert isinstance(where, StoreUri)
    return where


@pytest.mark.parametrize(
    ("place", "path"),
    [
        ("results", "results"),
        ("./s3:/x", "s3:/x"),
        (Path("/a b"), "/a b"),
        ("file:///a%20b/c", "/a b/c"),
        ("C:/runs", "C:/runs"),
        ("", "."),
    ],
)
def test_what_is_a_path(place: Path | str, path: str) -> None:
    assert parse_place(place) == Path(path)


def test_a_uri_keeps_its_parts_and_its_text() -> None:
    where = uri("s3://bucket/runs/a?region=eu-west-1")
    assert where == StoreUri("s3", "bucket", "/runs/a", "region=eu-west-1")
    assert where.shown == where.whole == "s3://bucket/runs/a?region=eu-west-1"
    assert where.name == "a"


def test_a_slash_at_the_end_and_blanks_make_no_difference() -> None:
    assert uri("s3://bucket/my runs/") == uri("s3://bucket/my%20runs")


def test_names_below_are_encoded() -> None:
    below = uri("gs://bucket/runs?project_id=p").below("naïve 1")
    assert below.shown == "gs://bucket/runs/na%C3%AFve%201?project_id=p"
    assert below.name == "naïve 1"
    assert inside("s3://bucket/runs?region=x", "a", "b.json") == "s3://bucket/runs/a/b.json?region=x"
    assert inside("runs", "a", "b.json") == "runs/a/b.json"


def test_a_uri_made_a_path_is_refused() -> None:
    with pytest.raises(ConfigError, match="give a URI as text"):
        parse_place(Path("s3://bucket/runs"))


def test_the_command_line_keeps_uris_whole() -> None:
    assert as_given("s3://bucket/runs") == "s3://bucket/runs"
    assert as_given("runs/s3") == Path("runs/s3")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://AKIA:pa%2Fss@bucket/x?region=r", "s3://bucket/x?region=r"),
        ("s3://AKIA:pa@bucket/x?session_token=pa&region=r", "s3://bucket/x?region=r"),
        (
            "s3://bucket/x?endpoint_override=http://AKIA:pa@host:9/",
            "s3://bucket/x?endpoint_override=http://host:9/",
        ),
        ("abfs://box:pa@account.dfs.core.windows.net/x", "abfs://box@account.dfs.core.windows.net/x"),
        ("abfs://:pa@account.dfs.core.windows.net/x", "abfs://account.dfs.core.windows.net/x"),
        ("gs://anonymous@bucket/x?access_token=pa", "gs://anonymous@bucket/x"),
        ("hdfs://me@node:8020/x", "hdfs://me@node:8020/x"),
    ],
)
def test_no_secret_is_shown(text: str, expected: str) -> None:
    where = uri(text)
    assert where.whole == text
    assert where.shown == shown(text) == expected
    assert uri(where.shown).shown == expected, "what is shown can be given again"
    assert uri(where.shown).key == where.key


def test_no_secret_is_in_what_a_library_says() -> None:
    where = uri("s3://AKIA:pa%2Fss@bucket/x?session_token=to%2Fken&endpoint_override=http://u:pw1@host")
    said = why(OSError("When reading 'AKIA:pa%2Fss': AKIA, pa/ss,\n to/ken to%2Fken pw1"), where)
    assert said == "When reading '***': ***, ***, *** *** ***"


def test_what_the_network_library_says_twice_is_said_once() -> None:
    text = (
        "When listing objects under key 'x/' in bucket 'b': AWS Error NETWORK_CONNECTION during ListObjectsV2"
        " operation: curlCode: 7, Could not connect to server; Details: Failed to connect to h after 0 ms"
    )
    assert why(OSError(text), uri("s3://b/x")) == (
        "NETWORK_CONNECTION during ListObjectsV2 operation: Failed to connect to h after 0 ms"
    )


def test_the_key_tells_places_apart_and_nothing_else() -> None:
    key = uri("s3://bucket/x?region=r").key
    assert uri("s3://k:s@bucket/x/?region=other").key == key
    others = ("s3://bucket/y", "s3://other/x", "gs://bucket/x", "s3://bucket/x?endpoint_override=http://h")
    assert len({uri(other).key for other in others} | {key}) == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("s4://bucket/x", "isn't a place that pyarrow knows"),
        ("s3://AKIA:sesame@bucket/x?password=hush", "Unexpected query parameter"),
        ("s3:///x", "bucket"),
        ("s3://", "name a bucket"),
    ],
)
def test_what_pyarrow_does_not_take_is_a_config_error(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        open_store(uri(text))
    told = f"{caught.value!r} {caught.value.__cause__!r}"
    assert not {secret for secret in ("AKIA", "sesame", "hush") if secret in told}
