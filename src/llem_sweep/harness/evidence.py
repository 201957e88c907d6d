"""All that was seen of one experiment, and the part of it that energy is computed from."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from llem_sweep.backends.protocol import BatchTimes
from llem_sweep.harness.prefill import PrefillSeen
from llem_sweep.harness.requests import batch_marks
from llem_sweep.harness.rig import Rig
from llem_sweep.harness.warmup import WarmUp
from llem_sweep.harness.window import Window
from llem_sweep.sampling.account import Account, Evidence, IdleKind, Span
from llem_sweep.sampling.baseline import Baseline
from llem_sweep.sampling.recording import Recording
from llem_sweep.sampling.watch import watch

Identity = Literal["assigned", "confirmed", "none"]

_DRIFT = 1.5
_STEADY = 0.02
"""Idle power that moved by less than this share of it, beyond its bounds, is steady."""


IDLE_UTILISATION_PCT = 5.0
"""Mean utilisation from which a board isn't idle."""


class Seen(NamedTuple):
    """All that was seen of one experiment."""

    identity: Identity
    cold: Baseline | None
    context: Baseline | None
    warm: WarmUp
    window: Window
    recording: Recording
    """From the warm-up to the idle time after the window."""
    after: Span | None
    """Idle time with the model resident after the window."""
    times: tuple[BatchTimes, ...]
    """What was stamped of every batch in the window; empty where the backend stamps no steps."""
    prefill: PrefillSeen | None = None
    """Prefill by itself, where it was asked for."""


def evidence(rig: Rig, seen: Seen) -> Evidence:
    """The samples that every energy of the result is computed from."""
    baselines = [baseline for baseline in (seen.cold, seen.context) if baseline is not None]
    window = Span("window", "during", "window", seen.window.start_s, seen.window.end_s)
    recordings = {baseline.span.recording: baseline.recording for baseline in baselines}
    if seen.prefill is not None:
        recordings[seen.prefill.run.span.recording] = seen.prefill.recording
    return Evidence(
        recordings | {"window": seen.recording},
        (*(baseline.span for baseline in baselines), window, *((seen.after,) if seen.after else ())),
        rig.sensors,
        seen.window.part.run if seen.window.part is not None else None,
        batch_marks(seen.times),
        seen.prefill.run if seen.prefill is not None else None,
    )


def has_drifted(account: Account, kind: IdleKind) -> bool:
    """Whether idle power of one kind differs between before and after the window by more than its bounds."""
    known = [
        (idle.power_w, idle.uncertainty_w or 0.0)
        for idle in account.idle
        if idle.span.kind == kind and idle.power_w is not None
    ]
    if len(known) < 2:
        return False
    powers_w = [power_w for power_w, _ in known]
    bound_w = _DRIFT * math.hypot(*(uncertainty_w for _, uncertainty_w in known))
    return max(powers_w) - min(powers_w) > bound_w + _STEADY * max(powers_w)


def why_not_idle(evidence: Evidence, kind: IdleKind) -> str | None:
    """Why the boards weren't idle, or not ours alone, while idle power was taken before the window; None if they
    were."""
    for span in evidence.spans:
        if span.kind != kind or span.when != "before":
            continue
        seen = watch(evidence.recordings[span.recording], span.start_s, span.end_s)
        if seen.foreign:
            pids = ", ".join(map(str, sorted(seen.foreign)))
            return f"other processes on the board during the baseline: {pids}"
        if (seen.utilisation_pct or 0.0) > IDLE_UTILISATION_PCT:
            return f"{seen.utilisation_pct:.0f} % utilisation while idle power was taken"
    return None
