"""A sidecar's samples back from its bytes, as the energies of the result were computed from them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from llem_sweep.device.host_energy import HostReading
from llem_sweep.device.protocol import Health, Reading
from llem_sweep.phases import Phase
from llem_sweep.results.sensors import BoardSensors
from llem_sweep.sampling.account import Evidence, PrefillRun, Span
from llem_sweep.sampling.host import HostRecording
from llem_sweep.sampling.intervals import BatchMarks
from llem_sweep.sampling.recording import Recording, Sample
from llem_sweep.sampling.run import Batch, Run
from llem_sweep.sampling.sidecar import EVIDENCE_KEY, UNASKED


class SidecarError(ValueError):
    """A sidecar that can't be computed with; the message says why."""


def decode_timeseries(data: bytes) -> pa.Table:
    """The table in a sidecar; its schema's metadata say whether the boards were simulated."""
    return pq.read_table(pa.BufferReader(data))


class Decoded(NamedTuple):
    """What a sidecar holds."""

    processes: tuple[Evidence, ...]
    """In order of rank; one for an experiment of one process."""
    estimator: str
    """Version of the estimators at work when it was written."""
    hz: int | None
    """Rows per second and board that it was thinned to: nothing can be computed from such samples."""
    simulated: bool

    @property
    def evidence(self) -> Evidence:
        """That of the only process. Raises SidecarError where there are several."""
        if len(self.processes) != 1:
            raise SidecarError(f"the sidecar holds {len(self.processes)} processes where one was expected")
        return self.processes[0]


def decode_evidence(data: bytes) -> Decoded:
    """What :func:`encode_timeseries` was given, or each process gave it, up to what the samples cost.

    Raises SidecarError for a file that isn't such a sidecar or is damaged.
    """
    table = read_table(data)
    about = described(table)
    try:
        simulated = is_simulated(table)
        return Decoded(tuple(_processes(table, about)), about["estimator"], about["hz"], simulated)
    except (KeyError, TypeError, ValueError) as error:
        raise SidecarError(f"the sidecar's metadata are damaged: {error!r}") from error


def read_table(data: bytes) -> pa.Table:
    """The table in a sidecar. Raises SidecarError for a file that can't be read."""
    try:
        return decode_timeseries(data)
    except (pa.ArrowException, OSError) as error:
        raise SidecarError(f"the sidecar can't be read: {error}") from error


def described(table: pa.Table) -> dict[str, Any]:
    """What a sidecar's table says of its samples; one without a ``process`` column is of one process.

    Raises SidecarError for another version's.
    """
    said = (table.schema.metadata or {}).get(EVIDENCE_KEY)
    if said is None:
        raise SidecarError("the sidecar doesn't say what energy was computed from: another version wrote it")
    try:
        about: dict[str, Any] = json.loads(said)
    except ValueError as error:
        raise SidecarError(f"the sidecar's metadata are damaged: {error!r}") from error
    return about if "processes" in about else about | {"processes": [about]}


def is_simulated(table: pa.Table) -> bool:
    """Whether a sidecar's boards were simulated."""
    return bool((table.schema.metadata or {})[b"llem_sweep.simulated"] == b"true")


def _processes(table: pa.Table, about: dict[str, Any]) -> Iterator[Evidence]:
    boards = 0
    for rank, process in enumerate(about["processes"]):
        own = table
        if "process" in table.column_names:
            own = table.filter(pc.equal(table["process"], rank))
            devices = pc.subtract(own["device"], pa.scalar(boards, pa.int32()))
            own = own.set_column(own.column_names.index("device"), "device", devices)
        boards += len(process["sensors"])
        yield _evidence(own, process)


def _evidence(table: pa.Table, described: dict[str, Any]) -> Evidence:
    recordings = {}
    for name, period_s in described["periods_s"].items():
        own = table.filter(pc.equal(table["recording"].cast(pa.string()), name))
        samples = tuple(_samples(own))
        read = tuple(sample.host for sample in samples if sample.host is not None)
        host = HostRecording(read) if name in described["host"] else None
        recordings[name] = Recording(samples, period_s, None, host)
    return Evidence(
        recordings,
        tuple(Span(**span) for span in described["spans"]),
        tuple(BoardSensors.model_validate_json(json.dumps(sensors)) for sensors in described["sensors"]),
        _run(described["run"]) if "run" in described else None,
        # Sidecars written before steps were stamped have none.
        tuple(BatchMarks(*marks) for marks in described.get("batches", ())),
        _prefill(described["prefill"]) if "prefill" in described else None,
    )


def _prefill(described: dict[str, Any]) -> PrefillRun:
    marks = tuple(BatchMarks(*marks) for marks in described["batches"])
    return PrefillRun(Span(**described["span"]), described["repetitions"], marks)


def _run(described: dict[str, Any]) -> Run:
    columns = (described["batches"][name] for name in Batch._fields)
    return Run(described["start_s"], tuple(map(Batch, *columns)))


def _samples(table: pa.Table) -> list[Sample]:
    def column(name: str) -> list[Any]:
        values: list[Any] = table[name].to_pylist()
        return values

    def whole(name: str, scale: float = 1.0) -> list[int | None]:
        return [None if value is None else round(value * scale) for value in column(name)]

    readings = map(
        Reading,
        column("energy_mj"),
        whole("power_w", 1000.0),
        whole("temperature_c"),
        column("memory_used_mb"),
        whole("sm_utilisation_pct"),
        column("throttle_reasons"),
        whole("instant_power_w", 1000.0),
        whole("sm_clock_mhz"),
    )
    phases = map(Phase, column("phase"))
    times, devices = column("monotonic_s"), column("device")
    return list(map(Sample, times, devices, phases, readings, _healths(table), _hosts(table)))


def _healths(table: pa.Table) -> Iterator[Health | None]:
    foreign = (None if pids is None else tuple(pids) for pids in table["foreign_pids"].to_pylist())
    rest = (
        table[name].to_pylist() for name in ("ecc_errors", "mig", "power_throttle_ns", "thermal_throttle_ns")
    )
    for health in map(Health, foreign, *rest):
        yield None if health == UNASKED else health


def _hosts(table: pa.Table) -> Iterator[HostReading | None]:
    names = ("host_monotonic_s", "host_package_j", "host_dram_j", "host_took_s")
    for at_s, *rest in zip(*(table[name].to_pylist() for name in names), strict=True):
        yield None if at_s is None else HostReading(at_s, *rest)
