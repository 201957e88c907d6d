"""Idle power of the boards, before anything is charged to a model."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from llem_sweep.clock import Clock
from llem_sweep.device.protocol import Gpu
from llem_sweep.phases import Phase, PhaseStream
from llem_sweep.sampling.energy import device_energy, needs_more
from llem_sweep.sampling.recording import Recording
from llem_sweep.sampling.sampler import SAMPLE_PERIOD_S, Sampler


class Baseline(NamedTuple):
    """Idle power over one stretch of time."""

    power_w_per_device: tuple[float | None, ...]
    """Mean power in device order; None where the sensor couldn't tell."""
    method: str | None
    """``counter`` or ``power``; both, joined by ``+``, when boards differ; None without any power."""
    ended_s: float
    """Monotonic time of the end."""
    timestamp: datetime
    """Wall-clock time of the end, timezone-aware."""
    duration_s: float
    foreign: tuple[int, ...]
    """Process ids of others seen on the boards before or after."""
    recording: Recording

    @property
    def power_w(self) -> float | None:
        """Idle power of all boards together; None when any of them is unknown, or there is none."""
        known = [power_w for power_w in self.power_w_per_device if power_w is not None]
        return sum(known) if known and len(known) == len(self.power_w_per_device) else None


def measure_baseline(
    gpus: Sequence[Gpu],
    clock: Clock,
    phases: PhaseStream,
    duration_s: float,
    period_s: float = SAMPLE_PERIOD_S,
) -> Baseline:
    """Sample the boards for ``duration_s`` with nothing of ours running, in ``Phase.BASELINE``.

    Takes up to ``RUN_ON_LIMIT_S`` longer, until the end is resolved. Raises BoardLostError when a board stops
    answering.
    """
    phases.mark(Phase.BASELINE)
    before = _foreign_processes(gpus)
    with Sampler(gpus, clock, phases, period_s) as sampler:
        start_s = clock.monotonic()
        clock.sleep(duration_s)
        end_s, timestamp = clock.monotonic(), clock.now()
        while needs_more(sampler.recording(), end_s, clock.monotonic()):
            sampler.check()
            clock.sleep(period_s)
        recording = sampler.stop()
    estimates = [
        device_energy(recording.of_device(device), start_s, end_s, period_s) for device in range(len(gpus))
    ]
    powers_w = tuple(
        estimate.energy_j / (end_s - start_s) if estimate.energy_j is not None else None
        for estimate in estimates
    )
    methods = {str(estimate.method) for estimate in estimates if estimate.energy_j is not None}
    return Baseline(
        power_w_per_device=powers_w,
        method="+".join(sorted(methods)) or None,
        ended_s=end_s,
        timestamp=timestamp,
        duration_s=end_s - start_s,
        foreign=tuple(sorted(before | _foreign_processes(gpus))),
        recording=recording,
    )


def _foreign_processes(gpus: Sequence[Gpu]) -> set[int]:
    return {pid for gpu in gpus for pid in gpu.foreign_processes() or ()}
