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
from llem_sweep.sampling.account import Evidence, Span
from llem_sweep.sampling.host import HostRecording
from llem_sweep.sampling.recording import Recording, Sample
from llem_sweep.sampling.sidecar import EVIDENCE_KEY, UNASKED


class SidecarError(ValueError):
    """A sidecar that can't be computed with; the message says why."""


def decode_timeseries(data: bytes) -> pa.Table:
    """The table in a sidecar; its schema's metadata say whether the boards were simulated."""
    return pq.read_table(pa.BufferReader(data))


class Decoded(NamedTuple):
    """What a sidecar holds."""

    evidence: Evidence
    estimator: str
    """Version of the estimators at work when it was written."""
    hz: int | None
    """Rows per second and board that it was thinned to: nothing can be computed from such samples."""
    simulated: bool


def decode_evidence(data: bytes) -> Decoded:
    """What :func:`encode_timeseries` was given, up to what the samples cost.

    Raises SidecarError for a file that isn't such a sidecar or is damaged.
    """
    try:
        table = decode_timeseries(data)
    except (pa.ArrowException, OSError) as error:
        raise SidecarError(f"the sidecar can't be read: {error}") from error
    metadata = table.schema.metadata or {}
    described = metadata.get(EVIDENCE_KEY)
    if described is None:
        raise SidecarError("the sidecar doesn't say what energy was computed from: another version wrote it")
    try:
        about = json.loads(described)
        simulated = metadata[b"llem_sweep.simulated"] == b"true"
        return Decoded(_evidence(table, about), about["estimator"], about["hz"], simulated)
    except (KeyError, TypeError, ValueError) as error:
        raise SidecarError(f"the sidecar's metadata are damaged: {error!r}") from error


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
    )


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
