"""All that was seen of one experiment, and the part of it that energy is computed from."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from llem_sweep.harness.rig import Rig
from llem_sweep.harness.warmup import WarmUp
from llem_sweep.harness.window import Window
from llem_sweep.sampling.account import Account, Evidence, IdleKind, Span
from llem_sweep.sampling.baseline import Baseline
from llem_sweep.sampling.recording import Recording

Identity = Literal["assigned", "confirmed", "none"]

_DRIFT = 1.5
_STEADY = 0.02
"""Idle power that moved by less than this share of it, beyond its bounds, is steady."""


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


def evidence(rig: Rig, seen: Seen) -> Evidence:
    """The samples that every energy of the result is computed from."""
    baselines = [baseline for baseline in (seen.cold, seen.context) if baseline is not None]
    window = Span("window", "during", "window", seen.window.start_s, seen.window.end_s)
    return Evidence(
        {baseline.span.recording: baseline.recording for baseline in baselines} | {"window": seen.recording},
        (*(baseline.span for baseline in baselines), window, *((seen.after,) if seen.after else ())),
        rig.sensors,
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
