"""What the doctor found, as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from llem_sweep.cli.escape import outside
from llem_sweep.cli.wording import UNKNOWN, count
from llem_sweep.sampling.calibration import READINGS

if TYPE_CHECKING:
    from llem_sweep.execution.doctor import BoardFindings, Examination
    from llem_sweep.results.sensors import BoardSensors, SensorTiming
    from llem_sweep.sampling.calibration import Calibration

_NAMES = {
    "counter": "energy counter",
    "power": "power",
    "instant": "instant power",
}
_OFFERED = {"counter": "energy_mj", "power": "power_mw", "instant": "instant_mw"}
_QUANTITIES = {
    "update_period_s": "update period",
    "window_s": "window",
    "lag_s": "lag",
}
_LEAST_LAG_S = 0.0005
"""Less than this is shown as none."""
_SOURCES = {
    "measured": "measured just now",
    "cached": "measured on this board earlier, with this driver",
    "prior": "published, not measured on this board",
    "unknown": "unknown",
}


def doctor_report(examination: Examination) -> Iterator[RenderableType]:
    """Software, boards, and what keeps this machine from measuring."""
    yield from _software(examination)
    for findings in examination.boards:
        yield from _board(findings)
    yield from _verdict(examination)


def _software(examination: Examination) -> Iterator[Text]:
    packages = ", ".join(f"{name} {version}" for name, version in examination.packages.items())
    yield outside(f"Python {examination.python}; {packages}")
    if examination.simulated:
        return
    yield outside(f"NVML: {examination.nvml_library or 'no library loaded'}")
    torch = examination.torch
    if torch is not None and torch.version is not None:
        build = f"CUDA {torch.cuda}" if torch.cuda else "a build without CUDA"
        yield outside(f"torch {torch.version} ({build}) sees {count(len(torch.uuids), 'board')}")


def _board(findings: BoardFindings) -> Iterator[RenderableType]:
    board = findings.board
    yield Text()
    yield outside(f"Board {board.index}: {board.name}  {board.uuid}", "bold")
    if findings.problem:
        yield outside(f"  can't be measured on: {findings.problem}")
        return
    limit = f"{board.power_limit_w:.0f} W" if board.power_limit_w is not None else UNKNOWN
    yield outside(
        f"  {board.generation or 'unknown generation'}, driver {board.driver_version or UNKNOWN},"
        f" power limit {limit}, persistence mode {_on_off(board.persistence_mode)}"
    )
    yield from _state(findings)
    if findings.sensors is not None:
        yield from _sensors(findings.sensors)
    if findings.uncalibrated:
        yield outside(f"  not calibrated: {findings.uncalibrated}")
    if findings.calibration is not None and findings.published is not None:
        yield from _calibration(findings.calibration, findings.published)
        kept = f"kept in {findings.kept}" if findings.kept else "not kept: simulated, or of an unknown driver"
        yield outside(f"  {kept}")


def _state(findings: BoardFindings) -> Iterator[Text]:
    reading, health = findings.reading, findings.health
    if reading is not None:
        offered = {name: getattr(reading, _OFFERED[name]) is not None for name in READINGS}
        there = ", ".join(_NAMES[name] for name, yes in offered.items() if yes) or "none"
        lacking = ", ".join(_NAMES[name] for name, yes in offered.items() if not yes)
        yield Text(f"  readings: {there}" + (f"; not offered: {lacking}" if lacking else ""))
    if health is not None:
        others = (
            "can't be told" if health.foreign is None else ", ".join(map(str, health.foreign)) or "none seen"
        )
        errors = UNKNOWN if health.ecc_errors is None else str(health.ecc_errors)
        yield Text(
            f"  other processes: {others}; MIG {_on_off(health.mig)}; uncorrected ECC errors: {errors}"
        )


def _sensors(sensors: BoardSensors) -> Iterator[Text]:
    shown = [
        f"{_NAMES[name]} {_timing(getattr(sensors, name))}" for name in READINGS if getattr(sensors, name)
    ]
    yield Text(f"  sensor timing: {'; '.join(shown) or UNKNOWN}")
    kept = sensors.source == "cached" and sensors.measured_at is not None
    when = f", {sensors.measured_at:%Y-%m-%d}" if kept else ""
    yield Text(f"    {_SOURCES[sensors.source]}{when}")


def _timing(timing: SensorTiming) -> str:
    parts = [f"every {_ms(timing.update_period_s)}"]
    if timing.window_s is not None:
        parts.append(f"mean of {_ms(timing.window_s)}")
    if timing.lag_s >= _LEAST_LAG_S:
        parts.append(f"{_ms(timing.lag_s)} late")
    return ", ".join(parts)


def _calibration(calibration: Calibration, published: BoardSensors) -> Iterator[RenderableType]:
    table = Table(box=None, padding=(0, 2, 0, 2))
    for heading in ("reading", "", "measured", "published", "residual / step"):
        table.add_column(heading, justify="left" if heading in ("reading", "") else "right")
    for finding in calibration.findings:
        before = getattr(published, finding.reading)
        for field in finding.measured:
            residual = finding.residual if field == "window_s" else None
            table.add_row(
                _NAMES[finding.reading],
                _QUANTITIES[field],
                _ms(getattr(finding.timing, field)),
                _ms(getattr(before, field)) if before is not None else UNKNOWN,
                f"{residual:.1%}" if residual is not None else "",
            )
    if table.row_count:
        yield table
    for finding in calibration.findings:
        if finding.note and finding.offered:
            yield Text(f"  {_NAMES[finding.reading]}: {finding.note}")


def _verdict(examination: Examination) -> Iterator[Text]:
    if not examination.problems:
        what = "Simulated boards: fit to rehearse, nothing here is a measurement."
        yield Text(f"\n{what if examination.simulated else 'Fit to measure.'}", "bold")
        return
    yield Text("\nNot fit to measure:", "bold")
    yield from (outside(f"  {problem}") for problem in examination.problems)


def _on_off(state: bool | None) -> str:
    return "unknown" if state is None else "on" if state else "off"


def _ms(seconds: float | None) -> str:
    return UNKNOWN if seconds is None else f"{1000 * seconds:.1f} ms".replace(".0 ms", " ms")
