"""A result is held against its own samples: what agrees, and that nothing altered gets by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factories import planned_synthetic
from llem_sweep.clock import SimulatedClock
from llem_sweep.device.host_energy import HostMeter
from llem_sweep.device.simulated import SensorProfile, SimulatedGpu, simulated_boards
from llem_sweep.execution.worker import WorkerSpec, device_environment_restored, open_rig
from llem_sweep.harness.derived import with_neighbours
from llem_sweep.harness.measure import measure
from llem_sweep.harness.rig import Rig
from llem_sweep.harness.verification import Verification, verify
from llem_sweep.plan.types import PlannedExperiment
from llem_sweep.results.experiment import ExperimentResult
from llem_sweep.results.outcome import REQUESTS, Completed
from llem_sweep.results.warnings import WarningCode
from llem_sweep.sampling.request_file import decode_requests, encode_requests
from powercap_tree import RANGE_UJ, PowercapTree


def planned(**fields: Any) -> PlannedExperiment:
    known = {"synthetic": {"run_seconds": 6.0}, "baseline": {"duration_seconds": 4.0}}
    return planned_synthetic(**(known | fields))


def measured(boards: int = 1, sensor: SensorProfile | None = None, **fields: Any) -> Completed:
    clock = SimulatedClock()
    gpus = (SimulatedGpu(0, clock, sensor=sensor),) if sensor else simulated_boards(range(boards), clock)
    rig = Rig(gpus, clock, node="here")
    further: dict[str, bytes] = {}
    result, sidecar = measure(planned(gpus=boards, **fields), rig, keep=further.__setitem__)
    # As it comes back from a file.
    again = ExperimentResult.model_validate_json(result.model_dump_json())
    return Completed(again, sidecar, further)


def verified(measured: Completed) -> Verification:
    return verify(measured.result, measured.timeseries_parquet, measured.further[REQUESTS])


@pytest.fixture(scope="module")
def whole() -> Completed:
    return measured()


def rewritten(sidecar: bytes, column: str, row: int, value: object) -> bytes:
    """The sidecar with one cell replaced."""
    table = pq.read_table(pa.BufferReader(sidecar))
    values = table[column].to_pylist()
    assert values[row] != value
    values[row] = value
    altered = table.set_column(
        table.schema.get_field_index(column), table.schema.field(column), pa.array(values, table[column].type)
    )
    sink = pa.BufferOutputStream()
    pq.write_table(altered, sink)
    return bytes(sink.getvalue())


def signed(measured: Completed, sidecar: bytes) -> Verification:
    """Verification of ``sidecar`` under a result that was given its digest."""
    digest = hashlib.sha256(sidecar).hexdigest()
    return verify(measured.result.model_copy(update={"timeseries_sha256": digest}), sidecar)


@pytest.mark.parametrize(
    "case",
    [
        {},
        {"boards": 2},
        {"baseline": {"enabled": False}},
        {"baseline": {"duration_seconds": 4.0, "subtract": "cold", "after_seconds": 0.0}},
        {"sensor": SensorProfile(has_counter=False)},
        {"sensor": SensorProfile(has_counter=False, has_power=False)},
        {"synthetic": {"run_seconds": 0.05}},
        {"warmup": {"n_warmup": 2, "thermal_floor_seconds": 35.0, "settle_limit_seconds": 20.0}},
        {"energy": {"backend": "null"}},
    ],
)
def test_whatever_was_measured_is_found_again_to_the_last_bit(case: dict[str, Any]) -> None:
    found = verified(measured(**case))
    assert found.problems == ()
    assert found.recomputed


def test_without_boards_there_is_little_to_find_and_no_contradiction() -> None:
    found = verified(measured(boards=0))
    assert found.problems == ()
    assert not found.verdict.publishable


def test_neighbours_told_by_the_driver_are_no_contradiction(whole: Completed) -> None:
    shared = with_neighbours(whole.result, ["89abcdef01234567"])
    assert WarningCode.SHARED_NODE in {each.code for each in shared.measurement_warnings}
    assert verify(shared, whole.timeseries_parquet).problems == ()


def test_any_altered_sample_shows_in_the_digest(whole: Completed) -> None:
    for column, value in (("power_w", 1.0), ("temperature_c", 99.0), ("phase", "idle")):
        found = verify(whole.result, rewritten(whole.timeseries_parquet, column, 700, value))
        assert any("SHA-256" in problem for problem in found.problems)
        assert not found.verdict.publishable


def rows_at(sidecar: bytes, at_s: float) -> Iterator[tuple[int, int]]:
    """Position and counter of the samples of the first tick after ``at_s`` from the window's start."""
    table = pq.read_table(pa.BufferReader(sidecar)).to_pylist()
    inside = [n for n, row in enumerate(table) if row["recording"] == "window" and row["timestamp_s"] >= at_s]
    for row in inside[:7]:
        yield row, table[row]["energy_mj"]


def test_an_altered_counter_shows_in_the_energies_even_under_a_new_digest(whole: Completed) -> None:
    sidecar = whole.timeseries_parquet
    for row, energy_mj in rows_at(sidecar, 6.05):
        sidecar = rewritten(sidecar, "energy_mj", row, energy_mj + 2000)
    found = signed(whole, sidecar)
    assert any(problem.startswith("total_energy_j is") for problem in found.problems)
    assert not found.verdict.publishable


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"total_energy_j": 1.0}, "total_energy_j is 1.0"),
        ({"energy_uncertainty_j": 0.0}, "energy_uncertainty_j is 0.0"),
        ({"energy_adjusted_j": None}, "energy_adjusted_j is None"),
        (
            {"measurement_warnings": ()},
            "warnings: only in the result: none; only by its samples: baseline_short",
        ),
        ({"total_inference_time_sec": 60.0}, "the window lasted 60.0 s by the result"),
        ({"measured_on": "board"}, "measured on: board by the result, synthetic by what it consists of"),
        ({"synthetic": False, "measured_on": "simulated"}, "measured on: simulated by the result, synthetic"),
        ({"output_tokens": 1}, "avg_energy_per_token_j is"),
        ({"output_tokens": 1}, "phases.decode.tokens is"),
        ({"phases": None}, "phases is None in the result"),
        ({"timeseries_sha256": None}, "the sidecar isn't the one"),
        ({"warmup_result": None}, "the result holds no warm-up"),
    ],
)
def test_an_altered_result_is_contradicted_by_its_samples(
    whole: Completed, change: dict[str, Any], told: str
) -> None:
    found = verify(whole.result.model_copy(update=change), whole.timeseries_parquet)
    assert any(told in problem for problem in found.problems), found.problems
    assert not found.verdict.publishable


def test_the_records_of_requests_are_found_to_be_the_results_own(whole: Completed) -> None:
    assert whole.result.latency_stats is not None
    log = decode_requests(whole.further[REQUESTS])
    assert [record.number for record in log.records] == list(range(16))
    shares_j = [record.energy_j or 0.0 for record in log.records]
    assert sum(shares_j) == pytest.approx(whole.result.total_energy_j, rel=1e-9)
    assert verified(whole).problems == ()


def records_changed(measured: Completed, **fields: Any) -> Verification:
    """Verification with one request's record changed."""
    log = decode_requests(measured.further[REQUESTS])
    changed = log._replace(records=(log.records[0]._replace(**fields), *log.records[1:]))
    data = encode_requests(changed, simulated=True)
    return verify(measured.result, measured.timeseries_parquet, data)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"input_tokens": 1}, "input_tokens is"),
        ({"tokens_s": (0.1, 0.2)}, "output_tokens is"),
        ({"tokens_s": (0.1, 0.2)}, "latency_stats.e2e_latency_mean_ms is"),
        ({"start_s": -1.0}, "latency_stats.ttft_p99_ms is"),
        ({"start_s": -1.0}, "different batches of process 0"),
        ({"energy_j": 1.0}, "shares of energy"),
        ({"energy_j": None}, "shares of energy"),
    ],
)
def test_altered_records_of_requests_are_contradicted(
    whole: Completed, fields: dict[str, Any], told: str
) -> None:
    found = records_changed(whole, **fields)
    assert any(told in problem for problem in found.problems), found.problems
    assert not found.verdict.publishable


def test_what_is_no_record_of_requests_is_said_to_be_none(whole: Completed) -> None:
    for data in (b"", whole.timeseries_parquet):
        (problem,) = verify(whole.result, whole.timeseries_parquet, data).problems
        assert "can't be read" in problem
    altered = whole.result.model_copy(update={"latency_stats": None})
    problems = verify(altered, whole.timeseries_parquet, whole.further[REQUESTS]).problems
    assert any(problem.startswith("latency_stats.ttft_mean_ms is None") for problem in problems)


def test_a_verdict_is_not_believed(whole: Completed) -> None:
    assert whole.result.verdict is not None
    assert not whole.result.verdict.publishable
    praised = whole.result.verdict.model_copy(update={"publishable": True, "because": ()})
    found = verify(whole.result.model_copy(update={"verdict": praised}), whole.timeseries_parquet)
    assert any(problem.startswith("verdict.publishable is True") for problem in found.problems)
    assert not found.verdict.publishable


def test_another_version_of_the_estimators_has_to_agree_to_a_billionth(whole: Completed) -> None:
    table = pq.read_table(pa.BufferReader(whole.timeseries_parquet))
    metadata = dict(table.schema.metadata)
    metadata[b"llem_sweep.evidence"] = metadata[b"llem_sweep.evidence"].replace(
        b'"estimator": "1"', b'"estimator": "0"'
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(metadata), sink)
    sidecar = bytes(sink.getvalue())
    total_j = whole.result.total_energy_j
    assert total_j is not None
    older = whole._replace(
        result=whole.result.model_copy(
            update={"total_energy_j": total_j * (1 + 1e-11), "energy_estimator": "0"}
        )
    )
    assert [p for p in signed(older, sidecar).problems if "total_energy_j" in p] == []
    off = whole._replace(result=whole.result.model_copy(update={"total_energy_j": total_j * (1 + 1e-7)}))
    assert [p for p in signed(off, sidecar).problems if p.startswith("total_energy_j")] != []


def test_a_sidecar_from_before_steps_were_stamped_tells_of_no_phases(whole: Completed) -> None:
    table = pq.read_table(pa.BufferReader(whole.timeseries_parquet))
    metadata = dict(table.schema.metadata)
    about = json.loads(metadata[b"llem_sweep.evidence"])
    for process in about["processes"]:
        del process["batches"]
    metadata[b"llem_sweep.evidence"] = json.dumps(about).encode()
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(metadata), sink)
    earlier = {"phases": None, "schema_version": "3.2"}
    before = whole._replace(result=whole.result.model_copy(update=earlier))
    assert signed(before, bytes(sink.getvalue())).problems == ()
    assert any("phases is None" in problem for problem in signed(before, whole.timeseries_parquet).problems)


def test_thinned_samples_are_no_contradiction_but_prove_nothing() -> None:
    thin = measured(sampling={"sidecar_hz": 1})
    found = verified(thin)
    assert (found.problems, found.recomputed) == ((), False)
    assert not found.verdict.publishable
    assert any("thinned" in reason for reason in found.verdict.because)
    assert thin.result.verdict is not None
    assert any(reason.startswith("sidecar_thinned") for reason in thin.result.verdict.because)


def test_bytes_that_are_no_sidecar_are_said_to_be_none(whole: Completed) -> None:
    for damage in (b"", b"not parquet", whole.timeseries_parquet[:-30]):
        found = verify(whole.result, damage)
        assert any("can't be read" in problem for problem in found.problems)
        assert (found.recomputed, found.verdict.publishable) == (False, False)


def test_host_energy_is_measured_beside_the_boards_stored_and_found_again(tmp_path: Path) -> None:
    clock = SimulatedClock()
    tree = PowercapTree(tmp_path)
    tree.add("intel-rapl:0", "package-0")

    def read(file: int, length: int, offset: int) -> bytes:
        return str(round(200e6 * clock.monotonic()) % RANGE_UJ).encode()

    rig = Rig(
        simulated_boards([0], clock), clock, node="here", host=lambda: HostMeter(clock, tree.root, read)
    )
    result, sidecar, *_ = measure(planned(), rig)
    host = result.host_energy
    assert host is not None
    assert host.package_j == pytest.approx(200.0 * result.total_inference_time_sec, rel=0.001)
    assert host.package_uncertainty_j is not None
    assert 0 < host.package_uncertainty_j < 0.05 * 200.0 * result.total_inference_time_sec
    assert (host.dram_j, host.domains) == (None, ("package-0",))
    assert host.reason is not None
    assert verify(result, sidecar).problems == ()
    altered = host.model_copy(update={"package_j": 1.0})
    found = verify(result.model_copy(update={"host_energy": altered}), sidecar)
    assert any("host_energy.package_j is 1.0" in problem for problem in found.problems)


def test_host_energy_is_not_taken_beside_simulated_boards(whole: Completed) -> None:
    assert whole.result.host_energy is None
    spec = WorkerSpec("n/w", "n", 1, (0,), 0.0)
    with device_environment_restored(), closing(open_rig(spec, SimulatedClock())) as rig:
        result, *_ = measure(planned(), rig)
    assert result.host_energy is None
