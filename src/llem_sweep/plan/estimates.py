"""How long experiments and loads take: expected from the plan, corrected by what has run.

An experiment that has run in another cycle is known; the work of other points of its model is scaled by the
ratios seen with that model, and of other models by all ratios together. Pure: it knows no clock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from copy import copy
from math import exp, log
from typing import NamedTuple

from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.plan.priors import Prior, duration_prior, load_prior_s
from llem_sweep.plan.types import ModelFacts, PlannedExperiment

LONGER = 0.1
"""Of the time that something has taken already, what it is expected to go on for when it takes longer."""
_LEAST_S = 1e-3
_DOUBT = 1.0
"""Weight of what is believed beforehand, in observations."""
_SURPRISE = 1.5
"""Farthest that one observation counts from the mean of those before, as a logarithm: a factor of 4.5."""


class _Ratio:
    """Mean logarithm of taken over expected, weighted, one outlier not counting for much."""

    def __init__(self) -> None:
        self.weight = 0.0
        self.mean = 0.0

    def add(self, ratio: float, weight: float = 1.0) -> None:
        value = log(ratio)
        if self.weight >= 2:
            value = min(max(value, self.mean - _SURPRISE), self.mean + _SURPRISE)
        self.weight += weight
        self.mean += (value - self.mean) * weight / self.weight

    def towards(self, believed: float) -> float:
        """The mean, drawn to what is believed without it as far as there is little to go by."""
        return (self.weight * self.mean + _DOUBT * believed) / (self.weight + _DOUBT)


class _Mean(NamedTuple):
    """Of ``number`` values."""

    value: float = 0.0
    number: int = 0

    def with_(self, value: float) -> _Mean:
        return _Mean((self.value * self.number + value) / (self.number + 1), self.number + 1)


class Estimates:
    """Expected seconds of every experiment and load. Everything but the first look at a point is O(1)."""

    def __init__(
        self,
        load_key: Callable[[ExperimentConfig], str],
        facts: Callable[[ExperimentConfig], ModelFacts] = lambda config: ModelFacts(),
    ) -> None:
        """``load_key`` is equal for experiments that one loaded model serves; ``facts`` are what is known of it.

        Both are asked once for each point.
        """
        self._load_key = load_key
        self._facts = facts
        self._keys: dict[str, str] = {}
        self._priors: dict[str, Prior] = {}
        self._load_priors_s: dict[str, float] = {}
        self._taken: defaultdict[str, _Mean] = defaultdict(_Mean)
        self._loads: defaultdict[str, _Mean] = defaultdict(_Mean)
        self._ratio, self._load_ratio = _Ratio(), _Ratio()
        self._ratios: defaultdict[str, _Ratio] = defaultdict(_Ratio)
        self.recorded: list[str] = []
        """Config hash of everything recorded, oldest first: a reader remembers how far it got."""

    def fresh(self) -> Estimates:
        """The same expectations, with nothing recorded."""
        other = Estimates(self._load_key, self._facts)
        other._keys, other._priors, other._load_priors_s = self._keys, self._priors, self._load_priors_s
        return other

    def copy(self) -> Estimates:
        """The same expectations after the same records; what is recorded in one from now on isn't in the other."""
        other = self.fresh()
        other._taken, other._loads = self._taken.copy(), self._loads.copy()
        other._ratio, other._load_ratio = copy(self._ratio), copy(self._load_ratio)
        other._ratios.update((key, copy(ratio)) for key, ratio in self._ratios.items())
        return other

    def key(self, experiment: PlannedExperiment) -> str:
        """The load key of an experiment."""
        point = experiment.config_hash
        if point not in self._keys:
            self._keys[point] = self._load_key(experiment.config)
        return self._keys[point]

    def prior(self, experiment: PlannedExperiment) -> Prior:
        """What is expected of an experiment from its configuration alone."""
        point = experiment.config_hash
        if point not in self._priors:
            self._priors[point] = duration_prior(experiment.config, self._facts(experiment.config))
        return self._priors[point]

    def measured_s(self, config_hash: str) -> float | None:
        """Mean of what the cycles of a point took; None before any was recorded."""
        return self._taken[config_hash].value if config_hash in self._taken else None

    def ratio(self, key: str) -> float:
        """What the work of points with this load key takes, over what was expected."""
        overall = self._ratio.towards(0.0)
        return exp(self._ratios[key].towards(overall) if key in self._ratios else overall)

    def duration_s(self, experiment: PlannedExperiment) -> float:
        """Seconds on the worker, loading not counted."""
        measured_s = self.measured_s(experiment.config_hash)
        if measured_s is not None:
            return measured_s
        prior = self.prior(experiment)
        return prior.fixed_s + prior.work_s * self.ratio(self.key(experiment))

    def load_s(self, experiment: PlannedExperiment) -> float:
        """Seconds that bringing the model of ``experiment`` to a worker costs."""
        key = self.key(experiment)
        if key in self._loads:
            return self._loads[key].value
        return self._load_prior_s(experiment) * exp(self._load_ratio.towards(0.0))

    def rest_s(self, experiment: PlannedExperiment, elapsed_s: float, *, loads: bool) -> float:
        """What is left of an experiment begun ``elapsed_s`` ago, its load included when it had to be loaded."""
        total_s = self.duration_s(experiment) + (self.load_s(experiment) if loads else 0.0)
        return max(total_s - elapsed_s, LONGER * elapsed_s)

    def record(self, experiment: PlannedExperiment, took_s: float, load_s: float | None) -> None:
        """An experiment has completed in ``took_s`` seconds, after ``load_s`` of loading if it had to load.

        What failed or was cut off says nothing and isn't recorded.
        """
        point, key, prior = experiment.config_hash, self.key(experiment), self.prior(experiment)
        # Nothing takes no time at all: with such estimates one worker would seem enough for everything.
        self._taken[point] = self._taken[point].with_(max(took_s, _LEAST_S))
        self.recorded.append(point)
        if prior.work_s > 0:
            ratio = max(took_s - prior.fixed_s, _LEAST_S, 0.01 * prior.work_s) / prior.work_s
            # Where the work is small beside what is fixed, the difference is mostly chance.
            weight = prior.work_s / (prior.work_s + prior.fixed_s)
            self._ratio.add(ratio, weight)
            self._ratios[key].add(ratio, weight)
        if load_s is not None:
            self._loads[key] = self._loads[key].with_(load_s)
            if (expected_s := self._load_prior_s(experiment)) > 0:
                self._load_ratio.add(max(load_s, _LEAST_S) / expected_s)

    def _load_prior_s(self, experiment: PlannedExperiment) -> float:
        key = self.key(experiment)
        if key not in self._load_priors_s:
            self._load_priors_s[key] = load_prior_s(experiment.config, self._facts(experiment.config))
        return self._load_priors_s[key]
