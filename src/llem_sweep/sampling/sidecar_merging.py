"""The sidecars of several processes as one file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from llem_sweep.sampling.account import Span
from llem_sweep.sampling.sidecar import COLUMNS, encode_table
from llem_sweep.sampling.sidecar_reading import SidecarError, described, is_simulated, read_table


class Merged(NamedTuple):
    """Several processes' samples."""

    parquet: bytes
    windows: tuple[Span, ...]
    """Each process's window, in order of rank."""


def merge_sidecars(sidecars: Sequence[bytes]) -> Merged:
    """The samples of processes 0, 1, … of one node as one file.

    ``process`` is the process; ``device`` counts through the boards of all of them, as the lists of their common
    result do; ``timestamp_s`` counts from the first start of a window. What each process's samples are computed
    with stays apart, so that each can be had again as it was. Raises SidecarError for files that don't fit.
    """
    tables = [read_table(data) for data in sidecars]
    abouts = [described(table) for table in tables]
    ones = [process for about in abouts for process in about["processes"]]
    versions = {(about["estimator"], about["hz"]) for about in abouts}
    if len(ones) != len(tables) or len(versions) != 1:
        raise SidecarError(
            "the processes' sidecars don't fit together: they come of different versions or settings"
        )
    (estimator, hz) = versions.pop()
    windows = tuple(
        next(Span(**span) for span in process["spans"] if span["kind"] == "window") for process in ones
    )
    first_s = min(window.start_s for window in windows)
    devices = [len(process["sensors"]) for process in ones]
    renamed = [_placed(table, rank, sum(devices[:rank]), first_s) for rank, table in enumerate(tables)]
    whole = pa.concat_tables(renamed).unify_dictionaries()
    about = {"estimator": estimator, "hz": hz, "processes": ones}
    simulated = any(is_simulated(table) for table in tables)
    return Merged(encode_table(whole, about, simulated=simulated), windows)


def _placed(table: pa.Table, rank: int, boards_before: int, first_s: float) -> pa.Table:
    """A process's rows with its number, and what counts through all processes."""
    columns = dict(zip(table.column_names, table.columns, strict=True)) | {
        "timestamp_s": pc.subtract(table["monotonic_s"], first_s),
        "process": pa.chunked_array([pa.repeat(pa.scalar(rank, pa.int32()), table.num_rows)]),
        "device": pc.add(table["device"], pa.scalar(boards_before, pa.int32())),
    }
    return pa.Table.from_arrays([columns[name] for name in COLUMNS.names], schema=COLUMNS)
