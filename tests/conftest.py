"""Fixtures for every test."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from llem_sweep.errors import StoreError
from llem_sweep.execution.worker import device_environment_restored
from llem_sweep.harness.verification import verify
from llem_sweep.store.read import load_request_records, load_result, load_sidecar, result_folders
from object_stores import S3Server, s3_server
from standin.build import build_standin, compiler


@pytest.fixture(scope="session")
def standin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the stand-in NVML library, to stand first on ``LD_LIBRARY_PATH`` (see ``standin/truth.py``)."""
    if compiler() is None:
        pytest.skip("no C compiler: the stand-in NVML library can't be built")
    folder = tmp_path_factory.mktemp("standin")
    build_standin(folder)
    return folder


@pytest.fixture(scope="session")
def s3_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server on this machine."""
    with s3_server(tmp_path_factory.mktemp("s3") / "log") as server:
        yield server


@pytest.fixture
def s3(s3_process: S3Server, spool: Path, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The same, with credentials for it in the environment and a folder of this test's own to gather sweeps in."""
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "an-access-key"),
        ("AWS_SECRET_ACCESS_KEY", "a-secret-key"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ):
        monkeypatch.setenv(name, value)
    return s3_process


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where sweeps in object stores are gathered."""
    folder = tmp_path / "spool"
    monkeypatch.setenv("LLEM_SWEEP_SPOOL", str(folder))
    return folder


@pytest.fixture(autouse=True)
def boards_as_they_were() -> Iterator[None]:
    """A worker opened in this process hides all boards but its own from it: that ends with the test."""
    with device_environment_restored():
        yield


@pytest.fixture(scope="session", autouse=True)
def every_result_holds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whatever measurement left a result on disk during the tests, its own samples must give it again.

    Results that tests made up carry no digest of their sidecar, by which they are told from measured ones.
    """
    yield
    contradicted = []
    for place in result_folders(tmp_path_factory.getbasetemp()):
        try:
            result = load_result(place)
            sidecar, requests = load_sidecar(place, result), load_request_records(place, result)
        except StoreError:
            continue  # broken on purpose
        if result.timeseries_sha256 == hashlib.sha256(sidecar).hexdigest():
            contradicted += [f"{place}: {problem}" for problem in verify(result, sidecar, requests).problems]
    assert contradicted == []


def pytest_collection_finish() -> None:
    """What is imported by now stays: the collections that every closed model asks for needn't go through it."""
    gc.collect()
    gc.freeze()
