from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llem_sweep.clock import SimulatedClock
from llem_sweep.device.protocol import Reading
from llem_sweep.device.sensors import GENERATIONS
from llem_sweep.device.simulated import SimulatedGpu, simulated_boards
from llem_sweep.phases import Phase, PhaseStream
from llem_sweep.results.environment import BoardInfo
from llem_sweep.sampling.account import Evidence, PrefillRun, Span, take_account
from llem_sweep.sampling.intervals import BatchMarks
from llem_sweep.sampling.recording import Recording, Sample
from llem_sweep.sampling.sampler import Sampler
from llem_sweep.sampling.sidecar import EVIDENCE_KEY, encode_timeseries
from llem_sweep.sampling.sidecar_merging import merge_sidecars
from llem_sweep.sampling.sidecar_reading import SidecarError, decode_evidence, decode_timeseries

REAL = BoardInfo(uuid="GPU-1", name="board", index=4, memory_total_mb=80_000.0)


def recorded() -> tuple[Recording, list[BoardInfo]]:
    clock = SimulatedClock(start_s=50.0)
    boards: tuple[SimulatedGpu, ...] = simulated_boards([5, 2], clock)
    phases = PhaseStream(clock)
    for board in boards:
        phases.subscribe(board.on_phase)
    with Sampler(boards, clock, phases) as sampler:
        phases.mark(Phase.LOAD)
        clock.sleep(1.0)
        phases.mark(Phase.DECODE)
        clock.sleep(3.0)
        phases.mark(Phase.COOL)
        clock.sleep(0.5)
        return sampler.stop(), [board.info for board in boards]


STARTED = datetime(2026, 1, 1, tzinfo=UTC)


def evidence(recording: Recording, devices: int, start_s: float = 51.0, end_s: float = 54.0) -> Evidence:
    window = Span("window", "during", "window", start_s, end_s)
    return Evidence({"window": recording}, (window,), (GENERATIONS["hopper"],) * devices)


def test_every_sample_is_a_row_with_its_own_board() -> None:
    recording, boards = recorded()
    table = decode_timeseries(encode_timeseries(evidence(recording, 2), boards, STARTED))
    rows = table.to_pylist()
    assert len(rows) == len(recording.samples)
    for row, sample in zip(rows, recording.samples, strict=True):
        assert row == {
            "timestamp_s": pytest.approx(sample.at_s - 51.0),
            "monotonic_s": sample.at_s,
            "wall_s": pytest.approx(STARTED.timestamp() + sample.at_s - 51.0),
            "process": 0,
            "recording": "window",
            "device": sample.device,
            "gpu_index": (5, 2)[sample.device],
            "gpu_uuid": boards[sample.device].uuid,
            "phase": sample.phase.value,
            "in_window": 51.0 <= sample.at_s <= 54.0,
            "energy_mj": sample.reading.energy_mj,
            "power_w": pytest.approx((sample.reading.power_mw or 0) / 1000),
            "instant_power_w": pytest.approx((sample.reading.instant_mw or 0) / 1000),
            "temperature_c": sample.reading.temperature_c,
            "memory_used_mb": sample.reading.memory_used_mb,
            "memory_total_mb": 80_000.0,
            "sm_utilisation_pct": sample.reading.sm_utilisation_pct,
            "sm_clock_mhz": sample.reading.sm_clock_mhz,
            "throttle_reasons": sample.reading.throttle_reasons,
            "foreign_pids": [] if sample.health else None,
            "ecc_errors": 0 if sample.health else None,
            "mig": False if sample.health else None,
            "power_throttle_ns": 0 if sample.health else None,
            "thermal_throttle_ns": 0 if sample.health else None,
            "host_monotonic_s": None,
            "host_package_j": None,
            "host_dram_j": None,
            "host_took_s": None,
        }
    assert rows[0]["timestamp_s"] == pytest.approx(-1.0)


def test_the_evidence_comes_back_bit_for_bit() -> None:
    recording, boards = recorded()
    cold = Recording(recording.samples[:200], 0.02, None)
    own = Recording(recording.samples[100:], 0.01594, None)
    marks = (BatchMarks(52.0, 52.1), BatchMarks(52.3, None))
    whole = Evidence(
        {"cold": cold, "window": recording, "prefill": own},
        (Span("cold", "before", "cold", 50.5, 51.0), Span("window", "during", "window", 51.0, 54.0)),
        (GENERATIONS["hopper"], GENERATIONS["volta"]),
        prefill=PrefillRun(Span("prefill", "after", "prefill", 52.0, 53.5), 2, marks),
    )
    decoded = decode_evidence(encode_timeseries(whole, boards, STARTED))
    assert (decoded.hz, decoded.simulated) == (None, True)
    again = decoded.evidence
    assert again.spans == whole.spans
    assert again.prefill == whole.prefill
    assert again.sensors == whole.sensors
    for name, each in whole.recordings.items():
        assert again.recordings[name].samples == each.samples
        assert again.recordings[name].period_s == each.period_s
    account = take_account(whole, "cold")
    assert take_account(again, "cold") == account
    assert len(account.prefill) == 2
    assert [idle.kind for idle in account.idle] == ["cold"]


@given(st.lists(st.tuples(*[st.none() | st.integers(0, 2**31)] * 3), min_size=1, max_size=20))
def test_every_reading_comes_back_as_it_was(
    readings: list[tuple[int | None, int | None, int | None]],
) -> None:
    samples = tuple(
        Sample(1.0 + n / 7, 0, Phase.DECODE, Reading(energy, power, None, None, None, None, instant))
        for n, (energy, power, instant) in enumerate(readings)
    )
    written = encode_timeseries(evidence(Recording(samples, 0.02, None), 1), [REAL], STARTED)
    assert decode_evidence(written).evidence.recordings["window"].samples == samples


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-40], lambda data: b"", lambda data: b"not parquet at all"]
)
def test_a_damaged_file_is_refused(damage: Callable[[bytes], bytes]) -> None:
    recording, boards = recorded()
    with pytest.raises(SidecarError, match="can't be read"):
        decode_evidence(damage(encode_timeseries(evidence(recording, 2), boards, STARTED)))


def test_what_was_not_read_is_null_and_never_zero() -> None:
    nothing = Sample(1.0, 0, Phase.DECODE, Reading(None, None, None, None, None, None))
    unknown_board = REAL.model_copy(update={"memory_total_mb": None})
    (row,) = decode_timeseries(
        encode_timeseries(evidence(Recording((nothing,), 0.02, None), 1, 0.0, 2.0), [unknown_board], STARTED)
    ).to_pylist()
    assert [name for name, value in row.items() if value is None] == [
        "energy_mj",
        "power_w",
        "instant_power_w",
        "temperature_c",
        "memory_used_mb",
        "memory_total_mb",
        "sm_utilisation_pct",
        "sm_clock_mhz",
        "throttle_reasons",
        "foreign_pids",
        "ecc_errors",
        "mig",
        "power_throttle_ns",
        "thermal_throttle_ns",
        "host_monotonic_s",
        "host_package_j",
        "host_dram_j",
        "host_took_s",
    ]


def test_simulated_samples_say_so_in_a_field_and_in_words() -> None:
    recording, boards = recorded()
    metadata = decode_timeseries(encode_timeseries(evidence(recording, 2), boards, STARTED)).schema.metadata
    assert metadata[b"llem_sweep.simulated"] == b"true"
    assert b"simulated" in metadata[b"llem_sweep.about"]
    real = Recording((recording.samples[0]._replace(device=0),), 0.02, None)
    metadata = decode_timeseries(encode_timeseries(evidence(real, 1), [REAL], STARTED)).schema.metadata
    assert metadata[b"llem_sweep.simulated"] == b"false"
    assert b"simulated" not in metadata[b"llem_sweep.about"]


def test_an_empty_sidecar_has_the_same_columns() -> None:
    recording, boards = recorded()
    full = decode_timeseries(encode_timeseries(evidence(recording, 2), boards, STARTED))
    nothing = Recording((), 0.02, None)
    empty = encode_timeseries(evidence(nothing, 2), boards, STARTED)
    table = decode_timeseries(empty)
    assert table.num_rows == 0
    assert table.schema.equals(full.schema)
    assert b"no samples" in table.schema.metadata[b"llem_sweep.about"]
    assert table.schema.metadata[b"llem_sweep.simulated"] == b"true"
    assert decode_evidence(empty).evidence == evidence(nothing, 2)


def test_thinned_to_one_a_second_there_is_a_row_for_each_started_second_and_board_and_it_says_so() -> None:
    recording, boards = recorded()
    thin = encode_timeseries(evidence(recording, 2, start_s=51.25, end_s=54.0), boards, STARTED, hz=1)
    table = decode_timeseries(thin)
    seconds = [(math.floor(row["timestamp_s"]), row["device"]) for row in table.to_pylist()]
    assert sorted(seconds) == [(second, device) for second in range(-2, 4) for device in (0, 1)]
    assert b"thinned to 1 row per second" in table.schema.metadata[b"llem_sweep.about"]
    assert decode_evidence(thin).hz == 1


def as_version_2(sidecar: bytes) -> bytes:
    """A sidecar as it was written before several processes could share one."""
    table = pq.read_table(pa.BufferReader(sidecar))
    metadata = dict(table.schema.metadata)
    about = json.loads(metadata[EVIDENCE_KEY])
    (process,) = about.pop("processes")
    metadata[EVIDENCE_KEY] = json.dumps(about | process).encode()
    metadata[b"llem_sweep.timeseries_version"] = b"2"
    sink = pa.BufferOutputStream()
    pq.write_table(table.drop_columns(["process"]).replace_schema_metadata(metadata), sink)
    return bytes(sink.getvalue())


def test_a_sidecar_of_the_version_before_is_read_as_one_process() -> None:
    recording, boards = recorded()
    now = encode_timeseries(evidence(recording, 2), boards, STARTED)
    assert decode_evidence(as_version_2(now)) == decode_evidence(now)


def test_sidecars_of_several_processes_come_back_apart_and_bit_for_bit() -> None:
    recording, boards = recorded()
    late = evidence(recording, 2, start_s=51.5)
    ones = [encode_timeseries(each, boards, STARTED) for each in (late, evidence(recording, 2))]
    merged = merge_sidecars(ones)
    assert [window.start_s for window in merged.windows] == [51.5, 51.0]
    decoded = decode_evidence(merged.parquet)
    assert decoded.processes == tuple(decode_evidence(one).evidence for one in ones)
    rows = decode_timeseries(merged.parquet).to_pylist()
    assert {(row["process"], row["device"], row["gpu_index"]) for row in rows} == {
        (0, 0, 5),
        (0, 1, 2),
        (1, 2, 5),
        (1, 3, 2),
    }
    assert all(row["timestamp_s"] == row["monotonic_s"] - 51.0 for row in rows)
    assert decoded.simulated


def test_sidecars_that_are_thinned_or_empty_can_be_merged_and_unequal_ones_cannot() -> None:
    recording, boards = recorded()
    empty = encode_timeseries(evidence(Recording((), 0.02, None), 2), boards, STARTED)
    assert decode_timeseries(merge_sidecars([empty, empty]).parquet).num_rows == 0
    thin = encode_timeseries(evidence(recording, 2), boards, STARTED, hz=1)
    assert decode_evidence(merge_sidecars([thin, thin]).parquet).hz == 1
    with pytest.raises(SidecarError, match="don't fit together"):
        merge_sidecars([thin, empty])
