"""When temperature and power count as settled."""

from __future__ import annotations

import random

from llem_sweep.device.protocol import Reading
from llem_sweep.phases import Phase
from llem_sweep.sampling.recording import Recording, Sample
from llem_sweep.sampling.settling import SPAN_S, settling

NOW_S = 200.0


def recording(temperature: object, power: object, seconds: float = 60.0, device: int = 0) -> list[Sample]:
    """Ten samples a second up to ``NOW_S``; the readings are functions of the time left until then, or None."""
    samples = []
    for number in range(int(10 * seconds)):
        left_s = seconds - number / 10
        reading = Reading(
            None,
            round(1000 * power(left_s)) if callable(power) else None,
            round(temperature(left_s)) if callable(temperature) else None,
            None,
            None,
            None,
        )
        samples.append(Sample(NOW_S - left_s, device, Phase.SETTLE, reading))
    return samples


def judged(*samples: list[Sample]) -> bool | None:
    together = sorted((s for own in samples for s in own), key=lambda s: s.at_s)
    return settling(Recording(tuple(together), 0.1, None), NOW_S).settled


def test_constant_readings_have_settled() -> None:
    assert judged(recording(lambda left_s: 61, lambda left_s: 340.0)) is True


def test_a_rising_temperature_has_not() -> None:
    assert judged(recording(lambda left_s: 61 - 0.2 * left_s, lambda left_s: 340.0)) is False
    found = settling(Recording(tuple(recording(lambda left_s: 61 - 0.2 * left_s, None)), 0.1, None), NOW_S)
    assert found.temperature_c_per_s is not None
    assert abs(found.temperature_c_per_s - 0.2) < 0.02


def test_a_thermometer_that_flickers_between_two_degrees_has_settled() -> None:
    dice = random.Random(5)
    assert judged(recording(lambda left_s: 61 + dice.randint(0, 1), lambda left_s: 340.0)) is True


def test_creeping_power_has_not_settled_and_batches_of_work_do_not_matter() -> None:
    batches = lambda left_s: 620.0 if left_s % 1.7 < 0.4 else 340.0  # noqa: E731
    assert judged(recording(lambda left_s: 61, batches)) is True
    creeping = lambda left_s: 340.0 * (1 - 0.004 * left_s)  # noqa: E731
    assert judged(recording(lambda left_s: 61, creeping)) is False


def test_what_is_longer_ago_than_the_span_does_not_count() -> None:
    assert judged(recording(lambda left_s: 61 - max(0.0, left_s - SPAN_S), lambda left_s: 340.0)) is True


def test_too_short_a_time_under_load_has_not_settled() -> None:
    assert judged(recording(lambda left_s: 61, lambda left_s: 340.0, seconds=SPAN_S / 2)) is False


def test_the_slowest_board_decides() -> None:
    settled = recording(lambda left_s: 61, lambda left_s: 340.0)
    rising = recording(lambda left_s: 61 - 0.3 * left_s, lambda left_s: 340.0, device=1)
    assert judged(settled, rising) is False


def test_without_readings_nothing_can_be_said() -> None:
    assert judged(recording(None, None)) is None
    assert judged([]) is None
