"""What the boards of the stand-in library truly draw and show, for computing from outside.

Times are ``time.monotonic()``, which on Linux is the ``CLOCK_MONOTONIC`` that the library reads, in every process.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from llem_sweep.device.sensors import GENERATIONS
from llem_sweep.device.simulated_sensors import SensorProfile, SensorView, Shown
from llem_sweep.device.traces import Constant, Cycle, Exponential, Ramp, Trace, Within, square
from llem_sweep.results.sensors import SensorTiming

_BOARDS = {
    "volta": (5, "Tesla V100-SXM2-32GB"),
    "turing": (6, "Quadro RTX 8000"),
    "ga100": (7, "NVIDIA A100-SXM4-80GB"),
    "ampere": (7, "NVIDIA GeForce RTX 3090"),
    "ada": (8, "NVIDIA L40S"),
    "hopper": (9, "NVIDIA H100 80GB HBM3"),
}
"""Architecture, by NVML's number, and name of a board of each generation."""


class StandIn(NamedTuple):
    """Boards to be simulated by the library, and the truth about them."""

    powers_w: tuple[float, ...] = (120.0, 180.0, 240.0, 300.0)
    """Constant part of the power, one board each."""
    square_w: float = 0.0
    """Half the swing of a square wave on top, which begins each period high."""
    square_period_s: float = 0.7
    tick_s: float = 0.1
    traces: tuple[Trace, ...] = ()
    """Power over monotonic time, one board each, in place of the above. A load that follows a window is a
    ``Within`` whose beginning and end lie ahead; whoever measures waits for them."""
    view: SensorView | None = None
    """Sensors of every board; without it a Hopper board's, all of them updating at multiples of ``tick_s``."""

    def uuid(self, board: int) -> str:
        """Full UUID of board ``board`` (NVML index)."""
        return f"GPU-57a4d100-0000-4000-8000-{board:012d}"

    def trace(self, board: int) -> Trace:
        """Power of one board over monotonic time."""
        if self.traces:
            return self.traces[board]
        power_w = self.powers_w[board]
        if not self.square_w:
            return Constant(power_w)
        return square(power_w - self.square_w, power_w + self.square_w, self.square_period_s)

    def energy_j(self, board: int, start_s: float, end_s: float) -> float:
        """Exact energy of one board between two monotonic times."""
        trace = self.trace(board)
        return trace.energy_j(end_s) - trace.energy_j(start_s)

    def shown(self, board: int, at_s: float) -> Shown:
        """What the board's sensors show at a monotonic time."""
        return self._view.shown(self.trace(board).energy_j, at_s)

    def environ(self, folder: Path, **settings: str) -> dict[str, str]:
        """Environment of a process that is to see these boards; ``folder`` holds the library.

        Further settings of ``nvml.c`` by their names without ``STANDIN_``: ``WITHOUT`` (comma-separated calls that
        fail: energy, power, instant, fields, temperature, memory, utilization, reasons, event_reasons, clock,
        processes, ecc, power_throttle, thermal_throttle, architecture, limit, persistence, pci, mig, handle),
        ``WITHOUT_CODE`` (NVML's error code), ``LOST_AFTER`` (seconds after initialising), ``LOST_CODE``,
        ``INIT_CODE``, ``PIDS``, ``MIG`` (0 or 1, for each board), ``REASONS``, ``ECC_ERRORS``,
        ``POWER_THROTTLE_NS``, ``THERMAL_THROTTLE_NS``, ``SM_CLOCK_MHZ``, ``NOW_S`` (stops the clock there),
        ``NAME``, ``ARCHITECTURE``.
        """
        environ = {name: value for name, value in os.environ.items() if not name.startswith("STANDIN_")}
        search = [str(folder), *filter(None, [environ.get("LD_LIBRARY_PATH")])]
        view = self._view
        architecture, name = _BOARDS[view.sensors.generation or "hopper"]
        boards = range(len(self.traces or self.powers_w))
        environ |= {
            "LD_LIBRARY_PATH": os.pathsep.join(search),
            "STANDIN_BOARDS": str(len(boards)),
            "STANDIN_TRACES": ";".join(_text(self.trace(board)) for board in boards),
            "STANDIN_GAIN": repr(view.gain),
            "STANDIN_COUNTER": _sensor(view.sensors.counter, view.counter_offset_s, view.jitter_s),
            "STANDIN_POWER": _sensor(view.sensors.power, view.power_offset_s, view.jitter_s),
            "STANDIN_INSTANT": _sensor(view.sensors.instant, view.instant_offset_s, view.jitter_s),
            "STANDIN_ARCHITECTURE": str(architecture),
            "STANDIN_NAME": name,
        }
        return environ | {f"STANDIN_{name}": value for name, value in settings.items()}

    @property
    def _view(self) -> SensorView:
        return self.view or SensorProfile(tick_s=self.tick_s).view


def of_generation(generation: str, traces: tuple[Trace, ...], **view: float) -> StandIn:
    """Boards of a published generation that follow ``traces``; ``view`` sets offsets, gain and jitter."""
    return StandIn(traces=traces, view=SensorView(GENERATIONS[generation], **view))


def _sensor(timing: SensorTiming | None, offset_s: float, jitter_s: float) -> str:
    if timing is None:
        return "none"
    window_s = timing.window_s or 0.0
    return " ".join(map(repr, (timing.update_period_s, timing.lag_s, offset_s, window_s, jitter_s)))


def _text(trace: Trace) -> str:
    """``trace`` as ``traces.c`` reads it."""
    match trace:
        case Constant(level_w):
            return f"constant {level_w!r}"
        case Cycle(steps, offset_s):
            return " ".join(
                ["cycle", repr(offset_s), str(len(steps)), *(repr(value) for step in steps for value in step)]
            )
        case Ramp() | Exponential():
            return " ".join([type(trace).__name__.lower(), *map(repr, trace)])
        case Within(inside, idle_w, begin_s, end_s):
            return f"within {idle_w!r} {begin_s!r} {end_s!r} {_text(inside)}"
    raise ValueError(f"the stand-in library knows no {trace!r}; add it to traces.c")
