from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import RenderableType

from factories import UUIDS, make_board
from llem_sweep.cli.render_doctor import doctor_report
from llem_sweep.device.protocol import Health, Reading
from llem_sweep.device.sensors import GENERATIONS
from llem_sweep.execution.doctor import BoardFindings, Examination, examine
from llem_sweep.execution.torch_process import TorchStatus
from llem_sweep.results.sensors import BoardSensors, SensorTiming
from llem_sweep.sampling.calibration import Calibration, Finding

Printed = Callable[..., str]

HOPPER = GENERATIONS["hopper"]
MEASURED = BoardSensors(
    counter=SensorTiming(update_period_s=0.0201),
    power=SensorTiming(update_period_s=0.1, window_s=0.9965, lag_s=0.0124),
    source="measured",
    measured=("counter.update_period_s", "power.update_period_s", "power.window_s", "power.lag_s"),
    measured_at=datetime(2026, 3, 4, tzinfo=UTC),
)
CALIBRATION = Calibration(
    MEASURED,
    (
        Finding("counter", True, MEASURED.counter, ("update_period_s",), None, None),
        Finding("power", True, MEASURED.power, ("update_period_s", "window_s", "lag_s"), 0.0213, None),
        Finding("instant", False, None, (), None, "not offered by this board's driver"),
    ),
)
BOARD = make_board(generation="hopper")
FOUND = BoardFindings(
    BOARD,
    None,
    Reading(1_000_000, 90_000, 41, 4.0, 0, 1, None),
    Health(foreign=(), ecc_errors=0, mig=False),
    HOPPER,
    MEASURED,
    CALIBRATION,
    Path("/home/someone/.cache/llem-sweep/sensors/a_rather_long_folder_name/GPU-1-580.65.06.json"),
)
TORCH = TorchStatus("2.13.0", "13.0", UUIDS)


def examination(
    *boards: BoardFindings, torch: TorchStatus | None = TORCH, problem: str | None = None
) -> Examination:
    library = "/usr/lib/libnvidia-ml.so.1"
    packages = {"torch": "2.13.0", "ray": "2.60.0"}
    return Examination("3.11.7", packages, library, boards, torch, simulated=False, problem=problem)


@pytest.fixture
def report(printed: Printed) -> Callable[..., str]:
    def on_console(found: Examination, width: int = 140) -> str:
        parts: Sequence[RenderableType] = list(doctor_report(found))
        return printed(parts, width)

    return on_console


def test_a_calibrated_board_is_told_in_full(report: Printed) -> None:
    lines = [line.rstrip() for line in report(examination(FOUND)).splitlines()]
    assert lines == [
        "Python 3.11.7; torch 2.13.0, ray 2.60.0",
        "NVML: /usr/lib/libnvidia-ml.so.1",
        "torch 2.13.0 (CUDA 13.0) sees 2 boards",
        "",
        f"Board 0: NVIDIA H100 80GB HBM3  {UUIDS[0]}",
        "  hopper, driver 580.65.06, power limit 700 W, persistence mode on",
        "  readings: energy counter, power; not offered: instant power",
        "  other processes: none seen; MIG off; uncorrected ECC errors: 0",
        "  sensor timing: energy counter every 20.1 ms; power every 100 ms, mean of 996.5 ms, 12.4 ms late",
        "    measured just now",
        "  reading                            measured    published    residual / step",
        "  energy counter    update period     20.1 ms       100 ms",
        "  power             update period      100 ms       100 ms",
        "  power             window           996.5 ms      1000 ms               2.1%",
        "  power             lag               12.4 ms         0 ms",
        f"  kept in {FOUND.kept}",
        "",
        "Fit to measure.",
    ]


@pytest.mark.parametrize("width", [80, 140])
def test_no_figure_is_cut_off_and_a_path_is_whole_whatever_the_width(report: Printed, width: int) -> None:
    text = report(examination(FOUND), width)
    assert "…" not in text
    assert str(FOUND.kept) in text
    table = text[text.index("  reading  ") : text.index("  kept in")].splitlines()
    assert all(len(line) <= width for line in table)
    assert len(table) == 5
    for figure in ("20.1 ms", "996.5 ms", "12.4 ms", "1000 ms", "2.1%", "residual / step"):
        assert figure in "\n".join(table)


def test_what_is_unknown_is_no_number(report: Printed) -> None:
    board = make_board(
        power_limit_w=None, driver_version=None, persistence_mode=None, generation=None, index=3
    )
    nothing = Reading(None, None, None, None, None, None)
    unknown = BoardFindings(board, None, nothing, Health(foreign=None), BoardSensors(), BoardSensors())
    text = report(examination(unknown))
    assert "unknown generation, driver –, power limit –, persistence mode unknown" in text
    assert "readings: none; not offered: energy counter, power, instant power" in text
    assert "other processes: can't be told; MIG unknown; uncorrected ECC errors: –" in text
    assert "sensor timing: –" in text
    assert "0 W" not in text


def test_others_on_the_board_and_its_errors_are_told(report: Printed) -> None:
    busy = FOUND._replace(health=Health(foreign=(41, 4711), ecc_errors=3, mig=True))
    assert "other processes: 41, 4711; MIG on; uncorrected ECC errors: 3" in report(examination(busy))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("prior", "published, not measured on this board"),
        ("cached", "measured on this board earlier, with this driver, 2026-03-04"),
        ("measured", "measured just now"),
        ("unknown", "unknown"),
    ],
)
def test_where_timing_comes_from_is_told(report: Printed, source: str, said: str) -> None:
    sensors = MEASURED.model_copy(update={"source": source})
    lines = report(examination(FOUND._replace(sensors=sensors, calibration=None))).splitlines()
    assert f"    {said}" in [line.rstrip() for line in lines]


def test_a_calibration_that_found_little_says_why(report: Printed) -> None:
    note = "does not follow the switched load (3% of its variance explained)"
    little = Calibration(
        BoardSensors(),
        (
            Finding("counter", True, MEASURED.counter, ("update_period_s",), None, None),
            Finding("power", True, None, (), None, note),
            Finding("instant", False, None, (), None, "not offered by this board's driver"),
        ),
    )
    text = report(examination(FOUND._replace(calibration=little, published=BoardSensors(), kept=None)))
    assert f"  power: {note}" in text
    # What isn't offered stands with the readings and isn't said twice.
    assert "not offered by this board's driver" not in text
    assert "not kept" in text
    row = next(line for line in text.splitlines() if "update period" in line)
    assert row.split()[-1] == "–"


def test_a_board_that_cannot_be_measured_on_says_so_and_nothing_else(report: Printed) -> None:
    hidden = BoardFindings(BOARD, "hidden from this process by CUDA_VISIBLE_DEVICES")
    text = report(examination(hidden))
    assert "  can't be measured on: hidden from this process" in text
    assert "power limit" not in text
    assert "Not fit to measure:\n  none of the boards can be measured on" in text


def test_why_a_board_was_not_calibrated_is_told(report: Printed) -> None:
    busy = FOUND._replace(calibration=None, uncalibrated="others compute on it (process 41)")
    assert "  not calibrated: others compute on it (process 41)" in report(examination(busy))


def test_every_problem_of_the_machine_is_listed(report: Printed) -> None:
    torch = TorchStatus(None, None, (), "torch can't be used: ImportError")
    text = report(examination(torch=torch, problem="no GPU found"))
    assert text.rstrip().endswith("Not fit to measure:\n  no GPU found\n  torch can't be used: ImportError")
    assert "sees" not in text
    blind = report(examination(torch=TorchStatus("2.13.0+cpu", None, ()), problem="no GPU found"))
    assert "torch 2.13.0+cpu (a build without CUDA) sees 0 boards" in blind


def test_simulated_boards_are_never_called_measured(report: Printed) -> None:
    text = report(examine(simulate_gpus=2))
    assert "Simulated boards: fit to rehearse, nothing here is a measurement." in text
    assert "NVML" not in text
    assert "Fit to measure" not in text


HOSTILE = "Fake\x1b[2J\r\n\nFit to measure.\u202e[bold]:smile:[/bold]"


def test_a_hostile_board_can_neither_move_the_cursor_nor_write_lines_of_its_own(report: Printed) -> None:
    board = make_board(
        f"GPU-{HOSTILE}", name=HOSTILE, generation=HOSTILE, driver_version=HOSTILE, pci_bus_id=HOSTILE
    )
    fit = FOUND._replace(board=board, uncalibrated=HOSTILE, kept=Path(HOSTILE))
    unfit = BoardFindings(board, HOSTILE)
    found = examination(fit, unfit, torch=TorchStatus(HOSTILE, HOSTILE, (), HOSTILE), problem=HOSTILE)
    found = found._replace(packages={HOSTILE: HOSTILE}, python=HOSTILE, nvml_library=HOSTILE)
    text = report(found)
    assert not any(character in text for character in "\x1b\r\u202e")
    assert "[bold]:smile:[/bold]" in text
    # Only what the report says itself begins a line.
    assert not any(line.startswith(("Fit to measure", "\\")) for line in text.splitlines())
    assert text.count("\nBoard 0: Fake\\x1b[2J\\n\\nFit to measure.") == 2
