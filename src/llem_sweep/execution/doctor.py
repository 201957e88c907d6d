"""What this machine is fit for, examined without starting anything but, if asked, the sensors' calibration."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from llem_sweep.clock import Clock, SimulatedClock, SystemClock
from llem_sweep.device.assigned import VISIBLE_DEVICES, assigned_tokens, resolve_assigned
from llem_sweep.device.nvml import NvmlGpu, library_path, list_boards
from llem_sweep.device.protocol import Gpu, Health, Reading
from llem_sweep.device.sensor_cache import known_sensors, save_sensors
from llem_sweep.device.simulated import simulated_boards
from llem_sweep.errors import BackendError, DeviceError
from llem_sweep.execution.torch_process import TorchLoad, TorchStatus, torch_status
from llem_sweep.harness.environment import installed_packages
from llem_sweep.results.environment import BoardInfo
from llem_sweep.results.sensors import BoardSensors
from llem_sweep.sampling.calibration import Calibration
from llem_sweep.sampling.steps import PhasesAlone, Stimulus, calibrate_board

Tell = Callable[[str], None]


class BoardFindings(NamedTuple):
    """What was found of one board."""

    board: BoardInfo
    problem: str | None
    """Why it can't be measured on; None when it can."""
    reading: Reading | None = None
    """One of everything, to show what the driver offers."""
    health: Health | None = None
    published: BoardSensors | None = None
    sensors: BoardSensors | None = None
    """The best that is known, in use from the next sweep on."""
    calibration: Calibration | None = None
    kept: Path | None = None
    """File that the calibration was written to."""
    uncalibrated: str | None = None
    """Why the calibration asked for wasn't done."""


class Examination(NamedTuple):
    """What was found of the machine."""

    python: str
    packages: dict[str, str]
    nvml_library: str | None
    boards: tuple[BoardFindings, ...]
    torch: TorchStatus | None
    """None with simulated boards, where it isn't asked."""
    simulated: bool
    problem: str | None = None
    """Why no board was found."""

    @property
    def problems(self) -> tuple[str, ...]:
        """Everything that keeps this machine from measuring."""
        found = [self.problem] if self.problem else []
        if self.boards and all(each.problem for each in self.boards):
            found.append("none of the boards can be measured on")
        if self.torch is not None and self.torch.problem:
            found.append(self.torch.problem)
        elif self.torch is not None and self.boards and not self.torch.uuids:
            found.append("torch sees no CUDA board: install a CUDA build of torch that fits the driver")
        return tuple(found)

    @property
    def exit_code(self) -> int:
        """0 fit to measure (or simulated), 3 not."""
        return 3 if self.problems else 0


def examine(
    *, calibrate: bool = False, simulate_gpus: int | None = None, tell: Tell = lambda text: None
) -> Examination:
    """Examine this machine, or ``simulate_gpus`` simulated boards, and calibrate their sensors if asked.

    Calibrating takes about 45 s for each real board that nobody else computes on; what it finds is kept for later
    runs. Raises OutputError when that can't be written.
    """
    python, packages = platform.python_version(), installed_packages()
    if simulate_gpus is not None:
        clock = SimulatedClock()
        boards = simulated_boards(range(simulate_gpus), clock)
        found = tuple(_examined(gpu, clock, PhasesAlone() if calibrate else None) for gpu in boards)
        return Examination(python, packages, None, found, None, simulated=True)
    try:
        listed, problem = list_boards(), None
    except DeviceError as error:
        listed, problem = (), str(error)
    if not listed and problem is None:
        problem = _why_no_boards()
    torch = torch_status()
    found = tuple(_found(board, hidden, torch, calibrate, tell) for board, hidden in _assigned(listed))
    return Examination(python, packages, library_path(), found, torch, simulated=False, problem=problem)


def _why_no_boards() -> str:
    return (
        "no GPU found: NVML's library (libnvidia-ml.so.1) is missing, or its driver isn't loaded, or it lists no"
        " board; compare with `nvidia-smi -L`, or rehearse with --simulate-gpus N"
    )


def _assigned(boards: Sequence[BoardInfo]) -> Iterator[tuple[BoardInfo, str | None]]:
    """Each board with the reason why this process may not use it."""
    tokens = assigned_tokens(os.environ)
    hidden = f"hidden from this process by {VISIBLE_DEVICES}"
    try:
        uuids = resolve_assigned(tokens, boards) if tokens is not None else tuple(b.uuid for b in boards)
    except DeviceError as error:
        uuids, hidden = (), str(error)
    for board in boards:
        yield board, None if board.uuid in uuids else hidden


def _found(
    board: BoardInfo, hidden: str | None, torch: TorchStatus, calibrate: bool, tell: Tell
) -> BoardFindings:
    if hidden:
        return BoardFindings(board, hidden)
    try:
        with closing(NvmlGpu.open(board.uuid)) as gpu:
            if not calibrate:
                return _examined(gpu, SystemClock(), None)
            if why := _why_not_calibrated(gpu, torch):
                return _examined(gpu, SystemClock(), None)._replace(uncalibrated=why)
            tell(f"calibrating board {board.index}: about 45 s of load on and off")
            return _calibrated(gpu)
    except DeviceError as error:
        return BoardFindings(board, str(error))


def _why_not_calibrated(gpu: Gpu, torch: TorchStatus) -> str | None:
    if foreign := gpu.health().foreign:
        return f"others compute on it (process {', '.join(map(str, foreign))}): wait until it is free"
    if gpu.info.uuid not in torch.uuids:
        return "averaging windows and lags need load on the board, and torch can't compute on it"
    return None


def _calibrated(gpu: Gpu) -> BoardFindings:
    try:
        with TorchLoad(gpu.info.uuid) as load:
            return _examined(gpu, SystemClock(), load)
    except BackendError as error:
        return _examined(gpu, SystemClock(), None)._replace(uncalibrated=str(error))


def _examined(gpu: Gpu, clock: Clock, stimulus: Stimulus | None) -> BoardFindings:
    """Everything about a board that is open; with a stimulus calibrated, and that kept."""
    known = known_sensors(gpu.info, gpu.sensors)
    found = BoardFindings(gpu.info, None, gpu.read(), gpu.health(), gpu.sensors, known)
    if stimulus is None:
        return found
    calibration = calibrate_board(gpu, clock, stimulus, gpu.sensors)
    if not calibration.sensors.measured:
        return found._replace(calibration=calibration)
    kept = save_sensors(gpu.info, calibration.sensors)
    return found._replace(calibration=calibration, sensors=calibration.sensors, kept=kept)
