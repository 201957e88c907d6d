"""Everything that makes a number doubtful, as a closed set."""

from __future__ import annotations

from enum import StrEnum

from llem_sweep.results.base import ResultModel


class WarningCode(StrEnum):
    """What is doubtful."""

    SIMULATED = "simulated"
    """Every number comes from a simulated board."""
    SYNTHETIC_BACKEND = "synthetic_backend"
    """Nothing was computed: the synthetic backend waits."""
    OFF_BOARD = "off_board"
    """The model ran on the CPU while the assigned board was metered."""
    ENERGY_OFF = "energy_off"
    """Energy was switched off in the configuration."""
    ENERGY_UNAVAILABLE = "energy_unavailable"
    """The board gives no reading that energy can be computed from."""
    UNMETERED = "unmetered"
    """No board was assigned; the work ran without energy."""
    WINDOW_UNRESOLVED = "window_unresolved"
    """The window is too short for the board's sensor."""
    SHORT_WINDOW = "short_window"
    """The window is shorter than the method recommends."""
    FEW_SAMPLES = "few_samples"
    SAMPLER_GAP = "sampler_gap"
    """The sampler missed its schedule inside the window."""
    SIDECAR_THINNED = "sidecar_thinned"
    """The samples that the energy came from weren't kept."""
    BASELINE_MISSING = "baseline_missing"
    BASELINE_SHORT = "baseline_short"
    BASELINE_NOT_IDLE = "baseline_not_idle"
    """The board wasn't idle, or not ours alone, while its idle power was taken."""
    BASELINE_UNSTABLE = "baseline_unstable"
    """Idle power moved during the baseline, or between before and after the window."""
    BASELINE_COLD = "baseline_cold"
    """The idle power subtracted was taken without a context, so the context's own power is charged to the run."""
    NEGATIVE_ADJUSTED_ENERGY = "negative_adjusted_energy"
    SENSOR_DISAGREEMENT = "sensor_disagreement"
    """Two methods differ by more than their bounds."""
    WIDE_BOUND = "wide_bound"
    """The energy's uncertainty is large against the energy."""
    PREFILL_DISAGREEMENT = "prefill_disagreement"
    """Prefill by a window of its own and by the split of the run differ by more than their bounds."""
    FOREIGN_PROCESS = "foreign_process"
    """Another process had a context on the board during the window."""
    SHARED_NODE = "shared_node"
    """Other experiments ran on the same node meanwhile."""
    MIG = "mig"
    """The board is divided into slices, and every reading is the whole board's."""
    THERMAL_THROTTLE = "thermal_throttle"
    POWER_THROTTLE = "power_throttle"
    THERMAL_DRIFT = "thermal_drift"
    """The board's temperature was still on its way when the window opened, or changed within it."""
    CLOCK_CHANGE = "clock_change"
    """The board ran at another clock at the end of the window than at its beginning."""
    ECC_ERRORS = "ecc_errors"
    """Uncorrected memory errors appeared during the experiment."""
    WARM_UP_OFF = "warm_up_off"
    WARM_UP_SHORT = "warm_up_short"
    WARM_UP_UNCONVERGED = "warm_up_unconverged"
    PERSISTENCE_OFF = "persistence_off"
    IDENTITY_ASSIGNED = "identity_assigned"
    """The board is the one assigned, but the backend didn't confirm that it computed there."""
    WINDOWS_APART = "windows_apart"
    """The processes of one experiment didn't work at the same time."""
    BOARD_COUNTED_TWICE = "board_counted_twice"
    """Two processes of one experiment metered the same board."""


REMEDIES: dict[WarningCode, str] = {
    WarningCode.SIMULATED: "run without --simulate-gpus on a machine with GPUs to measure",
    WarningCode.SYNTHETIC_BACKEND: "use a backend that computes to measure",
    WarningCode.OFF_BOARD: "set pytorch.device to auto or cuda",
    WarningCode.ENERGY_OFF: "set energy.backend to auto",
    WarningCode.ENERGY_UNAVAILABLE: "use a board whose driver reports energy or power",
    WarningCode.UNMETERED: "set gpus to 1 or more",
    WarningCode.WINDOW_UNRESOLVED: "set measurement.min_duration_seconds to 10 or more, or raise n",
    WarningCode.SHORT_WINDOW: "set measurement.min_duration_seconds to 10 or more, or raise n",
    WarningCode.FEW_SAMPLES: "make the window longer, or take load off the machine's CPU",
    WarningCode.SAMPLER_GAP: "take load off the machine's CPU and measure again",
    WarningCode.SIDECAR_THINNED: "leave sampling.sidecar_hz out",
    WarningCode.BASELINE_MISSING: "set baseline.enabled to true, on a board that reports power",
    WarningCode.BASELINE_SHORT: "set baseline.duration_seconds to 10 or more",
    WarningCode.BASELINE_NOT_IDLE: "stop the other processes on this board and run again",
    WarningCode.NEGATIVE_ADJUSTED_ENERGY: "check that the board was idle for the baseline, and lengthen both",
    WarningCode.SENSOR_DISAGREEMENT: "measure again; if it stays, suspect the board's sensors",
    WarningCode.WIDE_BOUND: "make the window longer (measurement.min_duration_seconds, n or max_output_tokens)",
    WarningCode.PREFILL_DISAGREEMENT: "the total isn't concerned; unless time, temperature or clocks explain it,"
    " take the energy of each phase to be known to this difference alone",
    WarningCode.BASELINE_UNSTABLE: "leave the board alone for a while, and lengthen baseline.duration_seconds",
    WarningCode.BASELINE_COLD: "set baseline.subtract to context",
    WarningCode.ECC_ERRORS: "have the board checked: its memory reports uncorrected errors",
    WarningCode.FOREIGN_PROCESS: "stop the other processes on this board and measure again",
    WarningCode.SHARED_NODE: "set execution.exclusive to node to run one experiment at a time on each",
    WarningCode.MIG: "switch MIG off (nvidia-smi -mig 0) and assign whole boards",
    WarningCode.THERMAL_THROTTLE: "improve cooling, or lower the power limit before the sweep",
    WarningCode.POWER_THROTTLE: "expected at the power limit; compare only runs at the same limit",
    WarningCode.THERMAL_DRIFT: "raise warmup.thermal_floor_seconds or warmup.settle_limit_seconds",
    WarningCode.CLOCK_CHANGE: "look for a power or thermal limit, or for clocks set by others, and measure again",
    WarningCode.WARM_UP_OFF: "set warmup.enabled to true",
    WarningCode.WARM_UP_SHORT: "set warmup.thermal_floor_seconds to 30 or more",
    WarningCode.WARM_UP_UNCONVERGED: "raise warmup.max_prompts, or look for other load on the machine",
    WarningCode.PERSISTENCE_OFF: "enable persistence mode (nvidia-smi -pm 1) before the sweep",
    WarningCode.IDENTITY_ASSIGNED: "compute on CUDA, or with a backend that reports the boards it computes on",
    WarningCode.WINDOWS_APART: "raise n, or take requests of equal length (a synthetic dataset), so that the"
    " processes end together",
    WarningCode.BOARD_COUNTED_TWICE: "check CUDA_VISIBLE_DEVICES and what assigns the boards",
}


class MeasurementWarning(ResultModel):
    """One doubt about one result."""

    code: WarningCode
    """What is doubtful."""
    message: str
    """What was seen, with its figures."""
    remedy: str
    """What to do about it."""

    @classmethod
    def of(cls, code: WarningCode, message: str) -> MeasurementWarning:
        """A warning with the remedy that belongs to its code."""
        return cls(code=code, message=message, remedy=REMEDIES[code])
