from __future__ import annotations

from pathlib import Path

import pytest

from llem_sweep.errors import OutputError
from llem_sweep.execution.job import refuse_unpacked

UNPACKED = "/tmp/ray/session_1/runtime_resources/working_dir_files/_ray_pkg_1"


@pytest.mark.parametrize("output", [f"{UNPACKED}/results", f"{UNPACKED}/a/../results"])
def test_an_output_among_the_files_of_a_job_is_refused(output: str) -> None:
    with pytest.raises(OutputError, match="--output"):
        refuse_unpacked(output)


def test_a_relative_output_counts_from_where_the_job_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "runtime_resources" / "working_dir_files" / "_ray_pkg_1"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    with pytest.raises(OutputError):
        refuse_unpacked("results")


@pytest.mark.parametrize(
    "output", ["results", "/srv/results", "s3://bucket/results", "/srv/working_dir_files/x"]
)
def test_any_other_output_is_not(output: str) -> None:
    refuse_unpacked(output)
