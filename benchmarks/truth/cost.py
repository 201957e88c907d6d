"""What sampling costs in CPU time, at the product's rates, on the stand-in NVML library and in real time."""

from __future__ import annotations

from llem_sweep.device.traces import Constant
from llem_sweep.sampling.sampler import HEALTH_PERIOD_S, SAMPLE_PERIOD_S, SLOW_EVERY
from standin.truth import of_generation
from truth.sampling import Spent
from truth.section import Given, Section, table
from truth.standin_process import run_on, why_not

SECONDS = 10.0
RUNS = 3
"""The least of them counts: whatever else runs on the machine only adds to CPU time."""
LIMITS = {1: 0.01, 8: 0.04}
"""Most CPU time by number of boards, as a share of one core."""
HEAD = ("boards", "samples", "in the readings", "whole process", "per sample", "most of all runs", "limit")


def measured(given: Given) -> Section:
    """A sampler for each number of boards, one after the other, each in a process on the stand-in library."""
    if reason := why_not():
        return Section("Cost", ("Not measured.",), (reason,))
    cells, short = [], []
    for boards, most in LIMITS.items():
        standin = of_generation("hopper", tuple(Constant(120.5 + 30 * board) for board in range(boards)))
        runs = [Spent(*run_on(standin, "truth.sampling", SECONDS)) for _ in range(RUNS)]
        spent, *_, most_spent = sorted(runs, key=lambda run: run.share)
        share = spent.share
        cells.append(
            [
                str(boards),
                str(spent.samples),
                f"{spent.readings_cpu_s / spent.wall_s:.2%}",
                f"{share:.2%}",
                f"{1e6 * spent.process_cpu_s / spent.samples:.0f} µs",
                f"{most_spent.share:.2%}",
                f"{most:.0%}",
            ]
        )
        if share > most:
            short.append(f"sampling {boards} takes {share:.2%} of one core, more than {most:.0%}")
    text = [
        f"A sampler at the product's rates for {SECONDS:g} s of real time, the least of {RUNS} runs: counter and"
        f" power every {1000 * SAMPLE_PERIOD_S:g} ms, everything else with every {SLOW_EVERY}th sample, health"
        f" every {HEALTH_PERIOD_S:g} s. The stand-in library answers from memory, so what a driver takes"
        " for its answers comes on top. Shares are of one core.",
        "",
        "Limits: the whole process at most "
        + ", ".join(f"{m:.0%} for {b}" for b, m in LIMITS.items())
        + " boards.",
        "",
        *table(HEAD, cells),
    ]
    return Section("Cost", tuple(text), tuple(short))
