"""The samples as a parquet file, in long form: one row per sample and board."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from llem_sweep.phases import Phase
from llem_sweep.results.environment import BoardInfo
from llem_sweep.sampling.recording import Recording

SIDECAR_SCHEMA_VERSION = "1"
_TEXT = pa.dictionary(pa.int32(), pa.string())
_COLUMNS = pa.schema(
    [
        pa.field("timestamp_s", pa.float64(), nullable=False),
        pa.field("monotonic_s", pa.float64(), nullable=False),
        pa.field("device", pa.int32(), nullable=False),
        pa.field("gpu_index", pa.int32(), nullable=False),
        pa.field("gpu_uuid", _TEXT, nullable=False),
        pa.field("phase", _TEXT, nullable=False),
        pa.field("in_window", pa.bool_(), nullable=False),
        pa.field("energy_mj", pa.int64()),
        pa.field("power_w", pa.float64()),
        pa.field("temperature_c", pa.float64()),
        pa.field("memory_used_mb", pa.float64()),
        pa.field("memory_total_mb", pa.float64()),
        pa.field("sm_utilisation_pct", pa.float64()),
        pa.field("throttle_reasons", pa.int64()),
    ]
)
_PHASES = [phase.value for phase in Phase]
_PHASE_CODES = {phase: code for code, phase in enumerate(Phase)}


def encode_timeseries(
    recording: Recording, boards: Sequence[BoardInfo], window_start_s: float, window_end_s: float
) -> bytes:
    """Every sample of ``recording`` as parquet, enough to compute the energy again.

    ``timestamp_s`` counts from the start of the window and is negative before it; ``in_window`` marks the samples
    from its start to its end, both included. ``boards`` are in device order. What wasn't read is null.
    """
    if not recording.samples:
        return empty_timeseries(boards)
    at_s, devices, phases, readings = zip(*recording.samples, strict=True)
    energy, power_mw, temperature, memory, utilisation, reasons = zip(*readings, strict=True)
    times = pa.array(at_s, pa.float64())
    device = pa.array(devices, pa.int32())
    phase = pa.array([_PHASE_CODES[phase] for phase in phases], pa.int32())
    columns = [
        pc.subtract(times, window_start_s),
        times,
        device,
        pa.array([board.index for board in boards], pa.int32()).take(device),
        pa.DictionaryArray.from_arrays(device, [board.uuid for board in boards]),
        pa.DictionaryArray.from_arrays(phase, _PHASES),
        pc.and_(pc.greater_equal(times, window_start_s), pc.less_equal(times, window_end_s)),
        pa.array(energy, pa.int64()),
        pc.divide(pa.array(power_mw, pa.float64()), 1000.0),
        pa.array(temperature, pa.float64()),
        pa.array(memory, pa.float64()),
        pa.array([board.memory_total_mb for board in boards], pa.float64()).take(device),
        pa.array(utilisation, pa.float64()),
        pa.array(reasons, pa.int64()),
    ]
    return _encode(pa.Table.from_arrays(columns, schema=_COLUMNS), boards)


def empty_timeseries(boards: Sequence[BoardInfo] = ()) -> bytes:
    """A sidecar without rows, for an experiment that took no samples."""
    return _encode(_COLUMNS.empty_table(), boards)


def decode_timeseries(data: bytes) -> pa.Table:
    """The table in a sidecar; its schema's metadata say whether the boards were simulated."""
    return pq.read_table(pa.BufferReader(data))


def _encode(table: pa.Table, boards: Sequence[BoardInfo]) -> bytes:
    simulated = any(board.simulated for board in boards)
    about = (
        "simulated boards: no number here was measured"
        if simulated
        else "readings of the boards' own sensors"
    )
    if table.num_rows == 0:
        about = f"{'simulated boards: ' if simulated else ''}no samples were taken"
    metadata = {
        "llem_sweep.timeseries_version": SIDECAR_SCHEMA_VERSION,
        "llem_sweep.simulated": "true" if simulated else "false",
        "llem_sweep.about": about,
    }
    sink = pa.BufferOutputStream()
    # Dictionaries and statistics of numbers that hardly repeat cost more time than they save room.
    pq.write_table(
        table.replace_schema_metadata(metadata),
        sink,
        compression="snappy",
        use_dictionary=["gpu_uuid", "phase"],
        write_statistics=False,
    )
    return bytes(sink.getvalue())
