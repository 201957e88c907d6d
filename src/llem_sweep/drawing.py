"""From a sweep's records to its figures, as files beside its page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from llem_sweep.errors import ConfigError, OutputError, StoreError
from llem_sweep.report.figures.draw import FORMATS, draw
from llem_sweep.report.figures.specs import Traced, best_traced, of_sweep, traced
from llem_sweep.report.figures.style import Drawing, LeftOut
from llem_sweep.report.figures.traces import POINTS, PREFIX, trace
from llem_sweep.report.figures.words import labels
from llem_sweep.report.page.timelines import timeline
from llem_sweep.report.points import Point, points
from llem_sweep.report.summary import BoardEnergy
from llem_sweep.reporting import report_file, write_page
from llem_sweep.sampling.sidecar_reading import SidecarError
from llem_sweep.store.layout import FIGURES, model_labels
from llem_sweep.store.records import SweepRecords

if TYPE_CHECKING:
    import pyarrow


class Wanted(NamedTuple):
    """What is to be drawn."""

    formats: tuple[str, ...] = FORMATS
    timeline_of: tuple[str, ...] = ()
    """Folders of the experiments whose power is drawn over time; none stands for the best of each model."""


class Drawn(NamedTuple):
    """What was."""

    folder: Path
    files: tuple[str, ...]
    left_out: tuple[LeftOut, ...]


def figures_folder(records: SweepRecords, output: Path | None) -> Path:
    """Where figures go: beside the page, which is ``output`` if given. Raises OutputError where there is none."""
    file = report_file(records, output)
    if file is None:
        raise OutputError(
            f"{records.place} is in an object store: give --output FILE for the report; figures go beside it"
        )
    return file.parent / FIGURES


def draw_figures(
    records: SweepRecords,
    table: pyarrow.Table,
    boards: Sequence[BoardEnergy],
    wanted: Wanted,
    folder: Path,
) -> Drawn:
    """Draw the sweep whose summary is ``table`` into ``folder``; each file appears whole or not at all.

    A figure that was drawn earlier and can't be any more is removed. Raises ConfigError for a timeline of an
    experiment that isn't there, EnvironmentUnfitError without vl-convert, OutputError.
    """
    known = points(table.to_pylist())
    models = model_labels(dict.fromkeys(each.model for each in known))
    chosen = _chosen(known, wanted)
    names = dict(zip(((each.config_hash, each.kind) for each in known), labels(known, models), strict=True))

    def all_figures() -> Iterator[Drawing | LeftOut]:
        yield from of_sweep(known, boards, models)
        for each in chosen:
            label = names[each.point.config_hash, each.point.kind]
            yield _trace(records, each, f"{label}, cycle {each.cycle}")

    files: list[str] = []
    left_out: list[LeftOut] = []
    for each in all_figures():
        if isinstance(each, LeftOut):
            left_out.append(each)
            _remove(folder, each.name)
            continue
        for name, content in draw(each, wanted.formats).items():
            write_page(folder / name, content)
            files.append(name)
    return Drawn(folder, tuple(files), tuple(left_out))


def _chosen(known: Sequence[Point], wanted: Wanted) -> list[Traced]:
    if not wanted.timeline_of:
        return best_traced(known)
    found = {name.rstrip("/").rpartition("/")[2]: None for name in wanted.timeline_of}
    chosen = {name: traced(known, name) for name in found}
    if missing := [name for name, each in chosen.items() if each is None]:
        raise ConfigError(f"no completed experiment is in a folder called {' or '.join(missing)}")
    return [each for each in chosen.values() if each is not None]


def _trace(records: SweepRecords, each: Traced, label: str) -> Drawing | LeftOut:
    try:
        return trace(each.folder, label, each.point.kind, timeline(records.sidecar(each.folder), POINTS))
    except (StoreError, SidecarError) as error:
        return LeftOut(PREFIX + each.folder, str(error))


def _remove(folder: Path, name: str) -> None:
    try:
        for suffix in FORMATS:
            (folder / f"{name}.{suffix}").unlink(missing_ok=True)
    except OSError as exc:
        raise OutputError(f"can't remove an earlier {name} in {folder}: {exc.strerror or exc}") from exc
