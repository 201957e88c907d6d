"""The requests of a window as a parquet file, one row per request, and back."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from llem_sweep.results.requests import RequestLog, RequestRecord
from llem_sweep.sampling.sidecar_reading import SidecarError

REQUESTS_VERSION = "1"
COLUMNS = pa.schema(
    [
        pa.field("process", pa.int32(), nullable=False),
        pa.field("request", pa.int64(), nullable=False),
        pa.field("batch", pa.int32(), nullable=False),
        pa.field("prompt_tokens", pa.int64(), nullable=False),
        pa.field("output_tokens", pa.int64(), nullable=False),
        pa.field("start_s", pa.float64(), nullable=False),
        pa.field("first_token_s", pa.float64()),
        pa.field("end_s", pa.float64()),
        pa.field("energy_j", pa.float64()),
        pa.field("token_times_s", pa.list_(pa.float64()), nullable=False),
    ]
)
_ERROR_KEY = b"llem_sweep.stamp_error_s"
_VERSION_KEY = b"llem_sweep.requests_version"


def encode_requests(log: RequestLog, *, simulated: bool) -> bytes:
    """``log`` as parquet; ``simulated`` says that its energies are no measurement."""
    records = log.records
    columns = [
        [record.process for record in records],
        [record.number for record in records],
        [record.batch for record in records],
        [record.input_tokens for record in records],
        [record.output_tokens for record in records],
        [record.start_s for record in records],
        [record.first_token_s for record in records],
        [record.end_s for record in records],
        [record.energy_j for record in records],
        [record.tokens_s for record in records],
    ]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, COLUMNS, strict=True)]
    metadata = {
        _VERSION_KEY: REQUESTS_VERSION,
        _ERROR_KEY: repr(log.error_s),
        b"llem_sweep.simulated": "true" if simulated else "false",
        b"llem_sweep.about": "times in seconds from the window's start; energy_j is a share by tokens",
    }
    table = pa.Table.from_arrays(arrays, schema=COLUMNS).replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    # Requests of a batch have the same times, which a dictionary holds once.
    pq.write_table(
        table,
        sink,
        compression="snappy",
        use_dictionary=["token_times_s.list.element"],
        write_statistics=False,
    )
    return bytes(sink.getvalue())


def decode_requests(data: bytes) -> RequestLog:
    """What :func:`encode_requests` was given. Raises SidecarError for a file that isn't of its kind."""
    try:
        table = pq.read_table(pa.BufferReader(data))
        metadata = table.schema.metadata or {}
        records = tuple(map(_record, table.to_pylist()))
        return RequestLog(records, float(metadata[_ERROR_KEY]))
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise SidecarError(f"the records of requests can't be read: {error}") from error


def _record(row: dict[str, Any]) -> RequestRecord:
    return RequestRecord(
        number=row["request"],
        batch=row["batch"],
        input_tokens=row["prompt_tokens"],
        start_s=row["start_s"],
        tokens_s=tuple(row["token_times_s"]),
        process=row["process"],
        energy_j=row["energy_j"],
    )
