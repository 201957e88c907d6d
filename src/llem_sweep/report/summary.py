"""The sweep in one table, and the energy of every board."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from typing import NamedTuple

import pyarrow as pa

from llem_sweep.plan.types import PlannedExperiment, RefusedExperiment, SweepPlan
from llem_sweep.results.columns import Column, Kind, Row, add_columns
from llem_sweep.results.experiment import ExperimentResult
from llem_sweep.results.failure import FailureRecord
from llem_sweep.results.flatten import flat_row, result_columns

_TYPES = {
    Kind.TEXT: pa.string(),
    Kind.WHOLE: pa.int64(),
    Kind.REAL: pa.float64(),
    Kind.FLAG: pa.bool_(),
    Kind.TIME: pa.timestamp("us", tz="UTC"),
}
_POINT = (
    Column("experiment_id", Kind.TEXT),
    Column("status", Kind.TEXT),
    Column("model", Kind.TEXT),
    Column("backend", Kind.TEXT),
    Column("cycle", Kind.WHOLE),
)
_MEASURED = (
    "measurement_config_hash",
    "measured_on",
    "simulated",
    "avg_tokens_per_second",
    "avg_energy_per_token_j",
    "avg_energy_per_token_uncertainty_j",
    "total_energy_j",
    "energy_uncertainty_j",
    "energy_adjusted_j",
    "energy_adjusted_uncertainty_j",
    "baseline_power_w",
    "energy_per_device_j",
    "phases.prefill.energy_j",
    "phases.prefill.energy_uncertainty_j",
    "phases.decode.energy_j",
    "phases.decode.energy_uncertainty_j",
    "total_inference_time_sec",
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "requests",
    "warnings",
    "verdict.publishable",
    "node",
    "device_uuids",
    "device_names",
    "start_time",
    "end_time",
)
_OUTCOME = (
    Column("folder", Kind.TEXT),
    Column("failed_attempts", Kind.WHOLE),
    Column("failure_stage", Kind.TEXT),
    Column("failure_kind", Kind.TEXT),
    Column("failure_message", Kind.TEXT),
)
_NAMED_ALREADY = ("model", "backend")


def summary_table(
    plan: SweepPlan,
    results: Iterable[tuple[str, ExperimentResult]],
    failures: Iterable[tuple[str, FailureRecord]] = (),
    refused: Iterable[RefusedExperiment] = (),
    retried: Collection[str] = (),
) -> pa.Table:
    """One row per planned experiment, point after point in the order of the file, its cycles together.

    ``status`` is completed, failed, refused, or pending for what hasn't been settled. Swept fields are columns
    ``config.<field>``; ``measured_on`` tells measurements from the rest; figures are those of the result, under
    its field names and units, and null where there is none. For what failed, ``failure_*`` is the latest failure.
    For what was refused, ``failure_kind`` and ``failure_message`` say why.

    ``results`` and ``failures`` come with the name of their folder, failures oldest first. Failures in ``retried``
    folders settle nothing: their experiments were to be run again. Of each result only its row is kept, so that
    ``results`` may be read from disk one at a time.
    """
    completed = {result.experiment_id: _figures(folder, result) for folder, result in results}
    failed: dict[str, list[tuple[str, FailureRecord]]] = {}
    for folder, record in failures:
        failed.setdefault(record.experiment_id, []).append((folder, record))
    unfit = {each.experiment.experiment_id: each for each in refused}
    rows = []
    for planned in plan.by_point:
        key = planned.experiment_id
        rows.append(_row(planned, completed.pop(key, None), failed.get(key, []), unfit.get(key), retried))
    varied = dict.fromkeys(name for planned in plan.experiments for name in planned.varied)
    values = {
        f"config.{name}": [planned.varied.get(name) for planned in plan.by_point]
        for name in varied
        if name not in _NAMED_ALREADY
    }
    swept = add_columns(rows, values)
    measured = {column.name: column for column in result_columns()}
    columns = (*_POINT, *swept, *(measured[name] for name in _MEASURED), *_OUTCOME)
    return _arrow_table(columns, rows)


def _row(
    planned: PlannedExperiment,
    completed: Row | None,
    failures: list[tuple[str, FailureRecord]],
    refused: RefusedExperiment | None,
    retried: Collection[str],
) -> Row:
    row: Row = {
        "experiment_id": planned.experiment_id,
        "status": "pending",
        "measurement_config_hash": planned.config_hash,
        "model": planned.config.model,
        "backend": planned.config.backend,
        "cycle": planned.cycle,
        "failed_attempts": len(failures),
    }
    if completed is not None:
        return row | completed
    if failures:
        folder, record = failures[-1]
        row |= {
            "folder": folder,
            "failure_stage": record.stage.value,
            "failure_kind": record.kind.value,
            "failure_message": record.message,
        }
    if any(record.settles and folder not in retried for folder, record in failures):
        row["status"] = "failed"
    elif refused is not None:
        row |= {
            "status": "refused",
            "failure_kind": refused.refusal.value,
            "failure_message": refused.reason,
        }
    return row


def _figures(folder: str, result: ExperimentResult) -> Row:
    figures = flat_row(result)
    return {name: figures[name] for name in _MEASURED} | {"status": "completed", "folder": folder}


class BoardEnergy(NamedTuple):
    """What one board used over the measured windows of a sweep."""

    node: str
    uuid: str
    name: str
    energy_j: float | None
    """Sum over ``experiments``; None when the energy of none is known."""
    experiments: int
    """Experiments summed."""
    unknown: int
    """Experiments on this board whose energy isn't known, and isn't in the sum."""
    measured_on: str
    """As in the results summed: board, off-board, simulated or synthetic."""
    simulated: bool
    """Whether the board is a simulated one: its energy is no measurement."""


def energy_by_board(results: Iterable[tuple[str, ExperimentResult]]) -> tuple[BoardEnergy, ...]:
    """Energy of each board by node and UUID, in that order.

    A board that both measured and did otherwise (off-board, synthetic) has a row for each: they don't add up to
    a measurement.
    """
    energies = BoardEnergies()
    for _, result in results:
        energies.add(result)
    return energies.boards()


class BoardEnergies:
    """What :func:`energy_by_board` sums, one result at a time."""

    def __init__(self) -> None:
        self._energies_j: dict[tuple[str, str, str, bool], list[float | None]] = {}
        self._names: dict[str, str] = {}

    def add(self, result: ExperimentResult) -> None:
        """Count ``result`` in."""
        snapshot = result.environment_snapshot
        for board, energy_j in zip(snapshot.devices, result.energy_per_device_j, strict=True):
            self._names.setdefault(board.uuid, board.name)
            key = (snapshot.node, board.uuid, result.measured_on, board.simulated)
            self._energies_j.setdefault(key, []).append(energy_j)

    def boards(self) -> tuple[BoardEnergy, ...]:
        """Energy of each board so far, by node and UUID."""
        energies_j = self._energies_j
        return tuple(_sum(key, self._names[key[1]], energies_j[key]) for key in sorted(energies_j))


def _sum(key: tuple[str, str, str, bool], name: str, energies_j: list[float | None]) -> BoardEnergy:
    node, uuid, measured_on, simulated = key
    known = [energy_j for energy_j in energies_j if energy_j is not None]
    return BoardEnergy(
        node=node,
        uuid=uuid,
        name=name,
        energy_j=math.fsum(known) if known else None,
        experiments=len(known),
        unknown=len(energies_j) - len(known),
        measured_on=measured_on,
        simulated=simulated,
    )


def _arrow_table(columns: tuple[Column, ...], rows: list[Row]) -> pa.Table:
    fields = [(name, pa.list_(_TYPES[kind]) if many else _TYPES[kind]) for name, kind, many in columns]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))
