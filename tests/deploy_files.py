"""What the files that describe clusters have in common."""

from __future__ import annotations

import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]


def ray_environment() -> dict[str, str]:
    """The variables of ``deploy/ray.env``, which every node has to have."""
    lines = (ROOT / "deploy" / "ray.env").read_text().splitlines()
    exports = [shlex.split(line)[1] for line in lines if line.startswith("export ")]
    return dict(export.split("=", 1) for export in exports)


def pins() -> dict[str, str]:
    """The version of every package in ``constraints.txt``."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))
