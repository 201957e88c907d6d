"""The sweeps in an object store: ``find_sweeps.py URI`` prints the URI of each, one a line.

Credentials in the URI are printed too: the lines are for a script, and not for a log.
"""

import sys

from llem_sweep.errors import LlemSweepError
from llem_sweep.store.sweeps import sweeps_in


def main(place: str) -> int:
    """Look right in ``place``; returns the exit code."""
    try:
        found = sweeps_in(place)
    except LlemSweepError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    for sweep in found:
        print(sweep)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
