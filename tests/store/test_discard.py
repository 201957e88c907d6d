from __future__ import annotations

from pathlib import Path

import pytest

from factories import make_failed, make_plan
from llem_sweep.errors import StoreError
from llem_sweep.store.folder import SweepFolder
from llem_sweep.store.records import RunSettings


def test_a_folder_in_which_nothing_was_begun_can_be_removed(tmp_path: Path) -> None:
    settings = RunSettings(None, True, None, "0")
    folder = SweepFolder.create(tmp_path, make_plan(), settings, "")
    folder.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_an_outcome_is_kept(tmp_path: Path) -> None:
    settings = RunSettings(None, True, None, "0")
    with SweepFolder.create(tmp_path, make_plan(), settings, "") as folder:
        folder.commit(folder.plan.experiments[0], 1, make_failed(), final=True, worker="w")
        with pytest.raises(StoreError, match="isn't removed"):
            folder.discard()
        assert folder.path.is_dir()
