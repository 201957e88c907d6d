"""Makespan of a sweep against its lower bound, by the order in which experiments are begun, in virtual time.

The bound is the larger of (all work + each model loaded once) / GPUs and the longest point with its load. Exit code
1 when a target is missed: by ``longest_first``, on average over the seeds, and in loads at every seed.

    python benchmarks/schedule.py
    python benchmarks/schedule.py --seeds 100
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.config.sweep import CycleOrder, ExecutionConfig
from llem_sweep.execution.rehearsal import Rehearsal, rehearse
from llem_sweep.execution.schedule import Schedule, Task, WorkerView
from llem_sweep.plan.estimates import Estimates
from llem_sweep.plan.need import Need
from llem_sweep.plan.types import PlannedExperiment

TARGET_KNOWN, TARGET_ESTIMATED, MOST_LOADS = 1.10, 1.15, 16


class Case(NamedTuple):
    """One sweep: what each point takes, and what is expected of it beforehand."""

    experiments: tuple[PlannedExperiment, ...]
    took_s: dict[str, float]
    load_s: dict[str, float]
    """By model."""

    def bound_s(self, gpus: int) -> float:
        """No schedule ends sooner."""
        work_s = math.fsum(self.took_s.values()) + math.fsum(self.load_s.values())
        longest_s = max(self.took_s[e.config_hash] + self.load_s[e.config.model] for e in self.experiments)
        return max(work_s / gpus, longest_s)


class Shape(NamedTuple):
    """What cases are drawn from."""

    models: int
    points: int
    gpus: int
    median_s: float
    sigma: float
    error: float
    """Sigma of the lognormal factor by which estimates are off."""
    cycles: int = 1


def draw(shape: Shape, seed: int, *, known: bool) -> Case:
    """Points of lognormal length, loads of 30 to 120 s; estimates exact, or off by a lognormal factor."""
    dice, doubt = random.Random(seed), random.Random(f"error {seed}")
    load_s = {f"model{index}": dice.uniform(30, 120) for index in range(shape.models)}
    experiments, took_s = [], {}
    for model in load_s:
        for index in range(shape.points):
            point = f"{model}/{index}"
            took_s[point] = dice.lognormvariate(math.log(shape.median_s), shape.sigma)
            off = 1.0 if known else doubt.lognormvariate(0, shape.error)
            config = ExperimentConfig.model_validate(
                {
                    "model": model,
                    "backend": "synthetic",
                    "synthetic": {"run_seconds": took_s[point] * off, "load_seconds": load_s[model]},
                    "warmup": {"enabled": False},
                    "energy": {"backend": "null"},
                }
            )
            for cycle in range(1, shape.cycles + 1):
                experiments.append(PlannedExperiment(f"{point}/{cycle}", point, config, cycle, {}))
    return Case(tuple(experiments), took_s, load_s)


def run(case: Case, gpus: int, order: CycleOrder, planned: Sequence[PlannedExperiment]) -> Rehearsal:
    """The schedule itself, on one worker a GPU."""
    estimates = Estimates(lambda config: config.model)
    schedule = Schedule([Task(each, 1) for each in planned], ExecutionConfig(cycle_order=order), estimates)
    workers = [WorkerView(f"node/gpu{index}", "node", Need(1), None) for index in range(gpus)]
    return rehearse(
        schedule,
        workers,
        estimates,
        lambda experiment: case.took_s[experiment.config_hash],
        lambda experiment: case.load_s[experiment.config.model],
    )
def main():
    for med in (45, 60):
        shape = Shape(6,24,8,med,.8,.7)
        N=int(sys.argv[1])
        for known in (True, False):
            for order in ("longest_first","blocked"):
                r=[];l=[]
                for seed in range(N):
                    c=draw(shape,seed,known=known)
                    planned=list(c.experiments)
                    if order=="blocked": random.Random(seed).shuffle(planned)
                    x=run(c,8,order,planned); assert len(x.turns)==144
                    r.append(x.makespan_s/c.bound_s(8)); l.append(x.loads)
                print(med,known,order,"%.4f"%statistics.mean(r),"max %.3f"%max(r),"loads",statistics.mean(l),max(l))
        r=[];l=[]
        for seed in range(N):
            c=draw(shape,seed,known=True)
            planned=sorted(c.experiments,key=lambda e:-c.took_s[e.config_hash])
            x=run(c,8,"sequential",planned)
            r.append(x.makespan_s/c.bound_s(8)); l.append(x.loads)
        print("lpt",statistics.mean(r),statistics.mean(l))
main()
