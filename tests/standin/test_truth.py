"""The stand-in library against the truth: its boards show what the package's own functions say they show."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from llem_sweep.device.sensors import GENERATIONS
from llem_sweep.device.simulated_sensors import SensorView
from llem_sweep.device.traces import Constant, Cycle, Exponential, Ramp, Trace, Within, square
from llem_sweep.results.sensors import BoardSensors, SensorTiming
from standin.run import run_script
from standin.truth import StandIn, of_generation

WAVE = square(90.0, 390.0, 0.7, offset_s=0.123)
TRACES: tuple[Trace, ...] = (
    Constant(217.5),
    WAVE,
    Cycle(((0.31, 500.0), (0.007, 80.25), (1.9, 260.0)), offset_s=-17.3),
    Ramp(100.0, 400.0, 50.0, 61.0),
    Exponential(80.0, 420.0, 9.5, 52.0),
    Within(WAVE, 70.0, 51.05, 58.35),
    Within(Ramp(300.0, 200.0, 50.0, 60.0), 115.0, 49.0, 55.0),
)

SHOWN = """
import json, os, sys
from llem_sweep.device.nvml import NvmlGpu, list_boards
boards = [NvmlGpu.open(info.uuid) for info in list_boards()]
found = []
for at_s in json.loads(sys.argv[1]):
    os.environ["STANDIN_NOW_S"] = repr(at_s)
    readings = [gpu.read(slow=False) for gpu in boards]
    found.append([[reading.energy_mj, reading.power_mw, reading.instant_mw] for reading in readings])
print(json.dumps(found))
"""


def assert_shows_the_truth(folder: Path, standin: StandIn, seed: int) -> None:
    draw = random.Random(seed)
    times_s = [draw.uniform(45.0, 75.0) for _ in range(200)]
    found = run_script(SHOWN, standin.environ(folder), json.dumps(times_s))
    for at_s, readings in zip(times_s, found, strict=True):
        for board, reading in enumerate(readings):
            expected = standin.shown(board, at_s)
            for value, truth in zip(reading, expected, strict=True):
                # The last milliwatt or millijoule depends on how the two compilers round.
                assert value == (None if truth is None else pytest.approx(truth, abs=1)), (board, at_s)


@pytest.mark.parametrize("generation", sorted(GENERATIONS))
def test_every_trace_is_shown_as_the_generations_sensors_show_it(
    standin_folder: Path, generation: str
) -> None:
    standin = of_generation(
        generation,
        TRACES,
        counter_offset_s=0.0137,
        power_offset_s=0.0571,
        instant_offset_s=-0.031,
        gain=1.04,
    )
    assert_shows_the_truth(standin_folder, standin, seed=3)


def test_lag_jitter_and_missing_readings_are_shown_too(standin_folder: Path) -> None:
    lagging = BoardSensors(
        counter=SensorTiming(update_period_s=0.5, lag_s=0.03),
        power=SensorTiming(update_period_s=0.02, window_s=0.1, lag_s=0.2),
    )
    assert_shows_the_truth(standin_folder, StandIn(traces=TRACES, view=SensorView(lagging)), seed=4)
    assert_shows_the_truth(
        standin_folder, StandIn(traces=TRACES, view=SensorView(lagging, jitter_s=0.009)), seed=7
    )
    powerless = BoardSensors(instant=SensorTiming(update_period_s=0.1, window_s=0.025))
    assert_shows_the_truth(standin_folder, StandIn(traces=TRACES, view=SensorView(powerless)), seed=5)


def test_the_plain_boards_draw_a_constant_and_a_wave(standin_folder: Path) -> None:
    standin = StandIn(square_w=60.0, tick_s=0.02)
    assert standin.energy_j(1, 0.0, 0.35) == pytest.approx(0.35 * 240)
    assert standin.energy_j(1, 0.35, 0.7) == pytest.approx(0.35 * 120)
    assert_shows_the_truth(standin_folder, standin, seed=6)


def test_every_process_sees_the_same_counter_at_the_same_time(standin_folder: Path) -> None:
    script = """
import json, sys, time
from llem_sweep.device.nvml import NvmlGpu
gpu = NvmlGpu.open(sys.argv[1])
began_s = time.monotonic()
energy_mj = gpu.read(slow=False).energy_mj
print(json.dumps([began_s, energy_mj, time.monotonic()]))
"""
    standin = StandIn(traces=(Constant(300.0),))
    began_s, energy_mj, ended_s = run_script(script, standin.environ(standin_folder), standin.uuid(0))
    assert 300.0 * (began_s - 0.1) <= energy_mj / 1000 <= 300.0 * ended_s


@pytest.mark.parametrize(("generation", "average"), [("hopper", 300_000), ("ga100", "Not Supported")])
def test_each_field_answers_for_itself(standin_folder: Path, generation: str, average: object) -> None:
    script = """
import json, sys
import pynvml
pynvml.nvmlInit()
handle = pynvml.nvmlDeviceGetHandleByUUID(sys.argv[1])
fields = pynvml.nvmlDeviceGetFieldValues(handle, [185, (186, 0), (186, 1), 83, 1])
errors = [str(pynvml.NVMLError(field.nvmlReturn)) if field.nvmlReturn else None for field in fields]
found = [error or field.value.uiVal for error, field in zip(errors, fields)]
found[3] = fields[3].value.ullVal <= pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
print(json.dumps(found))
"""
    standin = of_generation(generation, (Constant(300.0),))
    found = run_script(script, standin.environ(standin_folder), standin.uuid(0))
    assert found == [average, 300_000, "Not Supported", True, "Not Supported"]


@pytest.mark.parametrize("text", ["noise 3", "ramp 1 2", "cycle 0 99", "within 70 1 2"])
def test_a_trace_that_cannot_be_read_stops_the_process(standin_folder: Path, text: str) -> None:
    environ = StandIn().environ(standin_folder, TRACES=text)
    script = "from llem_sweep.device.nvml import *; [NvmlGpu.open(i.uuid).read() for i in list_boards()]"
    done = subprocess.run(
        [sys.executable, "-c", script], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    assert "STANDIN_TRACES: can't read" in done.stderr
