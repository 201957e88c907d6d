"""What a simulated board draws: power by phase or along a trace, held down where it has limits.

Power is a sum of functions with a closed integral, times a factor that is constant within a segment, so that
energy is exact whatever holds the board down. Limits act when a phase begins and every tenth of a second.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from llem_sweep.device.traces import Trace
from llem_sweep.phases import Phase

AMBIENT_C = 28.0
DEGREES_PER_W = 0.07
THERMAL_TIME_CONSTANT_S = 25.0

_KEPT_S = 600.0
"""How far back the segments are remembered, at least."""
_PRUNE_EVERY = 256
_LIMITED_STEP_S = 0.1
_STEP_S = 1.0
"""Power that varies within a segment heats by its mean over the segment, which is therefore short."""
_HYSTERESIS_C = 3.0


class PowerProfile(NamedTuple):
    """Power in watts by what the board is doing."""

    idle_w: float = 70.0
    """Until the first load: no context on the board."""
    context_w: float = 115.0
    """Whenever nothing runs after that."""
    load_w: float = 160.0
    prefill_w: float = 620.0
    decode_w: float = 340.0
    """Also while warming up and settling."""

    def of(self, phase: Phase, loaded: bool) -> float:
        """Power in ``phase``; ``loaded`` once the board has a context."""
        match phase:
            case Phase.PREFILL:
                return self.prefill_w
            case Phase.DECODE | Phase.WARM_UP | Phase.SETTLE:
                return self.decode_w
            case Phase.LOAD:
                return self.load_w
            case Phase.CONTEXT:
                return self.context_w
            case _:
                return self.context_w if loaded else self.idle_w


class Hold(NamedTuple):
    """How far a board is held down, and by what."""

    share: float = 1.0
    """Power drawn, of what the work asks for."""
    by_power: bool = False
    by_heat: bool = False


class Limits(NamedTuple):
    """What holds a board's power down; nothing by default."""

    power_cap_w: float | None = None
    thermal_c: float | None = None
    """From this temperature on power is cut, until the board is three degrees cooler."""
    share_when_hot: float = 0.6
    """Power left, of what the work asks for, while the board is too hot."""

    def hold(self, demand_w: float, temperature_c: float, was_hot: bool) -> Hold:
        """How far the board is held down at this demand and temperature."""
        hot = False
        if self.thermal_c is not None:
            hot = temperature_c >= self.thermal_c - (_HYSTERESIS_C if was_hot else 0.0)
        share = self.share_when_hot if hot else 1.0
        if self.power_cap_w is not None and demand_w * share > self.power_cap_w:
            return Hold(self.power_cap_w / demand_w, by_power=True, by_heat=hot)
        return Hold(share, by_heat=hot)


class Segment(NamedTuple):
    """A stretch in which the same work is held down to the same share, until the next one begins."""

    start_s: float
    phase: Phase
    loaded: bool
    level_w: float
    varying: tuple[Trace, ...]
    """Asked for beside ``level_w``."""
    hold: Hold
    energy_j: float
    """Energy from the board's making to ``start_s``."""
    temperature_c: float
    """At ``start_s``."""
    held_by_power_s: float = 0.0
    """From the board's making to ``start_s``."""
    held_by_heat_s: float = 0.0

    def energy_at(self, at_s: float) -> float:
        asked_j = self.level_w * (at_s - self.start_s)
        for trace in self.varying:
            asked_j += trace.energy_j(at_s) - trace.energy_j(self.start_s)
        return self.energy_j + self.hold.share * asked_j

    def temperature_at(self, at_s: float) -> float:
        """First-order thermal model: exponential approach to ambient + power × thermal resistance."""
        after_s = at_s - self.start_s
        if after_s <= 0:
            return self.temperature_c
        mean_w = (self.energy_at(at_s) - self.energy_j) / after_s
        final_c = AMBIENT_C + DEGREES_PER_W * mean_w
        return final_c + (self.temperature_c - final_c) * math.exp(-after_s / THERMAL_TIME_CONSTANT_S)

    def power_throttle_s(self, at_s: float) -> float:
        """Time held down by power, from the board's making."""
        return self.held_by_power_s + (max(at_s - self.start_s, 0.0) if self.hold.by_power else 0.0)

    def thermal_throttle_s(self, at_s: float) -> float:
        """Time held down by heat, from the board's making."""
        return self.held_by_heat_s + (max(at_s - self.start_s, 0.0) if self.hold.by_heat else 0.0)


class DrawnPower:
    """The power of one board, as it comes about. Not safe for use by two threads at once."""

    def __init__(
        self,
        made_s: float,
        profile: PowerProfile,
        trace: Trace | None = None,
        limits: Limits | None = None,
        extras: Sequence[Trace] = (),
    ) -> None:
        """``trace`` replaces the power by phase; ``extras`` come on top of either."""
        self._profile = profile
        self._trace = trace
        self._limits = limits or Limits()
        self._varying = (*([trace] if trace else []), *extras)
        limited = self._limits.power_cap_w is not None or self._limits.thermal_c is not None
        self._step_s = _LIMITED_STEP_S if limited else _STEP_S if self._varying else math.inf
        level_w = self._level_w(Phase.IDLE, False)
        made_c = AMBIENT_C + DEGREES_PER_W * self._asked_w(level_w, made_s)
        hold = self._limits.hold(self._asked_w(level_w, made_s), made_c, was_hot=False)
        self.segments = [Segment(made_s, Phase.IDLE, False, level_w, self._varying, hold, 0.0, made_c)]
        self._forgotten = False

    def begin(self, phase: Phase, at_s: float) -> None:
        """Begin ``phase`` at ``at_s``, or at the latest moment already settled if that is later."""
        self.advance(at_s)
        last = self.segments[-1]
        self._append(max(at_s, last.start_s), phase, last.loaded or phase is Phase.LOAD)

    def advance(self, to_s: float) -> Segment:
        """Settle what is drawn until ``to_s``; returns the segment that holds then."""
        while (start_s := self.segments[-1].start_s + self._step_s) <= to_s:
            self._append(start_s, self.segments[-1].phase, self.segments[-1].loaded)
        return self.segments[-1]

    def energy_j(self, at_s: float) -> float:
        """Energy from the board's making to a moment already settled."""
        last = self.segments[-1]
        if at_s >= last.start_s:
            return last.energy_at(at_s)
        position = bisect_right(self.segments, at_s, key=lambda segment: segment.start_s) - 1
        # Before its making the board had been idle for ever: the first segment reaches back.
        return self.segments[max(position, 0)].energy_at(at_s)

    def remembers(self, at_s: float) -> bool:
        """Whether the energy at this moment is still known."""
        return not self._forgotten or at_s >= self.segments[0].start_s

    def _append(self, start_s: float, phase: Phase, loaded: bool) -> None:
        last = self.segments[-1]
        level_w = self._level_w(phase, loaded)
        temperature_c = last.temperature_at(start_s)
        hold = self._limits.hold(self._asked_w(level_w, start_s), temperature_c, last.hold.by_heat)
        self.segments.append(
            Segment(
                start_s,
                phase,
                loaded,
                level_w,
                self._varying,
                hold,
                last.energy_at(start_s),
                temperature_c,
                last.power_throttle_s(start_s),
                last.thermal_throttle_s(start_s),
            )
        )
        if len(self.segments) % _PRUNE_EVERY == 0:
            self._prune(start_s - _KEPT_S)

    def _level_w(self, phase: Phase, loaded: bool) -> float:
        return self._profile.of(phase, loaded) if self._trace is None else 0.0

    def _asked_w(self, level_w: float, at_s: float) -> float:
        return level_w + math.fsum(trace.power_w(at_s) for trace in self._varying)

    def _prune(self, before_s: float) -> None:
        keep = bisect_right(self.segments, before_s, key=lambda segment: segment.start_s) - 1
        if keep > 0:
            del self.segments[:keep]
            self._forgotten = True
