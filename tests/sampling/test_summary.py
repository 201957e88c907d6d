from __future__ import annotations

import pytest

from llem_sweep.device.protocol import Reading
from llem_sweep.phases import Phase
from llem_sweep.sampling.recording import Recording, Sample
from llem_sweep.sampling.summary import summarise_window

NOTHING = Reading(None, None, None, None, None, None)


def recording(*samples: tuple[float, int, Reading]) -> Recording:
    return Recording(
        tuple(Sample(at_s, device, Phase.DECODE, reading) for at_s, device, reading in samples), 0.1, None
    )


def of_reasons(*masks: int | None) -> Recording:
    return recording(*((0.1 * n, 0, NOTHING._replace(throttle_reasons=mask)) for n, mask in enumerate(masks)))


def test_only_samples_inside_the_window_count() -> None:
    hot, cool = NOTHING._replace(temperature_c=90), NOTHING._replace(temperature_c=40)
    summary = summarise_window(
        recording((0.0, 0, hot), (1.0, 0, cool), (2.0, 0, cool), (3.0, 0, hot)), 0.5, 2.5
    )
    assert summary.samples_per_device == 2
    assert (summary.temperature_start_c, summary.temperature_max_c) == (40, 40)


def test_the_longest_gap_counts_the_ends_of_the_window_and_every_board() -> None:
    steady = [(0.1 * n, 0, NOTHING) for n in range(11)]
    assert summarise_window(recording(*steady), 0.0, 1.0).longest_gap_s == pytest.approx(0.1)
    assert summarise_window(recording(*steady[:4]), 0.0, 1.0).longest_gap_s == pytest.approx(0.7)
    other = [(0.55, 1, NOTHING)]
    both = summarise_window(recording(*steady, *other), 0.0, 1.0)
    assert both.longest_gap_s == pytest.approx(0.55)
    assert both.samples_per_device == 1


def test_memory_is_the_largest_sum_over_the_boards_at_one_time() -> None:
    def used(at_s: float, device: int, memory_mb: float) -> tuple[float, int, Reading]:
        return at_s, device, NOTHING._replace(memory_used_mb=memory_mb)

    summary = summarise_window(
        recording(used(0.0, 0, 10), used(0.0, 1, 1), used(0.1, 0, 4), used(0.1, 1, 8)), 0.0, 1.0
    )
    assert summary.memory_used_max_mb == 12
    lacking = summarise_window(recording(used(0.0, 0, 10), (0.0, 1, NOTHING)), 0.0, 1.0)
    assert lacking.memory_used_max_mb is None


@pytest.mark.parametrize(
    ("mask", "thermal", "power"),
    [
        (0x20, True, False),
        (0x40 | 0x08, True, False),
        (0x04, False, True),
        (0x80 | 0x08, False, True),
        (0x08, True, True),
        (0x01, False, False),
        (0x02, False, False),
    ],
)
def test_reasons_are_told_apart_by_cause(mask: int, thermal: bool, power: bool) -> None:
    summary = summarise_window(of_reasons(0, mask, 0, 0), 0.0, 1.0)
    assert (summary.thermal_throttle, summary.power_throttle) == (thermal, power)
    assert summary.throttle_reasons == mask
    assert summary.throttled_fraction == (0.25 if thermal or power else 0.0)


def test_the_cause_is_judged_sample_by_sample() -> None:
    summary = summarise_window(of_reasons(0x08, 0x08 | 0x40, None, 0), 0.0, 1.0)
    assert (summary.thermal_throttle, summary.power_throttle) == (True, True)
    assert summary.throttled_fraction == pytest.approx(2 / 3)


def test_utilisation_is_the_mean_of_what_is_known() -> None:
    readings = [NOTHING._replace(sm_utilisation_pct=value) for value in (80, None, 100)]
    summary = summarise_window(recording(*((0.1 * n, 0, own) for n, own in enumerate(readings))), 0.0, 1.0)
    assert summary.sm_utilisation_mean_pct == 90


def test_without_samples_nothing_is_known() -> None:
    assert summarise_window(Recording((), 0.1, None), 0.0, 1.0) == (
        0,
        None,
        None,
        False,
        False,
        0.0,
        None,
        None,
        None,
        None,
    )
