from __future__ import annotations

import pytest

from llem_sweep.clock import SimulatedClock
from llem_sweep.device.protocol import Reading
from llem_sweep.device.simulated import SimulatedGpu, simulated_boards
from llem_sweep.phases import Phase, PhaseStream
from llem_sweep.results.environment import BoardInfo
from llem_sweep.sampling.energy import device_energy
from llem_sweep.sampling.recording import Recording, Sample
from llem_sweep.sampling.sampler import Sampler
from llem_sweep.sampling.sidecar import decode_timeseries, empty_timeseries, encode_timeseries

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


def test_every_sample_is_a_row_with_its_own_board() -> None:
    recording, boards = recorded()
    table = decode_timeseries(encode_timeseries(recording, boards, 51.0, 54.0))
    rows = table.to_pylist()
    assert len(rows) == len(recording.samples)
    for row, sample in zip(rows, recording.samples, strict=True):
        assert row == {
            "timestamp_s": pytest.approx(sample.at_s - 51.0),
            "monotonic_s": sample.at_s,
            "device": sample.device,
            "gpu_index": (5, 2)[sample.device],
            "gpu_uuid": boards[sample.device].uuid,
            "phase": sample.phase.value,
            "in_window": 51.0 <= sample.at_s <= 54.0,
            "energy_mj": sample.reading.energy_mj,
            "power_w": pytest.approx((sample.reading.power_mw or 0) / 1000),
            "temperature_c": sample.reading.temperature_c,
            "memory_used_mb": sample.reading.memory_used_mb,
            "memory_total_mb": 80_000.0,
            "sm_utilisation_pct": sample.reading.sm_utilisation_pct,
            "throttle_reasons": sample.reading.throttle_reasons,
        }
    assert rows[0]["timestamp_s"] == pytest.approx(-1.0)


def test_the_energy_can_be_computed_again_from_the_file() -> None:
    recording, boards = recorded()
    table = decode_timeseries(encode_timeseries(recording, boards, 51.0, 54.0))
    for device in (0, 1):
        again = [
            Sample(
                row["monotonic_s"],
                row["device"],
                Phase(row["phase"]),
                Reading(row["energy_mj"], None, None, None, None, None),
            )
            for row in table.to_pylist()
            if row["device"] == device
        ]
        assert device_energy(again, 51.0, 54.0, 0.02) == device_energy(
            recording.of_device(device), 51.0, 54.0, 0.02
        )


def test_what_was_not_read_is_null_and_never_zero() -> None:
    nothing = Sample(1.0, 0, Phase.DECODE, Reading(None, None, None, None, None, None))
    unknown_board = REAL.model_copy(update={"memory_total_mb": None})
    (row,) = decode_timeseries(
        encode_timeseries(Recording((nothing,), 0.02, None), [unknown_board], 0.0, 2.0)
    ).to_pylist()
    assert [name for name, value in row.items() if value is None] == [
        "energy_mj",
        "power_w",
        "temperature_c",
        "memory_used_mb",
        "memory_total_mb",
        "sm_utilisation_pct",
        "throttle_reasons",
    ]


def test_simulated_samples_say_so_in_a_field_and_in_words() -> None:
    recording, boards = recorded()
    metadata = decode_timeseries(encode_timeseries(recording, boards, 51.0, 54.0)).schema.metadata
    assert metadata[b"llem_sweep.simulated"] == b"true"
    assert b"simulated" in metadata[b"llem_sweep.about"]
    real = Recording((recording.samples[0]._replace(device=0),), 0.02, None)
    metadata = decode_timeseries(encode_timeseries(real, [REAL], 51.0, 54.0)).schema.metadata
    assert metadata[b"llem_sweep.simulated"] == b"false"
    assert b"simulated" not in metadata[b"llem_sweep.about"]


def test_an_empty_sidecar_has_the_same_columns() -> None:
    recording, boards = recorded()
    full = decode_timeseries(encode_timeseries(recording, boards, 51.0, 54.0))
    nothing = Recording((), 0.02, None)
    for empty in (
        decode_timeseries(empty_timeseries()),
        decode_timeseries(encode_timeseries(nothing, [], 0, 1)),
    ):
        assert empty.num_rows == 0
        assert empty.schema.equals(full.schema)
        assert b"no samples" in empty.schema.metadata[b"llem_sweep.about"]
    assert decode_timeseries(empty_timeseries(boards)).schema.metadata[b"llem_sweep.simulated"] == b"true"
