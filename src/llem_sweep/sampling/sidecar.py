"""The samples as a parquet file, in long form: one row per sample and board.

Rows hold every raw reading of every recording: the idle power's (``cold``, ``context``), the window's own and that
of prefill by itself (``prefill``). The metadata hold the spans that count, the boards' sensors, the sampling
period, when batches began and had their first token and, where the window is a part of the run, all batches that
it was chosen from, so that ``sidecar_reading`` gives back exactly what the energies of the result were computed
from. A file thinned to one row per second can't do that, and says so. ``sidecar_merging`` puts the samples of
several processes into one file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from llem_sweep.device.protocol import Health, Reading
from llem_sweep.phases import Phase
from llem_sweep.results.environment import BoardInfo
from llem_sweep.sampling.account import Evidence, PrefillRun
from llem_sweep.sampling.energy import ESTIMATOR_VERSION
from llem_sweep.sampling.recording import Recording, Sample
from llem_sweep.sampling.run import Batch, Run

SIDECAR_SCHEMA_VERSION = "3"
_TEXT = pa.dictionary(pa.int32(), pa.string())
COLUMNS = pa.schema(
    [
        pa.field("timestamp_s", pa.float64(), nullable=False),
        pa.field("monotonic_s", pa.float64(), nullable=False),
        pa.field("wall_s", pa.float64(), nullable=False),
        pa.field("process", pa.int32(), nullable=False),
        pa.field("recording", _TEXT, nullable=False),
        pa.field("device", pa.int32(), nullable=False),
        pa.field("gpu_index", pa.int32(), nullable=False),
        pa.field("gpu_uuid", _TEXT, nullable=False),
        pa.field("phase", _TEXT, nullable=False),
        pa.field("in_window", pa.bool_(), nullable=False),
        pa.field("energy_mj", pa.int64()),
        pa.field("power_w", pa.float64()),
        pa.field("instant_power_w", pa.float64()),
        pa.field("temperature_c", pa.float64()),
        pa.field("memory_used_mb", pa.float64()),
        pa.field("memory_total_mb", pa.float64()),
        pa.field("sm_utilisation_pct", pa.float64()),
        pa.field("sm_clock_mhz", pa.float64()),
        pa.field("throttle_reasons", pa.int64()),
        pa.field("foreign_pids", pa.list_(pa.int64())),
        pa.field("ecc_errors", pa.int64()),
        pa.field("mig", pa.bool_()),
        pa.field("power_throttle_ns", pa.int64()),
        pa.field("thermal_throttle_ns", pa.int64()),
        pa.field("host_monotonic_s", pa.float64()),
        pa.field("host_package_j", pa.float64()),
        pa.field("host_dram_j", pa.float64()),
        pa.field("host_took_s", pa.float64()),
    ]
)
_NO_SAMPLES = COLUMNS.empty_table()
UNASKED = Health(foreign=None)
"""Also what a driver that tells nothing answers: the two are stored alike, and mean the same."""
_PHASES = [phase.value for phase in Phase]
_PHASE_CODES = {phase: code for code, phase in enumerate(Phase)}
EVIDENCE_KEY = b"llem_sweep.evidence"
"""Metadata that say what counts of the samples, as JSON."""


def encode_timeseries(
    evidence: Evidence, boards: Sequence[BoardInfo], window_started: datetime, hz: int | None = None
) -> bytes:
    """Every sample of ``evidence`` as parquet or, with ``hz`` 1, the first of each started second and board.

    ``timestamp_s`` counts from the start of the window and is negative before it; ``wall_s`` is Unix time by the
    same clock, set by ``window_started``, the wall-clock time of that start; ``in_window`` marks the window's
    samples from its start to its end, both included. ``boards`` are in device order. What wasn't read is null.
    """
    if hz is not None:
        evidence = _thinned(evidence, hz)
    names = sorted(evidence.recordings)
    lengths = [len(evidence.recordings[name].samples) for name in names]
    about = {"estimator": ESTIMATOR_VERSION, "hz": hz, "processes": [_described(evidence)]}
    simulated = any(board.simulated for board in boards)
    if not sum(lengths):
        return encode_table(_NO_SAMPLES, about, simulated=simulated)
    samples = chain.from_iterable(evidence.recordings[name].samples for name in names)
    at_s, devices, phases, readings, healths, hosts = zip(*samples, strict=True)
    read = Reading(*zip(*readings, strict=True))  # type: ignore[arg-type]
    health = Health(*zip(*(each or UNASKED for each in healths), strict=True))  # type: ignore[arg-type]
    window = evidence.window
    times, device = pa.array(at_s, pa.float64()), pa.array(devices, pa.int32())
    since_start = pc.subtract(times, window.start_s)
    codes = list(chain.from_iterable([code] * length for code, length in enumerate(lengths)))
    recording = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), names)
    columns = [
        since_start,
        times,
        pc.add(since_start, window_started.timestamp()),
        pa.repeat(pa.scalar(0, pa.int32()), len(times)),
        recording,
        device,
        pa.array([board.index for board in boards], pa.int32()).take(device),
        pa.DictionaryArray.from_arrays(device, [board.uuid for board in boards]),
        pa.DictionaryArray.from_arrays(
            pa.array([_PHASE_CODES[phase] for phase in phases], pa.int32()), _PHASES
        ),
        pc.and_(
            pc.equal(recording.cast(pa.string()), window.recording),
            pc.and_(pc.greater_equal(times, window.start_s), pc.less_equal(times, window.end_s)),
        ),
        pa.array(read.energy_mj, pa.int64()),
        pc.divide(pa.array(read.power_mw, pa.float64()), 1000.0),
        pc.divide(pa.array(read.instant_mw, pa.float64()), 1000.0),
        pa.array(read.temperature_c, pa.float64()),
        pa.array(read.memory_used_mb, pa.float64()),
        pa.array([board.memory_total_mb for board in boards], pa.float64()).take(device),
        pa.array(read.sm_utilisation_pct, pa.float64()),
        pa.array(read.sm_clock_mhz, pa.float64()),
        pa.array(read.throttle_reasons, pa.int64()),
        pa.array(health.foreign, pa.list_(pa.int64())),
        pa.array(health.ecc_errors, pa.int64()),
        pa.array(health.mig, pa.bool_()),
        pa.array(health.power_throttle_ns, pa.int64()),
        pa.array(health.thermal_throttle_ns, pa.int64()),
        *(pa.array([each[part] if each else None for each in hosts], pa.float64()) for part in range(4)),
    ]
    return encode_table(pa.Table.from_arrays(columns, schema=COLUMNS), about, simulated=simulated)


def _thinned(evidence: Evidence, hz: int) -> Evidence:
    """The first sample of each started period of ``1 / hz`` seconds, counted from the window's start."""
    start_s = evidence.window.start_s

    def first_ones(recording: Recording) -> Recording:
        first: dict[tuple[int, int], Sample] = {}
        for sample in recording.samples:
            first.setdefault((math.floor((sample.at_s - start_s) * hz), sample.device), sample)
        return recording._replace(samples=tuple(first.values()))

    return evidence._replace(
        recordings={name: first_ones(recording) for name, recording in evidence.recordings.items()}
    )


def _described(evidence: Evidence) -> dict[str, Any]:
    return {
        "spans": [span._asdict() for span in evidence.spans],
        "periods_s": {name: recording.period_s for name, recording in evidence.recordings.items()},
        "host": [name for name, recording in evidence.recordings.items() if recording.host is not None],
        "sensors": [sensors.model_dump(mode="json") for sensors in evidence.sensors],
        **_run_described(evidence.run),
        "batches": [list(batch) for batch in evidence.batches],
        **_prefill_described(evidence.prefill),
    }


def _run_described(run: Run | None) -> dict[str, Any]:
    """The batches of a run column by column; nothing where the window is all of it."""
    if run is None:
        return {}
    columns = zip(Batch._fields, zip(*run.batches, strict=True), strict=True)
    return {"run": {"start_s": run.start_s, "batches": {name: list(column) for name, column in columns}}}


def _prefill_described(prefill: PrefillRun | None) -> dict[str, Any]:
    if prefill is None:
        return {}
    marks = [list(batch) for batch in prefill.batches]
    return {"prefill": {"span": prefill.span._asdict(), "repetitions": prefill.repetitions, "batches": marks}}


def encode_table(table: pa.Table, described: dict[str, Any], *, simulated: bool) -> bytes:
    """``table`` of :data:`COLUMNS` as parquet, with ``described`` as what counts of it."""
    about = (
        "simulated boards: no number here was measured"
        if simulated
        else "readings of the boards' own sensors"
    )
    if described["hz"] is not None:
        about += f"; thinned to {described['hz']} row per second and board: energy can't be computed from it"
    if table.num_rows == 0:
        about = f"{'simulated boards: ' if simulated else ''}no samples were taken"
    metadata = {
        "llem_sweep.timeseries_version": SIDECAR_SCHEMA_VERSION,
        "llem_sweep.simulated": "true" if simulated else "false",
        "llem_sweep.about": about,
        EVIDENCE_KEY.decode(): json.dumps(described),
    }
    sink = pa.BufferOutputStream()
    # Dictionaries and statistics of numbers that hardly repeat cost more time than they save room.
    writer = pq.ParquetWriter(
        sink,
        table.schema.with_metadata(metadata),
        compression="snappy",
        use_dictionary=["gpu_uuid", "phase", "recording"],
        write_statistics=False,
    )
    with writer:
        # A group of no rows takes as long as everything else together.
        if table.num_rows:
            writer.write_table(table.replace_schema_metadata(metadata))
    return bytes(sink.getvalue())
