"""Power over time with a known integral: what simulated boards draw and estimates are checked against."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol


class Trace(Protocol):
    """Power as an analytic function of time."""

    def power_w(self, at_s: float) -> float:
        """Power at a moment."""

    def energy_j(self, at_s: float) -> float:
        """Exact integral of the power from time 0, which may lie on either side."""


class Constant(NamedTuple):
    """The same power for ever."""

    level_w: float

    def power_w(self, at_s: float) -> float:
        return self.level_w

    def energy_j(self, at_s: float) -> float:
        return self.level_w * at_s


class Cycle(NamedTuple):
    """Levels in turn, for ever: ``((seconds, watts), …)``, one turn beginning at ``offset_s``."""

    steps: tuple[tuple[float, float], ...]
    offset_s: float = 0.0

    def power_w(self, at_s: float) -> float:
        left_s = (at_s - self.offset_s) % self._period_s
        for seconds, watts in self.steps:
            if left_s < seconds:
                return watts
            left_s -= seconds
        return self.steps[-1][1]

    def energy_j(self, at_s: float) -> float:
        return self._since_offset_j(at_s - self.offset_s) - self._since_offset_j(-self.offset_s)

    @property
    def _period_s(self) -> float:
        return math.fsum(seconds for seconds, _ in self.steps)

    def _since_offset_j(self, after_s: float) -> float:
        turns, left_s = divmod(after_s, self._period_s)
        energy_j = turns * math.fsum(seconds * watts for seconds, watts in self.steps)
        for seconds, watts in self.steps:
            energy_j += watts * min(max(left_s, 0.0), seconds)
            left_s -= seconds
        return energy_j


def square(low_w: float, high_w: float, period_s: float, offset_s: float = 0.0, duty: float = 0.5) -> Cycle:
    """A square wave that begins each period high."""
    return Cycle(((duty * period_s, high_w), ((1 - duty) * period_s, low_w)), offset_s)


class Ramp(NamedTuple):
    """From one level to another in a straight line, constant before and after."""

    begin_w: float
    end_w: float
    begin_s: float
    end_s: float

    def power_w(self, at_s: float) -> float:
        share = (at_s - self.begin_s) / (self.end_s - self.begin_s)
        return self.begin_w + (self.end_w - self.begin_w) * min(max(share, 0.0), 1.0)

    def energy_j(self, at_s: float) -> float:
        return self._primitive(at_s) - self._primitive(0.0)

    def _primitive(self, at_s: float) -> float:
        """Integral from ``begin_s``."""
        inside_s = min(max(at_s - self.begin_s, 0.0), self.end_s - self.begin_s)
        slope = (self.end_w - self.begin_w) / (self.end_s - self.begin_s)
        before_j = self.begin_w * min(at_s - self.begin_s, 0.0)
        return (
            before_j
            + self.begin_w * inside_s
            + slope * inside_s**2 / 2
            + self.end_w * max(at_s - self.end_s, 0.0)
        )


class Exponential(NamedTuple):
    """From one level towards another with a time constant, constant before: a board that warms up."""

    begin_w: float
    final_w: float
    time_constant_s: float
    begin_s: float

    def power_w(self, at_s: float) -> float:
        after_s = max(at_s - self.begin_s, 0.0)
        return self.final_w + (self.begin_w - self.final_w) * math.exp(-after_s / self.time_constant_s)

    def energy_j(self, at_s: float) -> float:
        return self._primitive(at_s) - self._primitive(0.0)

    def _primitive(self, at_s: float) -> float:
        after_s = max(at_s - self.begin_s, 0.0)
        approach_j = (self.begin_w - self.final_w) * self.time_constant_s
        return (
            self.begin_w * min(at_s - self.begin_s, 0.0)
            + self.final_w * after_s
            - approach_j * math.expm1(-after_s / self.time_constant_s)
        )


class Within(NamedTuple):
    """``inside`` from ``begin_s`` to ``end_s``, ``idle_w`` before and after: load that follows a window."""

    inside: Trace
    idle_w: float
    begin_s: float
    end_s: float

    def power_w(self, at_s: float) -> float:
        return self.inside.power_w(at_s) if self.begin_s <= at_s < self.end_s else self.idle_w

    def energy_j(self, at_s: float) -> float:
        return self._primitive(at_s) - self._primitive(0.0)

    def _primitive(self, at_s: float) -> float:
        """Integral from ``begin_s``."""
        until_s = min(max(at_s, self.begin_s), self.end_s)
        loaded_j = self.inside.energy_j(until_s) - self.inside.energy_j(self.begin_s)
        return loaded_j + self.idle_w * (at_s - until_s)
