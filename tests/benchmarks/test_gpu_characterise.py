"""The characterisation of a board, run as a program on a simulated one whose truth is known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from llem_sweep.clock import SimulatedClock
from llem_sweep.device.sensors import GENERATIONS
from llem_sweep.device.simulated import PowerProfile, simulated_boards
from llem_sweep.results.sensors import BoardSensors

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "gpu_characterise.py"
TRUTH = PowerProfile()
"""Of the first simulated board."""


class Run(NamedTuple):
    """What the program left."""

    found: dict[str, Any]
    table: str
    said: str


def characterise(
    folder: Path, *arguments: str, environ: dict[str, str] | None = None
) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *arguments],
        cwd=folder,
        env={**(environ or os.environ), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("characterised")
    code, said, complaint = characterise(folder, "--simulate", "--seed", "7")
    assert code == 0, complaint
    left = folder / "build" / "gpu_characterise"
    assert sorted(path.name for path in left.iterdir()) == ["simulated.json", "simulated.md"]
    return Run(json.loads((left / "simulated.json").read_text()), (left / "simulated.md").read_text(), said)


def test_it_says_of_which_board_it_is_and_that_it_is_no_measurement(simulated: Run) -> None:
    (board,) = simulated_boards((0,), SimulatedClock())
    assert simulated.found["simulated"] is True
    assert simulated.found["board"] == board.info.model_dump(mode="json")
    assert simulated.found["seed"] == 7
    assert BoardSensors.model_validate(simulated.found["published"]) == GENERATIONS["hopper"]
    assert "(simulated: no measurement)" in simulated.table
    # Nothing that only real time can tell.
    assert simulated.found["sampler_pct"] is None
    assert simulated.found["calls_ms"] == {}


def test_the_sensors_found_are_those_that_the_board_has(simulated: Run) -> None:
    found = BoardSensors.model_validate(simulated.found["sensors"])
    assert found.source == "measured"
    for reading in ("counter", "power", "instant"):
        timing, true = getattr(found, reading), getattr(GENERATIONS["hopper"], reading)
        assert timing.update_period_s == pytest.approx(true.update_period_s, rel=1e-4)
        assert timing.lag_s == pytest.approx(0, abs=0.002)
        if true.window_s is not None:
            assert timing.window_s == pytest.approx(true.window_s, rel=0.1)
            assert simulated.found["residuals"][reading] < 0.01
    assert simulated.found["window_by_counter_s"] == pytest.approx(1.0, rel=0.03)


def test_idle_and_steady_power_are_those_that_the_board_drew(simulated: Run) -> None:
    assert simulated.found["cold_w"] == pytest.approx(TRUTH.idle_w, rel=1e-3)
    assert simulated.found["context_w"] == pytest.approx(TRUTH.context_w, rel=1e-3)
    assert simulated.found["steady_w"] == pytest.approx(TRUTH.decode_w, rel=1e-3)


def test_the_estimate_spreads_less_than_a_difference_of_the_counter(simulated: Run) -> None:
    spreads = simulated.found["spreads"]
    assert [spread["length_s"] for spread in spreads] == [1.0, 2.0, 5.0, 10.0]
    for spread in spreads:
        # A tick of 0.1 s falls into the window or doesn't: at most half of that, relative to the window.
        assert 0 <= spread["difference_unaligned_pct"] <= 100 * 0.05 / spread["length_s"]
        assert spread["difference_aligned_pct"] <= spread["difference_unaligned_pct"]
        for estimate in ("estimate_unaligned_pct", "estimate_aligned_pct"):
            # Power is steady, so that all of the spread is the estimate's own.
            assert 0 <= spread[estimate] < 0.02
    assert spreads[1]["difference_unaligned_pct"] > 10 * spreads[1]["estimate_unaligned_pct"]


def test_the_table_holds_what_the_data_do_and_is_printed_too(simulated: Run) -> None:
    assert simulated.table in simulated.said
    assert "| power | window | 1000.0 ms | 1000.0 ms |" in simulated.table
    assert f"| cold | {simulated.found['cold_w']:.2f} W |" in simulated.table
    assert f"steady load of {simulated.found['steady_w']:.1f} W" in simulated.table
    for spread in simulated.found["spreads"]:
        assert f"| {spread['length_s']:g} s | {spread['difference_unaligned_pct']:.3f} % |" in simulated.table
    assert "seed 7; written to build/gpu_characterise/simulated.json" in simulated.said


@pytest.mark.parametrize("board", ["3", "GPU-57a4d100-0000-4000-8000-000000000002"])
def test_a_board_asked_for_that_is_not_there_is_not_replaced_by_a_simulated_one(
    tmp_path: Path, board: str, standin_folder: Path
) -> None:
    nothing = {**os.environ, "LD_LIBRARY_PATH": str(standin_folder), "STANDIN_BOARDS": "0"}
    code, said, complaint = characterise(tmp_path, "--board", board, environ=nothing)
    assert (code, said) == (3, "")
    assert complaint.startswith(f"error: '{board}'")
    assert list(tmp_path.iterdir()) == []


def test_a_board_cannot_be_asked_for_and_simulated(tmp_path: Path) -> None:
    code, said, complaint = characterise(tmp_path, "--board", "0", "--simulate")
    assert (code, said) == (2, "")
    assert "not allowed with" in complaint
