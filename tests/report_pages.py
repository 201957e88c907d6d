"""Sweeps for tests of the report, without running any: plan, rows, evidence and samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from factories import make_environment, make_plan, make_result_of
from llem_sweep.errors import StoreError
from llem_sweep.plan.types import PlannedExperiment, SweepPlan
from llem_sweep.report.page.evidence import Evidence
from llem_sweep.report.page.source import PageSource
from llem_sweep.report.summary import BoardEnergies, summary_table
from llem_sweep.results.experiment import ExperimentResult
from llem_sweep.results.failure import FailureRecord
from llem_sweep.results.outcome import FailureKind, Stage
from llem_sweep.results.warnings import MeasurementWarning, WarningCode
from llem_sweep.sampling.sidecar import COLUMNS

HOSTILE = (
    "</script><script>window.stolen = 1</script>",
    "<img src=x onerror='window.stolen = 2'>",
    "<b>bold</b> & \"quoted\" 'too'",
    "line\u2028end\u2029s",
    "acme/\u202egnp.exe",
    "$title ${data} %{x} <br>",
    "javascript:window.stolen=3",
)
"""Names as an attacker, or bad luck, would choose them."""


def page_source(
    plan: SweepPlan | None = None,
    results: Sequence[tuple[str, ExperimentResult]] | None = None,
    failures: Sequence[tuple[str, FailureRecord]] = (),
    sidecar: Callable[[str], bytes] | None = None,
    **fields: Any,
) -> PageSource:
    """What a page of ``results`` is made from; by default three points of a plan in two cycles, all completed."""
    plan = plan or make_plan(3, n_cycles=2)
    results = (
        [(f"folder-{n}", result_of(each, n)) for n, each in enumerate(plan.by_point)]
        if results is None
        else results
    )
    evidence, boards = Evidence(), BoardEnergies()
    for folder, result in results:
        evidence.add(folder, result)
        boards.add(result)
    for folder, record in failures:
        evidence.add_failure(folder, record)
    samples = make_sidecar()
    known: dict[str, Any] = {
        "plan": plan,
        "rows": summary_table(plan, results, failures).to_pylist(),
        "boards": boards.boards(),
        "evidence": evidence,
        "texts": (("sweep.yaml", "model: m\n\n# --set n=3\n"),),
        "settings": {"simulate_gpus": None, "inline": False, "address": None},
        "place": "/results/grid",
        "sidecar": sidecar or (lambda folder: samples),
    }
    return PageSource(**(known | fields))


def result_of(planned: PlannedExperiment, n: int = 0, **fields: Any) -> ExperimentResult:
    """A result whose figures differ with ``n``; energies of the phases add up to the whole."""
    whole = make_result_of(planned)
    energy_j = 5000.0 + 100.0 * n
    assert whole.phases is not None
    prefill = whole.phases.prefill.model_copy(update={"energy_j": 0.2 * energy_j})
    decode = whole.phases.decode.model_copy(update={"energy_j": 0.8 * energy_j})
    changed = {
        "total_energy_j": energy_j,
        "avg_energy_per_token_j": energy_j / 1000.0,
        "avg_tokens_per_second": 80.0 + 7.0 * n,
        "phases": whole.phases.model_copy(update={"prefill": prefill, "decode": decode}),
    }
    return whole.model_copy(update=changed | fields)


def simulated(planned: PlannedExperiment, n: int = 0, **fields: Any) -> ExperimentResult:
    """The same from simulated boards."""
    snapshot = make_environment()
    boards = tuple(board.model_copy(update={"simulated": True}) for board in snapshot.devices)
    said = (MeasurementWarning.of(WarningCode.SIMULATED, "simulated: no measurement"),)
    changed = {
        "simulated": True,
        "measured_on": "simulated",
        "environment_snapshot": snapshot.model_copy(update={"devices": boards}),
        "measurement_warnings": said,
    }
    return result_of(planned, n, **(changed | fields))


def failure_of(planned: PlannedExperiment, message: str = "it broke", **fields: Any) -> FailureRecord:
    """A failure that settles ``planned``."""
    known: dict[str, Any] = {
        "experiment_id": planned.experiment_id,
        "attempt": 1,
        "final": True,
        "stage": Stage.RUN,
        "kind": FailureKind.OUT_OF_MEMORY,
        "message": message,
        "traceback": "Traceback …",
        "log_tail": "the end of the log",
        "worker": "node7/0",
        "time": "2026-03-04T05:06:07Z",
        "config": {},
    }
    return FailureRecord.model_validate(known | fields)


def make_sidecar(boards: int = 1, samples: int = 400, peak_w: float = 650.0) -> bytes:
    """A sidecar of 4 s of idling and a window of 10 s, in which one sample of each board reads ``peak_w``."""
    rows = []
    for device in range(boards):
        for n in range(samples):
            at_s = -4.0 + 14.0 * n / (samples - 1)
            within = at_s >= 0.0
            power_w = peak_w if n == samples - 7 else 300.0 + 20.0 * math.sin(n) if within else 70.0
            phase = "baseline" if not within else "prefill" if at_s < 2.0 else "decode"
            rows.append(
                {
                    "timestamp_s": at_s,
                    "monotonic_s": 100.0 + at_s,
                    "wall_s": 1e9 + at_s,
                    "process": 0,
                    "recording": "window",
                    "device": device,
                    "gpu_index": device,
                    "gpu_uuid": f"GPU-{device}",
                    "phase": phase,
                    "in_window": within,
                    "power_w": power_w,
                    "temperature_c": 40.0 + n // 100,
                }
            )
    table = pa.Table.from_pylist(rows, schema=COLUMNS)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())


def hostile_source() -> PageSource:
    """A sweep whose names, errors and files all try to break out of the page."""
    shared = {"backend": "synthetic"}
    plan = make_plan(
        name=HOSTILE[0], shared=shared, sweep={"model": HOSTILE[:-1], "synthetic.run_seconds": (1.0, 2.0)}
    )
    done = plan.by_point[:-2]
    results = [(f"{HOSTILE[1].replace('/', '')}-{n}", simulated(each, n)) for n, each in enumerate(done)]
    failed = plan.by_point[-1]
    record = failure_of(
        failed, "\n".join(HOSTILE), traceback=HOSTILE[0], log_tail=HOSTILE[1], worker=HOSTILE[2]
    )

    def sidecar(folder: str) -> bytes:
        if folder.endswith("-0"):
            raise StoreError(f"can't read {HOSTILE[1]}")
        return make_sidecar()

    return page_source(
        plan,
        results,
        [(HOSTILE[6], record)],
        sidecar,
        texts=(("sweep.yaml", "\n".join(HOSTILE)),),
        place=HOSTILE[1],
        settings={"simulate_gpus": 1, "inline": True, "address": None},
    )
