"""Tables as files."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from llem_sweep.results.columns import Column, Kind, Scalar
from llem_sweep.results.experiment import ExperimentResult
from llem_sweep.results.flatten import ConfigColumns, flat_columns, result_columns
from llem_sweep.store.atomic import write_file

_TYPES = {
    Kind.TEXT: pa.string(),
    Kind.WHOLE: pa.int64(),
    Kind.REAL: pa.float64(),
    Kind.FLAG: pa.bool_(),
    Kind.TIME: pa.timestamp("us", tz="UTC"),
}
_ROWS_AT_ONCE = 256
"""As Python objects, rows take some twenty times what they take in a table."""
_FORMULA = tuple("=+-@\t\r＝＋－＠")
_CONTROL = {"Cc", "Cs"}


class ResultTable:
    """The table that ``load_results`` gives, gathered from a few results at a time.

    Of what was added only the cells are kept, as Arrow's: thousands of results as Python objects would take twenty
    times the memory, and most of the time would go into the collector's looking through them.
    """

    def __init__(self) -> None:
        self._results = pa.schema([_field(column) for column in result_columns()])
        self._batches: list[pa.RecordBatch] = []
        self._config = ConfigColumns()
        self._sweeps: list[str] = []
        self._folders: list[str] = []

    def add(self, sweep: str, folders: Sequence[str], results: Sequence[ExperimentResult]) -> None:
        """Take in the results in ``folders`` of ``sweep``."""
        cells = zip(flat_columns(results), self._results, strict=True)
        arrays = [pa.array(column, field.type) for column, field in cells]
        self._batches.append(pa.RecordBatch.from_arrays(arrays, schema=self._results))
        for result in results:
            self._config.add(result)
        self._sweeps += [sweep] * len(folders)
        self._folders += folders

    def table(self, *, several: bool) -> pa.Table:
        """All of it; with ``several`` a column says which sweep a row is of."""
        table = pa.Table.from_batches(self._batches, schema=self._results).combine_chunks()
        last: list[tuple[Column, list[Scalar]]] = [(Column("folder", Kind.TEXT), [*self._folders])]
        if several:
            last.insert(0, (Column("sweep", Kind.TEXT), [*self._sweeps]))
        for column, cells in [*self._config.typed(), *last]:
            field = _field(column)
            table = table.append_column(field, pa.array(cells, field.type))
        return table


def _field(column: Column) -> pa.Field:
    kind = _TYPES[column.kind]
    return pa.field(column.name, pa.list_(kind) if column.many else kind)


def write_parquet(path: Path, table: pa.Table) -> None:
    """Create or replace ``path``. Raises StoreError."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    write_file(path, buffer.getvalue())
    # Arrow keeps what making and encoding the table took: 17 MiB for 5,000 rows, and no other table follows.
    pa.default_memory_pool().release_unused()


def write_csv(path: Path, table: pa.Table) -> None:
    """Create or replace ``path`` with :func:`csv_text`. Raises StoreError."""
    write_file(path, csv_text(table).encode())


def csv_text(table: pa.Table) -> str:
    """``table`` as comma-separated values; no cell can act as a formula in a spreadsheet.

    Lists are joined by ``;``, unknown is empty, times are ISO 8601.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([safe_text(name) for name in table.column_names])
    for batch in table.to_batches(max_chunksize=_ROWS_AT_ONCE):
        for row in batch.to_pylist():
            writer.writerow([_cell(value) for value in row.values()])
    return buffer.getvalue()


def safe_text(text: str) -> str:
    """``text`` on one line without control characters, quoted where a spreadsheet would compute it."""
    one_line = " ".join(text.splitlines()).replace("\t", " ")
    plain = "".join(char for char in one_line if unicodedata.category(char) not in _CONTROL)
    return f"'{plain}" if text.startswith(_FORMULA) or plain.lstrip().startswith(_FORMULA) else plain


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, str):
        return safe_text(value)
    if isinstance(value, list):
        if any(isinstance(each, str) for each in value):
            return safe_text(";".join("" if each is None else str(each) for each in value))
        return ";".join("" if each is None else repr(each) for each in value)
    return value.isoformat() if hasattr(value, "isoformat") else value
