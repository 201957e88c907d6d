"""Idle power of the boards: cold, before a context of ours is on them, or with the model resident."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from llem_sweep.clock import Clock
from llem_sweep.device.protocol import Gpu
from llem_sweep.phases import Phase, PhaseStream
from llem_sweep.sampling.account import Evidence, IdleEstimate, IdleKind, Span, idle_power
from llem_sweep.sampling.energy import needs_more
from llem_sweep.sampling.recording import Recording
from llem_sweep.sampling.sampler import SAMPLE_PERIOD_S, Sampler

RUN_IN_S = 1.1
"""Longest time to sample before idle power counts: two of the slowest published ticks and a margin."""
_PHASES: dict[IdleKind, Phase] = {"cold": Phase.BASELINE, "context": Phase.CONTEXT}


class Baseline(NamedTuple):
    """Idle power over one stretch of time."""

    estimate: IdleEstimate
    recording: Recording

    @property
    def span(self) -> Span:
        """When it was taken; its recording is named after its kind."""
        return self.estimate.span

    @property
    def power_w(self) -> float | None:
        """Idle power of all boards together; None when any of them is unknown, or there is none."""
        return self.estimate.power_w


def measure_baseline(
    gpus: Sequence[Gpu],
    clock: Clock,
    phases: PhaseStream,
    duration_s: float,
    kind: IdleKind = "cold",
    period_s: float = SAMPLE_PERIOD_S,
) -> Baseline:
    """Sample the boards for ``duration_s`` with nothing running, in the phase of ``kind``.

    Takes up to ``RUN_IN_S`` and ``RUN_ON_LIMIT_S`` longer, until both ends are resolved. Raises BoardLostError
    when a board stops answering.
    """
    phases.mark(_PHASES[kind])
    with Sampler(gpus, clock, phases, period_s) as sampler:
        clock.sleep(min(RUN_IN_S, duration_s / 4))
        start_s = clock.monotonic()
        clock.sleep(duration_s)
        end_s = clock.monotonic()
        while needs_more(sampler.recording(), end_s, clock.monotonic()):
            sampler.check()
            clock.sleep(period_s)
        recording = sampler.stop()
    span = Span(kind, "before", kind, start_s, end_s)
    evidence = Evidence({kind: recording}, (span,), tuple(gpu.sensors for gpu in gpus))
    return Baseline(idle_power(evidence, span), recording)
