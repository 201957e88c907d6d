"""What the product needs of a board."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from llem_sweep.phases import PhaseMark
from llem_sweep.results.environment import BoardInfo


class Reading(NamedTuple):
    """Everything read from a board at one moment. What the driver doesn't offer is None."""

    energy_mj: int | None
    """Energy counter, since the driver was loaded."""
    power_mw: int | None
    temperature_c: int | None
    memory_used_mb: float | None
    """Memory in use by everyone, in units of 10^6 bytes."""
    sm_utilisation_pct: int | None
    throttle_reasons: int | None
    """NVML clock-event reasons, bitmask."""


class Gpu(Protocol):
    """One board, opened by its UUID and by nothing else."""

    @property
    def info(self) -> BoardInfo:
        """What the board is."""

    def read(self) -> Reading:
        """Read the board now.

        Raises BoardLostError when the board no longer answers; a reading that the driver lacks is None.
        """

    def foreign_processes(self) -> tuple[int, ...] | None:
        """Process ids of others that have a compute context on the board; None when it can't be told."""

    def close(self) -> None:
        """Let the board go. Safe to call twice."""

    def on_phase(self, mark: PhaseMark) -> None:
        """Told of every phase of the work on this board. Real boards need not know."""
