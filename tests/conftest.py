"""Fixtures for every test."""

from __future__ import annotations

from pathlib import Path

import pytest

from standin.build import build_standin, compiler


@pytest.fixture(scope="session")
def standin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the stand-in NVML library, to stand first on ``LD_LIBRARY_PATH`` (see ``standin/truth.py``)."""
    if compiler() is None:
        pytest.skip("no C compiler: the stand-in NVML library can't be built")
    folder = tmp_path_factory.mktemp("standin")
    build_standin(folder)
    return folder
