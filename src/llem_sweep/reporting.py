"""From a sweep's records to its page, wherever that is written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from llem_sweep.errors import OutputError, StoreError
from llem_sweep.report.page.evidence import Evidence
from llem_sweep.report.page.page import page
from llem_sweep.report.page.source import MOST_TIMELINES, PageSource
from llem_sweep.report.summary import BoardEnergy
from llem_sweep.store.atomic import write_file
from llem_sweep.store.layout import REPORT
from llem_sweep.store.records import SweepRecords

if TYPE_CHECKING:
    import pyarrow


def report_page(
    records: SweepRecords,
    table: pyarrow.Table,
    boards: Sequence[BoardEnergy],
    evidence: Evidence,
    *,
    links: str | None = "",
    timelines: int = MOST_TIMELINES,
) -> bytes:
    """The page of ``records``, whose summary is ``table`` and whose results are in ``evidence``.

    ``links`` leads from the page to the sweep's folder, None where there is no way. Raises StoreError.
    """
    for folder, record in records.failures():
        evidence.add_failure(folder, record)
    settings = records.settings
    return page(
        PageSource(
            plan=records.plan,
            rows=table.to_pylist(),
            boards=boards,
            evidence=evidence,
            texts=tuple(records.sources()),
            settings={
                "simulate_gpus": settings.simulate_gpus,
                "inline": settings.inline,
                "address": settings.address,
            },
            # Of a path the name alone: where it lies on somebody's disk is nothing for those it is sent to.
            place=records.path.name if records.place == str(records.path) else records.place,
            sidecar=records.sidecar,
            links=links,
            most_timelines=timelines,
        )
    )


def report_file(records: SweepRecords, output: Path | None) -> Path | None:
    """Where the page of ``records`` goes: ``output``, else into its folder; None for one in an object store."""
    if output is not None:
        return output
    return records.path / REPORT if records.place == str(records.path) else None


def links_from(file: Path, records: SweepRecords) -> str | None:
    """What leads from a page at ``file`` to the folder of ``records``; None where no file link can."""
    if records.place != str(records.path):
        return None
    try:
        way = os.path.relpath(records.path.resolve(), file.resolve().parent)
    except ValueError:  # another drive
        return None
    return "" if way == "." else f"{quote(Path(way).as_posix())}/"


def write_page(file: Path, content: bytes) -> Path:
    """Create or replace ``file``, whole or not at all. Raises OutputError."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_file(file, content)
    except OSError as exc:
        raise OutputError(f"can't write {file}: {exc.strerror or exc}") from exc
    except StoreError as exc:
        raise OutputError(str(exc)) from exc
    return file
