"""What sampling costs in CPU time, at the product's rates, on the stand-in NVML library and in real time."""

from __future__ import annotations

from llem_sweep.device.traces import Constant
from llem_sweep.sampling.sampler import HEALTH_PERIOD_S, SAMPLE_PERIOD_S, SLOW_EVERY
from standin.truth import of_generation
from truth.sampling import Spent
from truth.section import Given, Section, table
from truth.standin_process import run_on, why_not

SECONDS = 12.0
LIMITS = {1: 0.01, 8: 0.04}
"""Most CPU time by number of boards, as a share of one core."""
HEAD = ("boards", "samples", "in the readings", "whole process", "per sample", "limit")


def measured(given: Given) -> Section:
    """A sampler for each number of boards, one after the other, each in a process on the stand-in library."""
    if reason := why_not():
        return Section("Cost", ("Not measured.",), (reason,))
    cells, short = [], []
    for boards, most in LIMITS.items():
        standin = of_generation("hopper", tuple(Constant(120.5 + 30 * board) for board in range(boards)))
        spent = Spent(*run_on(standin, "truth.sampling", SECONDS))
        share = spent.process_cpu_s / spent.wall_s
        cells.append(
            [
                str(boards),
                str(spent.samples),
                f"{spent.readings_cpu_s / spent.wall_s:.2%}",
                f"{share:.2%}",
                f"{1e6 * spent.process_cpu_s / spent.samples:.0f} µs",
                f"{most:.0%}",
            ]
        )
        if share > most:
            short.append(f"{boards} boards take {share:.2%} of one core, more than {most:.0%}")
    text = [
        f"A sampler at the product's rates for {SECONDS:g} s of real time: counter and power every"
        f" {1000 * SAMPLE_PERIOD_S:g} ms, everything else with every {SLOW_EVERY}th sample, health every"
        f" {HEALTH_PERIOD_S:g} s. The stand-in library answers from memory, so what a driver takes for its answers"
        " comes on top. Shares are of one core.",
        "",
        "Limits: the whole process at most " + ", ".join(f"{m:.0%} for {b}" for b, m in LIMITS.items()) + ".",
        "",
        *table(HEAD, cells),
    ]
    return Section("Cost", tuple(text), tuple(short))
