"""What the boards of the stand-in library truly draw: the formulas of ``nvml.c``, for computing from outside.

Times are ``time.monotonic()``, which on Linux is the ``CLOCK_MONOTONIC`` that the library reads, in every process.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple


class StandIn(NamedTuple):
    """Boards to be simulated by the library, and the truth about them."""

    powers_w: tuple[float, ...] = (120.0, 180.0, 240.0, 300.0)
    """Constant part of the power, one board each."""
    square_w: float = 0.0
    """Half the swing of a square wave on top, which begins each period high."""
    square_period_s: float = 0.7
    tick_s: float = 0.1

    def uuid(self, board: int) -> str:
        """Full UUID of board ``board`` (NVML index)."""
        return f"GPU-57a4d100-0000-4000-8000-{board:012d}"

    def energy_j(self, board: int, start_s: float, end_s: float) -> float:
        """Exact energy of one board between two monotonic times."""
        return self._since_zero_j(board, end_s) - self._since_zero_j(board, start_s)

    def environ(self, folder: Path, **settings: str) -> dict[str, str]:
        """Environment of a process that is to see these boards; ``folder`` holds the library.

        Further settings of ``nvml.c`` by their names without ``STANDIN_``: ``WITHOUT`` (comma-separated calls that
        fail: energy, power, temperature, memory, utilization, reasons, event_reasons, processes, limit,
        persistence, pci, handle), ``WITHOUT_CODE`` (NVML's error code), ``LOST_AFTER`` (seconds after
        initialising), ``LOST_CODE``, ``INIT_CODE``, ``PIDS``, ``MIG``, ``REASONS``.
        """
        environ = {name: value for name, value in os.environ.items() if not name.startswith("STANDIN_")}
        search = [str(folder), *filter(None, [environ.get("LD_LIBRARY_PATH")])]
        environ |= {
            "LD_LIBRARY_PATH": os.pathsep.join(search),
            "STANDIN_BOARDS": str(len(self.powers_w)),
            "STANDIN_POWERS_W": ",".join(map(repr, self.powers_w)),
            "STANDIN_SQUARE_W": repr(self.square_w),
            "STANDIN_SQUARE_PERIOD_S": repr(self.square_period_s),
            "STANDIN_TICK_S": repr(self.tick_s),
        }
        return environ | {f"STANDIN_{name}": value for name, value in settings.items()}

    def _since_zero_j(self, board: int, at_s: float) -> float:
        phase_s = at_s % self.square_period_s
        wave_s = phase_s if phase_s < self.square_period_s / 2 else self.square_period_s - phase_s
        return self.powers_w[board] * at_s + self.square_w * wave_s
