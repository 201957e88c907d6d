"""Fixtures for every test."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from llem_sweep.errors import StoreError
from llem_sweep.harness.verification import verify
from llem_sweep.store.read import load_result, load_sidecar, result_folders
from standin.build import build_standin, compiler


@pytest.fixture(scope="session")
def standin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the stand-in NVML library, to stand first on ``LD_LIBRARY_PATH`` (see ``standin/truth.py``)."""
    if compiler() is None:
        pytest.skip("no C compiler: the stand-in NVML library can't be built")
    folder = tmp_path_factory.mktemp("standin")
    build_standin(folder)
    return folder


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
            sidecar = load_sidecar(place, result)
        except StoreError:
            continue  # broken on purpose
        if result.timeseries_sha256 == hashlib.sha256(sidecar).hexdigest():
            contradicted += [f"{place}: {problem}" for problem in verify(result, sidecar).problems]
    assert contradicted == []
