"""Tables as files."""

from __future__ import annotations

import csv
import io
import unicodedata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from llem_sweep.results.columns import FlatTable, Kind
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


def arrow_table(flat: FlatTable) -> pa.Table:
    """``flat`` as an Arrow table, whose types depend on its columns alone."""
    fields = [(name, pa.list_(_TYPES[kind]) if many else _TYPES[kind]) for name, kind, many in flat.columns]
    return pa.Table.from_pylist(list(flat.rows), schema=pa.schema(fields))


def write_parquet(path: Path, table: pa.Table) -> None:
    """Create or replace ``path``. Raises StoreError."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    write_file(path, buffer.getvalue())


def write_csv(path: Path, table: pa.Table) -> None:
    """Create or replace ``path``; no cell can act as a formula in a spreadsheet. Raises StoreError.

    Lists are joined by ``;``, unknown is empty, times are ISO 8601.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([safe_text(name) for name in table.column_names])
    for batch in table.to_batches(max_chunksize=_ROWS_AT_ONCE):
        for row in batch.to_pylist():
            writer.writerow([_cell(value) for value in row.values()])
    write_file(path, buffer.getvalue().encode())


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
