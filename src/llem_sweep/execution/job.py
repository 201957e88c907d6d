"""What is particular to a sweep that Ray runs as a job."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from llem_sweep.errors import OutputError

UNPACKED = ("runtime_resources", "working_dir_files")
"""Where below its temporary folder Ray unpacks what was submitted with a job; the job starts in there."""


def refuse_unpacked(output: str | Path) -> None:
    """Raise OutputError when ``output`` lies among the files of a job, which go when its cluster goes."""
    parts = Path(output).absolute().parts
    if UNPACKED in pairwise(parts):
        raise OutputError(
            f"{Path(output).absolute()} lies where Ray unpacked the files of this job, which go with the cluster:"
            " give --output a folder that stays"
        )
