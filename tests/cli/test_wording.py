from __future__ import annotations

import pytest

from llem_sweep.cli.wording import (
    count,
    duration,
    energy,
    progress_counts,
    progress_energy,
    progress_times,
    short_model,
    significant,
)
from llem_sweep.execution.progress import Progress
from llem_sweep.plan.values import point


@pytest.mark.parametrize(
    ("energy_j", "shown"),
    [
        (None, "–"),
        (0.0, "0 J"),
        (0.0012, "1.20 mJ"),
        (0.9999, "1.00 J"),
        (432.1, "432 J"),
        (999.7, "1.00 kJ"),
        (-3.3, "-3.30 J"),
        (-12_345.0, "-12.3 kJ"),
        (4.56e6, "4.56 MJ"),
        (7.8e9, "7.80 GJ"),
    ],
)
def test_energy_has_three_digits_and_a_fitting_unit(energy_j: float | None, shown: str) -> None:
    assert energy(energy_j) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (0.0123456, "0.0123"),
        (0.00001234, "1.23e-05"),
        (45.67, "45.7"),
        (123.0, "123"),
        (999.6, "1,000"),
        (12345.6, "12,346"),
    ],
)
def test_a_number_keeps_three_digits_that_count(value: float | None, shown: str) -> None:
    assert significant(value) == shown


@pytest.mark.parametrize(
    ("duration_s", "shown"),
    [
        (None, "–"),
        (-1.0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (725.0, "12 min 05 s"),
        (3599.7, "1 h 00 min"),
        (11_220.0, "3 h 07 min"),
        (183_600.0, "2 d 03 h"),
    ],
)
def test_time_is_told_in_its_two_largest_units(duration_s: float | None, shown: str) -> None:
    assert duration(duration_s) == shown


def test_one_has_no_plural() -> None:
    assert (count(1, "point"), count(0, "point"), count(1200, "point")) == (
        "1 point",
        "0 points",
        "1,200 points",
    )


def test_a_point_names_its_fields_without_their_sections() -> None:
    assert point({"precision": "bf16", "pytorch.batch_size": 8}) == "precision=bf16 batch_size=8"


@pytest.mark.parametrize(
    ("model", "shown"),
    [("meta-llama/Llama-3.1-8B", "Llama-3.1-8B"), ("./models/tiny/", "tiny"), ("gpt2", "gpt2"), ("/", "/")],
)
def test_a_model_is_called_by_its_last_component(model: str, shown: str) -> None:
    assert short_model(model) == shown


def test_time_left_and_energy_are_told_only_when_they_are_known() -> None:
    begun = Progress(8, 0, 0, 2, elapsed_s=3.0, remaining_s=None, workers=(), recent_failures=())
    assert (progress_counts(begun), progress_times(begun)) == ("0 of 8 done, 2 running", "3 s so far")
    later = begun._replace(done=3, failed=1, remaining_s=65.0, energy_j=1234.0, energy_windows=3)
    assert progress_counts(later) == "3 of 8 done, 1 failed, 2 running"
    assert progress_times(later) == "3 s so far, roughly 1 min 05 s left"
    assert progress_times(later._replace(learnt=True)) == "3 s so far, about 1 min 05 s left"
    assert progress_energy(begun) is None
    assert progress_energy(later) == "1.23 kJ in 3 measured windows"
    simulated = later._replace(energy_windows=1, energy_simulated=True)
    assert progress_energy(simulated) == "1.23 kJ in 1 simulated window"
