"""Power and temperature in few points, every peak kept."""

from __future__ import annotations

import math

import pytest

from factories import make_plan
from llem_sweep.errors import StoreError
from llem_sweep.report.page.configurations import Configurations
from llem_sweep.report.page.payload import payload
from llem_sweep.report.page.timelines import Band, thinned, timeline
from llem_sweep.sampling.sidecar_reading import SidecarError
from report_pages import make_sidecar, page_source, result_of

NO_FIELDS = Configurations({}, {})


def test_thinning_keeps_every_peak_and_both_ends() -> None:
    times = [n * 0.01 for n in range(10_000)]
    values = [math.sin(n / 50.0) for n in range(10_000)]
    values[4_321], values[7_777] = 9.0, -9.0
    kept = thinned(times, values, 200)
    assert len(kept) <= 200
    assert {0, 4_321, 7_777, 9_999} <= set(kept)
    assert kept == sorted(kept)


def test_what_is_short_stays_whole() -> None:
    assert thinned([0.0, 1.0, 2.0], [3.0, 1.0, 2.0], 200) == [0, 1, 2]
    assert thinned([1.0] * 100, [float(n) for n in range(100)], 10) == [0, 99], "no time passes"


def test_a_timeline_has_each_board_its_phases_and_its_window() -> None:
    found = timeline(make_sidecar(boards=2, samples=4000, peak_w=651.0), 100)
    assert [board.uuid for board in found.boards] == ["GPU-0", "GPU-1"]
    for board in found.boards:
        assert len(board.power.values) <= 100
        assert max(value for value in board.power.values if value is not None) == 651.0
        assert {value for value in board.temperature.values if value} >= {40.0, 79.0}
    assert [band.phase for band in found.bands] == ["baseline", "prefill", "decode"]
    assert found.bands[1].start_s == pytest.approx(0.0, abs=0.02)
    assert found.bands[1].end_s == found.bands[2].start_s == pytest.approx(2.0, abs=0.02)
    assert found.window_s == (0.0, 10.0)
    assert found.reading == "power_w"
    assert isinstance(found.bands[0], Band)


def test_no_line_is_drawn_where_nothing_was_sampled() -> None:
    sparse = timeline(make_sidecar(samples=4), 100)
    assert sparse.boards[0].power.values.count(None) == 3


@pytest.mark.parametrize("broken", [b"", b"PAR1 no such file"])
def test_what_is_no_sidecar_is_refused(broken: bytes) -> None:
    with pytest.raises(SidecarError, match="can't be read"):
        timeline(broken, 100)


def test_of_many_experiments_those_on_the_front_keep_their_timelines_and_the_page_counts_the_rest() -> None:
    plan = make_plan(4)
    results = [
        (f"f{n}", result_of(each, 0, avg_tokens_per_second=80.0 - n, avg_energy_per_token_j=5.0 - (n == 3)))
        for n, each in enumerate(plan.by_point)
    ]
    found = payload(page_source(plan, results, most_timelines=2), NO_FIELDS)["timelines"]
    assert sorted(found["shown"]) == ["0", "3"]
    assert (found["completed"], found["chosen"]) == (4, 2)


def test_samples_that_are_missing_are_said_to_be() -> None:
    def sidecar(folder: str) -> bytes:
        raise StoreError(f"can't read {folder}: gone")

    found = payload(page_source(make_plan(1), sidecar=sidecar), NO_FIELDS)["timelines"]
    assert found["shown"] == {}
    assert found["absent"] == {"0": "can't read folder-0: gone"}
