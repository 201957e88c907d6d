"""How accurate llem-sweep is, held against truths that are known; printed as one Markdown document.

    python benchmarks/accuracy.py [--part NAME]... [--windows 2000] [--seed 20260101]

The parts, each a module in ``benchmarks/truth``, in the order in which they run:

windows      energy and its bound over random windows, seen through every generation's sensors; simulated time
zeus         side by side with the PyPI package zeus on the stand-in NVML library; real time, about eight minutes
calibration  the sensors' timing as found on a board, against the timing that the board has; simulated time
idle         energy above idle, where a context costs power of its own; simulated time
faults       what is caught of faults put into whole measurements, and made up without any; simulated time
cost         CPU time of sampling one and eight boards on the stand-in NVML library; real time, one minute

``zeus`` needs the package that ``make bench`` installs, and both parts in real time a C compiler and a machine
that isn't busy. The exit code is 1 when anything falls short of its limit, or can't be compared.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from truth import against_zeus, calibration, cost, faults, idle, windows
from truth.section import SEED, Given, Section

PARTS: dict[str, Callable[[Given], Section]] = {
    "windows": windows.measured,
    "zeus": against_zeus.measured,
    "calibration": calibration.measured,
    "idle": idle.measured,
    "faults": faults.measured,
    "cost": cost.measured,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts asked for and print what they found; 1 when anything falls short."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", action="append", choices=PARTS, help="all of them unless given")
    parser.add_argument("--windows", type=int, default=Given().windows, help="of the part windows")
    parser.add_argument("--seed", type=int, default=SEED)
    asked = parser.parse_args(arguments)
    given = Given(asked.seed, asked.windows)
    print(f"# Accuracy against known truths\n\nSeed {given.seed}.\n", flush=True)
    short = False
    for name, measured in PARTS.items():
        if not asked.part or name in asked.part:
            section = measured(given)
            short = short or bool(section.short)
            print("\n".join(section.lines()), flush=True)
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
