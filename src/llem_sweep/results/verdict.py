"""Whether a result may be published, by fixed rules over its warnings and bounds."""

from __future__ import annotations

from collections.abc import Sequence

from llem_sweep.results.base import ResultModel
from llem_sweep.results.warnings import MeasurementWarning, WarningCode

BLOCKING = frozenset(
    {
        WarningCode.SIMULATED,
        WarningCode.SYNTHETIC_BACKEND,
        WarningCode.OFF_BOARD,
        WarningCode.ENERGY_OFF,
        WarningCode.ENERGY_UNAVAILABLE,
        WarningCode.UNMETERED,
        WarningCode.WINDOW_UNRESOLVED,
        WarningCode.IDENTITY_ASSIGNED,
        WarningCode.MIG,
        WarningCode.SHORT_WINDOW,
        WarningCode.FEW_SAMPLES,
        WarningCode.SAMPLER_GAP,
        WarningCode.SIDECAR_THINNED,
        WarningCode.SENSOR_DISAGREEMENT,
        WarningCode.WIDE_BOUND,
        WarningCode.NEGATIVE_ADJUSTED_ENERGY,
        WarningCode.BASELINE_NOT_IDLE,
        WarningCode.FOREIGN_PROCESS,
        WarningCode.ECC_ERRORS,
        WarningCode.THERMAL_THROTTLE,
        WarningCode.THERMAL_DRIFT,
        WarningCode.CLOCK_CHANGE,
        WarningCode.WARM_UP_OFF,
        WarningCode.WARM_UP_UNCONVERGED,
        WarningCode.WINDOWS_APART,
        WarningCode.BOARD_COUNTED_TWICE,
    }
)
"""Warnings that keep a result from being published; the others are to be read beside the number."""
CONTAMINATING = frozenset(
    {
        WarningCode.BASELINE_NOT_IDLE,
        WarningCode.FOREIGN_PROCESS,
        WarningCode.SAMPLER_GAP,
        WarningCode.SENSOR_DISAGREEMENT,
        WarningCode.THERMAL_THROTTLE,
        WarningCode.CLOCK_CHANGE,
    }
)
"""Warnings of what came from outside and may be gone another time."""


class Verdict(ResultModel):
    """May this result be published as a measurement of energy?"""

    publishable: bool
    """Whether nothing speaks against it."""
    because: tuple[str, ...] = ()
    """Every reason why not: the code of a warning and its message."""


def judge(
    measured_on: str,
    total_energy_j: float | None,
    uncertainty_j: float | None,
    warnings: Sequence[MeasurementWarning],
) -> Verdict:
    """The verdict on a result.

    It is publishable when it was measured on real boards that computed, its energy and the bound of it are known,
    and no warning of :data:`BLOCKING` is among ``warnings``.
    """
    because = [f"{each.code.value}: {each.message}" for each in warnings if each.code in BLOCKING]
    if measured_on != "board":
        because.append(f"measured_on: {measured_on}, which is no measurement of a board at work")
    if total_energy_j is None or uncertainty_j is None:
        because.append("no_energy: the energy or its bound isn't known")
    return Verdict(publishable=not because, because=tuple(because))


def contaminations(
    warnings: Sequence[MeasurementWarning], subtracted: str | None
) -> tuple[MeasurementWarning, ...]:
    """Those of ``warnings`` that another attempt on the same worker may be free of.

    ``subtracted`` is the kind of idle power in use: the cold one is taken once in a worker's life, so that every
    attempt there has the same.
    """
    lasting = {WarningCode.BASELINE_NOT_IDLE} if subtracted == "cold" else set()
    return tuple(each for each in warnings if each.code in CONTAMINATING - lasting)
