"""What the product needs of a board."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from llem_sweep.phases import PhaseMark
from llem_sweep.results.environment import BoardInfo
from llem_sweep.results.sensors import BoardSensors


class Reading(NamedTuple):
    """Everything read from a board at one moment. What the driver doesn't offer is None."""

    energy_mj: int | None
    """Energy counter, since the driver was loaded."""
    power_mw: int | None
    """``nvmlDeviceGetPowerUsage``: a mean whose window depends on the generation."""
    temperature_c: int | None
    memory_used_mb: float | None
    """Memory in use by everyone, in units of 10^6 bytes."""
    sm_utilisation_pct: int | None
    throttle_reasons: int | None
    """NVML clock-event reasons, bitmask."""
    instant_mw: int | None = None
    """Field 186: power over a short window."""
    sm_clock_mhz: int | None = None


class Health(NamedTuple):
    """What can spoil a measurement on a board, asked about once a second. What the driver doesn't tell is None."""

    foreign: tuple[int, ...] | None
    """Process ids of others that have a compute context on the board."""
    ecc_errors: int | None = None
    """Uncorrected ECC errors since the driver was loaded."""
    mig: bool | None = None
    power_throttle_ns: int | None = None
    """Time the clocks were held down by power since the driver was loaded (field 74)."""
    thermal_throttle_ns: int | None = None
    """The same by heat (field 75)."""


class Gpu(Protocol):
    """One board, opened by its UUID and by nothing else."""

    @property
    def info(self) -> BoardInfo:
        """What the board is."""

    @property
    def sensors(self) -> BoardSensors:
        """How its readings follow the power drawn, as far as the generation tells."""

    def read(self, *, slow: bool = True) -> Reading:
        """Read the board now; without ``slow`` counter and power alone, the rest None.

        Raises BoardLostError when the board no longer answers; a reading that the driver lacks is None.
        """

    def health(self) -> Health:
        """What can spoil a measurement. Raises BoardLostError when the board no longer answers."""

    def close(self) -> None:
        """Let the board go. Safe to call twice."""

    def on_phase(self, mark: PhaseMark) -> None:
        """Told of every phase of the work on this board. Real boards need not know."""
