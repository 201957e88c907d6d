"""Latencies, phases and records of requests where the window is a part of the run."""

from __future__ import annotations

import pytest

from factories import planned_synthetic
from llem_sweep.clock import SimulatedClock
from llem_sweep.device.simulated import simulated_boards
from llem_sweep.harness.measure import measure
from llem_sweep.harness.rig import Rig
from llem_sweep.harness.verification import verify
from llem_sweep.results.outcome import REQUESTS
from llem_sweep.sampling.request_file import decode_requests


def test_only_the_batches_of_the_window_count_in_latencies_phases_and_records() -> None:
    planned = planned_synthetic(
        n=16,
        max_output_tokens=11,
        synthetic={"run_seconds": 8.0},
        baseline={"duration_seconds": 4.0},
        # Eight batches of a second, three times; of these the third to the thirteenth.
        measurement={
            "min_duration_seconds": 20.0,
            "window": "windowed",
            "start_seconds": 1.5,
            "end_seconds": 13.5,
        },
    )
    clock = SimulatedClock()
    kept: dict[str, bytes] = {}
    rig = Rig(simulated_boards([0], clock), clock, node="here")
    result, sidecar = measure(planned, rig, keep=kept.__setitem__)
    assert result.total_inference_time_sec == pytest.approx(11.0)
    records = decode_requests(kept[REQUESTS]).records
    assert len(records) == result.requests == 22
    assert [record.batch for record in records] == [batch for batch in range(11) for _ in range(2)]
    assert (records[0].number, records[-1].number) == (4, 9)
    assert records[0].start_s == pytest.approx(0.0, abs=1e-9)
    assert records[-1].end_s == pytest.approx(11.0)
    assert result.latency_stats is not None
    assert result.latency_stats.ttft_samples == 22
    assert result.latency_stats.e2e_latency_p99_ms == pytest.approx(1000.0)
    phases = result.phases
    assert phases is not None
    assert phases.prefill.time_s == pytest.approx(1.1)
    assert phases.prefill.time_s + phases.decode.time_s == pytest.approx(result.total_inference_time_sec)
    assert phases.decode.tokens == 22 * 10
    sum_j = (phases.prefill.energy_j or 0.0) + (phases.decode.energy_j or 0.0)
    assert sum_j == pytest.approx(result.total_energy_j, rel=1e-12)
    assert verify(result, sidecar, kept[REQUESTS]).problems == ()
