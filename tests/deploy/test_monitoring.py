"""docs/monitoring.md is held to the metrics that the code declares and to the files that it names."""

from __future__ import annotations

import re

from deploy_files import ROOT
from llem_sweep.execution.on_ray.metrics import METRICS
from llem_sweep.phases import Phase

TEXT = (ROOT / "docs" / "monitoring.md").read_text()
HEADING = "| metric | type | unit | labels | meaning |"


def table() -> list[list[str]]:
    lines = TEXT[TEXT.index(HEADING) :].splitlines()[2:]
    rows = lines[: next(number for number, line in enumerate(lines) if not line.startswith("|"))]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_the_table_has_every_metric_as_it_is_declared() -> None:
    assert table() == [
        [
            f"`{metric.name}`",
            metric.kind,
            metric.unit,
            ", ".join(f"`{tag}`" for tag in metric.tags),
            metric.meaning,
        ]
        for metric in METRICS
    ]


def test_every_label_and_phase_is_explained() -> None:
    after = TEXT[TEXT.index(table()[-1][0]) :]
    for name in {tag for metric in METRICS for tag in metric.tags} | {phase.value for phase in Phase}:
        assert f"`{name}`" in after or any(f"`{name}`" in row[4] for row in table()), name


def test_every_metric_and_file_that_is_named_exists() -> None:
    named = set(re.findall(r"\bray_(llem_sweep_\w+)", TEXT))
    assert named
    assert named <= {metric.name for metric in METRICS}
    files = set(re.findall(r"\b(?:deploy|docs|tests)/[\w./-]+\w", TEXT)) | {
        f"docs/{name}" for name in re.findall(r"\]\((images/[^)]+)\)", TEXT)
    }
    assert len(files) >= 6
    for name in files:
        assert (ROOT / name).exists(), name


def test_the_picture_is_small_enough_for_a_checkout() -> None:
    assert (ROOT / "docs" / "images" / "ray-dashboard-actors.png").stat().st_size <= 300_000
